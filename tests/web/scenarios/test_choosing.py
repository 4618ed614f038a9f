"""Which scenario a create follows, how its calls are counted, and what the seed decides."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_mock.app import create_app
from kling_mock.contract import Contract
from kling_mock.service.catalogue import Catalogue

CONTRACT = Contract()
SCENARIOS = Catalogue(CONTRACT.task_errors, CONTRACT.errors).scenarios
HERE = create_app(clock="manual").test_client()
SAME = {"idempotency-key": "0123456789abcdef"}


def test_every_scenario_is_seen_by_a_test() -> None:
    """Each name of the catalogue stands in a `scenario` marker beside this file, and no other does."""
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    marked = {
        name
        for names in re.findall(r"@pytest\.mark\.scenario\(([^)]*)\)", sources)
        for name in re.findall('"(.+?)"', names)
    }
    assert marked == set(SCENARIOS)


def scenario_of(client: Any, **headers: str) -> str:
    """What the journal says that a create followed."""
    prompt = headers.pop("prompt", None)
    client.create(fields={"prompt": prompt} if prompt else None, **headers)
    return str(client.control("GET", "/journal")["entries"][-1].get("scenario"))


def test_the_queue_goes_before_header_tag_key_and_default(account: Any) -> None:
    """Each choice is passed over by the one before it."""
    key = "sk-mock-not-json-1"
    tagged = {"prompt": "a cat [[slow]] runs", "x-mock-scenario": "stuck"}
    client = account(key=key)
    client.control("POST", "/scenarios/next", {"name": "instant"})
    assert scenario_of(client, **tagged) == "instant"
    assert scenario_of(client, **tagged) == "stuck"
    assert scenario_of(client, prompt=tagged["prompt"]) == "slow"
    assert scenario_of(client) == "not-json"
    assert scenario_of(account()) == "completed"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("sk-mock-rate-limited-twice-7", "rate-limited-twice"),
        ("sk-mock-rate-limited-7", "rate-limited"),
        ("sk-mock-stuck", "stuck"),
        ("sk-mock-zebra-7", "completed"),
        ("sk-mocked-stuck-7", "completed"),
    ],
)
def test_a_key_names_its_scenario(account: Any, key: str, name: str) -> None:
    """The longest name that fits, whole words only."""
    assert scenario_of(account(key=key)) == name


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("faild", "no scenario 'faild'; did you mean failed? there are"),
        ("failed speed=3", "has no param 'speed'; it has at, code"),
        ("failed code=oops", "'oops' is no task error code; there are content_policy_violation"),
        ("failed at=100", "less than or equal to 99"),
        ("chaos by=3", "pace.by: should be 'time' or 'polls', not '3'"),
        ("failed oops", "write it like code=service_error"),
        ("redirect location=a\tb", "write it like code=service_error"),
    ],
)
def test_a_choice_that_cannot_be_told_is_refused(account: Any, choice: str, words: str) -> None:
    """A 400 that says what there is; no task, nothing used up."""
    client = account(choice)
    refused = client.create()
    assert refused.error == (400, "invalid_request")
    assert words in refused.json["error"]["message"]
    assert client.tasks() == []


def test_a_create_that_is_refused_for_itself_uses_nothing_up(account: Any) -> None:
    """A bad field, a bad image, an empty balance: the queued scenario waits for the next create."""
    client = account()
    client.control("POST", "/scenarios/next", {"name": "server-error", "params": {"status": 503}})
    for fields in ({"duration": 99}, {"image_start": "https://image.test/10x10.png"}, {"callback_url": "ftp://x"}):
        assert client.create(fields=fields).status == 400
    client.control("PUT", "/account", {"credits": 0})
    assert client.create().status == 402
    client.control("PUT", "/account", {"credits": 10_000})
    assert [client.create().status, client.create().status] == [503, 200]


def test_creates_are_counted_since_the_scenario_was_queued(account: Any) -> None:
    """Each entry of the queue begins anew, and so does an account that was reset."""
    client = account("rate-limited-twice")
    for _ in range(2):
        client.control("POST", "/scenarios/next", {"name": "rate-limited-twice", "times": 3})
        assert [client.create().status for _ in range(3)] == [429, 429, 200]
    assert [client.create().status for _ in range(3)] == [429, 429, 200]
    client.control("POST", "/reset")
    assert [client.create().status for _ in range(3)] == [429, 429, 200]


def test_a_refused_create_leaves_its_idempotency_key_free(account: Any) -> None:
    """The repetition is a create of its own, and the next repetition its replay."""
    client = account("connection-cut times=2")
    assert [client.create(**SAME).nothing for _ in range(2)] == ["reset", "reset"]
    made, again = client.create(**SAME), client.create(**SAME)
    assert made.json["id"] == again.json["id"]
    assert ("idempotency-replayed" in made.headers, "idempotency-replayed" in again.headers) == (False, True)


@pytest.fixture
def chaos() -> Callable[..., list[str]]:
    """`chaos(seed)`: what twenty creates follow, in a fake of their own."""

    def drawn(seed: int, key: str = "sk-1", choice: str = "chaos") -> list[str]:
        app = create_app(clock="manual", seed=seed, scenario=choice)
        world = app.extensions["kling-mock"].world
        account = world.store.seen(key)
        with world.store.begin(account) as facts:
            return [world.creating.choosing.mixed(account, facts, choice)[0] for _ in range(20)]

    return drawn


@pytest.mark.scenario("chaos")
def test_chaos_follows_the_seed(chaos: Callable[..., list[str]]) -> None:
    """The same seed and key, the same days; another seed or key, others; a pace is handed on."""
    assert chaos(1) == chaos(1)
    assert len({tuple(chaos(1)), tuple(chaos(2)), tuple(chaos(1, "sk-2"))}) == 3
    assert all(choice.endswith(" by=polls pending=0") for choice in chaos(1, choice="chaos pending=0"))


def test_chaos_happens_on_the_wire(account: Any) -> None:
    """Creates come to different ends, and each that was answered in its place is the first of its kind."""
    client = account("chaos pending=0 processing=0")
    ends = {(answer.end, answer.status) for answer in (client.create() for _ in range(40))}
    assert {("whole", 200), ("whole", 429)} <= ends
    scenarios = {
        (one["scenario"], str(one["params"]))
        for one in client.control("GET", "/journal")["entries"]
        if one["kind"] == "exchange"
    }
    assert len(scenarios) > 8


PARAMS = sorted(
    {name for one in SCENARIOS.values() for name in one.params} | {"by", "queued", "runs", "pending", "processing"}
)
VALUES = "0 1 -1 3 1.. forever never query create link callback true 2s 0s polls time 404 502 204 599 nan 1e9 json html date before é"
VALUES_DRAWN = st.sampled_from([*VALUES.split(), "service_error", "RateLimited", "9" * 30]) | st.text(max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(SCENARIOS)),
    params=st.dictionaries(st.sampled_from(PARAMS), VALUES_DRAWN, max_size=3),
)
def test_any_choice_is_told_or_refused(name: str, params: dict[str, str]) -> None:
    """Whatever stands in the header: an answer of the scenario's own, or a 400; the fake itself never fails."""
    choice = " ".join([name, *(f"{key}={value}" for key, value in params.items())])
    body = {"model": CONTRACT.model, "image_start": "https://image.test/320x320.png"}
    key = {
        "Authorization": "Bearer sk-1",
        "X-Mock-Scenario": choice.encode("ascii", "replace").decode().replace("\n", "?"),
    }
    key["X-Mock-Scenario"] = "".join(letter if letter.isprintable() else "?" for letter in key["X-Mock-Scenario"])
    with suppress(ConnectionResetError, TimeoutError):
        made = HERE.post("/v1/videos/generations", json=body, headers=key)
        if (
            made.status_code == 200
            and made.headers.get("content-type") == "application/json"
            and made.get_json(silent=True)
        ):
            HERE.get(f"/v1/tasks/{made.json['id']}", headers=key)
    entries = HERE.get("/__mock/journal", headers={"Authorization": "Bearer sk-1"}).json["entries"]
    answered = [(one["response"]["status"], one.get("fault")) for one in entries]
    assert all(status in (200, 400, 404) or fault == f"answer {status}" for status, fault in answered)
    HERE.post("/__mock/reset")


@pytest.mark.parametrize(
    ("choice", "ends"),
    [("lost-reply", ConnectionResetError), ("connection-cut", ConnectionResetError), ("silent", TimeoutError)],
)
def test_without_the_edge_a_broken_connection_is_raised(choice: str, ends: type[Exception]) -> None:
    """Flask's test client has no connection to break; the application raises what a client would see."""
    client = create_app(scenario=choice, clock="manual").test_client()
    body = {"model": CONTRACT.model, "image_start": "https://image.test/320x320.png"}
    with pytest.raises(ends):
        client.post("/v1/videos/generations", json=body, headers={"Authorization": "Bearer sk-1"})


def test_without_the_edge_bodies_are_bent_all_the_same() -> None:
    """Short, dripping and endless bodies under Flask's test client."""
    app = create_app(clock="manual", scenario="link-endless pending=0 processing=0")
    client = app.test_client()
    key = {"Authorization": "Bearer sk-1"}
    body = {"model": CONTRACT.model, "image_start": "https://image.test/320x320.png", "duration": 3}

    def create(choice: str) -> Any:
        return client.post("/v1/videos/generations", json=body, headers={**key, "X-Mock-Scenario": choice})

    short = create("cut-body")
    assert len(short.data) == int(short.headers["Content-Length"]) // 2
    assert create("slow-bytes lasts=1ms").json["status"] == "pending"
    task = create("link-endless pending=0 processing=0").json["id"]
    link = client.get(f"/v1/tasks/{task}", headers=key).json["results"][0]
    endless = client.get(link, buffered=False)
    assert "Content-Length" not in endless.headers
    pieces = endless.iter_encoded()
    assert sum(len(next(pieces)) for _ in range(50)) > 3_000_000
    endless.close()
