"""The in-process adapter: a scripted server that behaves as its story has it, and a client that is judged without a second's wait."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kling_contract.history.events import Callback, Download, Exchange, Note
from kling_contract.history.labels import Topic
from kling_contract.lab.adapters.inprocess import KEY, Cut, Environment, Played, Silence, load, play
from kling_contract.lab.behaviour import Behaviour, Event, read
from kling_contract.lab.drawn import breaches
from kling_contract.lab.scripted import API, LINK, Scripted
from kling_contract.mutants.client.inprocess import correct, with_switch
from kling_contract.reading.contract import shipped
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import SetupError

EXAMPLE = Path(__file__).parents[2] / "examples" / "in_process_client.py"
AUTH = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
BOOK = [rule for rule in rules(shipped()).values() if rule.for_clients]


def story(*events: dict[str, Any]) -> Behaviour:
    """A behaviour of these events."""
    return Behaviour.model_validate({"events": events})


def named(played: Played) -> set[str]:
    """The rules that are broken."""
    return {breach.rule for breach in breaches(played, shipped(), BOOK)}


def told(played: Played) -> dict[str, Any]:
    """What the client said and left."""
    return next(event.data for event in played.events if isinstance(event, Note) and event.topic == Topic.TOLD)


@pytest.fixture
def server() -> Callable[..., Scripted]:
    """Makes a scripted server of these events."""
    return lambda *events: Scripted(story(*events), shipped(), KEY)


def create(server: Scripted, **members: Any) -> Any:
    """A create; answers what was served."""
    body = {"model": shipped().model, "image_start": "https://image.test/1.png", **members}
    return server.answer("POST", f"{API}/v1/videos/generations", tuple(AUTH.items()), json.dumps(body).encode(), 0.0)


def look(server: Scripted) -> Any:
    """A read of its only task; answers what was served."""
    (task_id,) = server.tasks
    return server.answer("GET", f"{API}/v1/tasks/{task_id}", tuple(AUTH.items()), b"", 1000.0)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [{"at": "read", "does": "pending"}, {"at": "read", "does": "processing", "progress": 40}],
        [{"at": "read", "does": "fail", "code": "service_error"}],
        [{"at": "create", "does": "bare"}, {"at": "read", "does": "bare"}],
        [{"at": "create", "does": "extra"}, {"at": "read", "does": "extra"}],
    ],
    ids=["plain", "waits", "fails", "bare", "extra"],
)
def test_answers_are_those_of_the_contract(server: Callable[..., Scripted], events: list[dict[str, Any]]) -> None:
    """
    Every task that the scripted server shows is an instance of the contract's, but for what may rightly be missing.
    """
    scripted, contract = server(*events), shipped()
    shown = [("createVideo", create(scripted))] + [("getTask", look(scripted)) for _ in range(3)]

    for name, served in shown:
        flaws = contract.answer_flaws(contract.named(name), served.status, json.loads(served.body))
        missing = {"task_info", "usage"} if any(event["does"] == "bare" for event in events) else set()
        assert [flaw for flaw in flaws if flaw.field not in missing] == []


def test_refusals_are_those_of_the_contract(server: Callable[..., Scripted]) -> None:
    """
    Errors have the contract's shape, in both forms of Retry-After.
    """
    contract = shipped()
    for form in ("seconds", "date"):
        scripted = server({"at": "create", "does": "limit", "wait": 2, "form": form})
        served = create(scripted)
        assert served.status == 429
        assert contract.answer_flaws(contract.named("createVideo"), 429, json.loads(served.body)) == ()
        assert dict(served.headers)["Retry-After"] == ("2" if form == "seconds" else "Thu, 01 Jan 1970 00:00:03 GMT")
    assert create(server(), quality="4k").status == 400
    assert server().answer("GET", f"{API}/v1/tasks/x", (), b"", 0.0).status == 401


def test_a_batch_is_read_as_each_of_its_tasks_is(server: Callable[..., Scripted]) -> None:
    """
    Through the batch endpoint a task moves on as well; unknown ids are absent, trouble with one is trouble, rubbish is refused.
    """
    scripted = server({"at": "read", "does": "processing", "progress": 40}, {"at": "read", "does": "cut"})
    task_id = json.loads(create(scripted).body)["id"]
    headers = (("Authorization", f"Bearer {KEY}"), ("Content-Type", "application/json"))

    def batch(body: Any) -> Any:
        return scripted.answer("POST", f"{API}/v1/tasks/batch", headers, json.dumps(body).encode(), 1.0)

    first, cut, last = (batch({"task_ids": [task_id, "task-unified-1-unknown0"]}) for _ in range(3))

    assert [(one["id"], one["status"], one["progress"]) for one in json.loads(first.body)["data"]] == [
        (task_id, "processing", 40)
    ]
    assert cut.lost == "cut"
    assert [one["status"] for one in json.loads(last.body)["data"]] == ["completed"]
    assert batch(["no", "ids"]).status == 400


def test_time_never_goes_back(server: Callable[..., Scripted]) -> None:
    """
    Whatever the order of its events, a task moves forward: part of a story is a story.
    """
    scripted = server(
        {"at": "read", "does": "processing", "progress": 60}, {"at": "read", "does": "pending"},
        {"at": "read", "does": "processing", "progress": 20}, {"at": "read", "does": "fail", "code": "service_error"},
        {"at": "read", "does": "processing"}, {"at": "read", "does": "not-found"},
    )  # fmt: skip
    create(scripted)
    seen = [json.loads(look(scripted).body) for _ in range(6)]

    assert [body["status"] for body in seen] == ["processing"] * 3 + ["failed"] * 3
    assert [body["progress"] for body in seen] == [60] * 6


def test_same_idempotency_key_makes_no_second_task(server: Callable[..., Scripted]) -> None:
    """
    A create that is repeated under its own key is answered with the task that it made.
    """
    scripted = server()
    body = json.dumps({"model": shipped().model, "image_start": "https://image.test/1.png"}).encode()
    headers = (*AUTH.items(), ("Idempotency-Key", "one"))
    first, second = (scripted.answer("POST", f"{API}/v1/videos/generations", headers, body, 0.0) for _ in range(2))

    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]
    assert len(scripted.tasks) == 1


def test_client_meets_what_the_story_has() -> None:
    """
    Cut, silence, a half download, callbacks and virtual time reach the client, and the history tells of all.
    """
    seen: list[str] = []

    def client(around: Environment) -> None:
        around.listen(lambda method, _headers, body: seen.append(f"{method} {json.loads(body)['status']}") or 204)
        body = json.dumps(
            {"model": shipped().model, "image_start": "https://image.test/1.png", "callback_url": around.callback_url}
        )
        made = around.send("POST", f"{around.base_url}/v1/videos/generations", AUTH, body.encode())
        url = f"{around.base_url}/v1/tasks/{json.loads(made.body)['id']}"
        with pytest.raises(Cut):
            around.send("GET", url, AUTH)
        before = around.clock()
        with pytest.raises(Silence):
            around.send("GET", url, AUTH, timeout=30.0)
        assert around.clock() == before + 30.0
        around.sleep(3600 / 36)
        half = around.send("GET", LINK, {})
        assert not half.whole
        assert len(half.body) < int(half.headers["Content-Length"])

    troubles = [{"at": "read", "does": "cut"}, {"at": "read", "does": "silence"}, {"at": "link", "does": "cut"}]
    played = play(client, story(*troubles, {"at": "callback", "does": "twice"}), shipped())

    assert seen == ["POST completed"] * 2
    assert [event.lost for event in played.events if isinstance(event, Exchange | Download)] == [
        "",
        "cut",
        "timeout",
        "cut",
    ]
    assert sum(isinstance(event, Callback) for event in played.events) == 2


def test_endless_client_is_stopped() -> None:
    """
    A client that reads for ever, and swallows every exception, is ended and named.
    """

    def client(around: Environment) -> None:
        while True:
            try:
                around.sleep(1)
            except Exception:
                continue

    played = play(client, story(), shipped())

    assert told(played)["ended"] == "deadline"
    assert "CP-13" in named(played)


def test_client_that_turns_in_circles_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A client that never comes back, and never asks what time it is, is ended in real time.
    """
    monkeypatch.setattr("kling_contract.lab.adapters.inprocess._REAL_SECONDS", 0.05)

    def client(_: Environment) -> None:
        while True:
            pass

    assert told(play(client, story(), shipped()))["ended"] == "deadline"


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyError("results"), 70), (RuntimeError("it failed"), 1), (SystemExit(3), 3), (SystemExit("no"), 1)],
)
def test_exceptions_are_endings(error: BaseException, code: int) -> None:
    """
    What a client raises is a failure, or a breakdown when it is of the kind that nobody raises on purpose.
    """

    def client(_: Environment) -> None:
        raise error

    assert told(play(client, story(), shipped()))["exit"] == code


def test_key_in_the_output_is_found() -> None:
    """
    A key that is printed is named, and is masked in the history.
    """

    def client(around: Environment) -> None:
        print(around.api_key)

    played = play(client, story(), shipped())

    assert "CQ-03" in named(played)
    assert all(KEY not in str(event) for event in played.events)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [{"at": "create", "does": "cut", "accepted": True}],
        [{"at": "read", "does": "limit", "wait": 5, "form": "date"}],
        [{"at": "read", "does": "revoke"}],
        [{"at": "link", "does": "expire"}],
        [{"at": "callback", "does": "early"}],
        [{"at": "read", "does": "stall"}],
    ],
)
def test_careful_clients_trip_nothing(events: list[dict[str, Any]]) -> None:
    """
    The reference client and the kit's own are named for nothing.
    """
    for client in (correct, load(f"{EXAMPLE}:generate")):
        assert named(play(client, story(*events), shipped())) == set()


@pytest.mark.parametrize(
    ("switch", "rule", "event"),
    [
        ("repeats-a-lost-create", "CM-02", {"at": "create", "does": "cut", "accepted": True}),
        ("creates-for-an-expired-link", "CM-01", {"at": "link", "does": "expire"}),
        ("has-no-timeout", "CP-13", {"at": "read", "does": "silence"}),
        ("sends-the-key-to-links", "CQ-04", {"at": "read", "does": "pending"}),
        ("tells-another-id", "CD-11", {"at": "read", "does": "pending"}),
        ("acts-on-the-callback", "CW-08", {"at": "callback", "does": "forge"}),
    ],
)
def test_invariants_are_named(switch: str, rule: str, event: dict[str, Any]) -> None:
    """
    Money, time, truth and the key: each is named where a client breaks it.
    """
    assert rule in named(play(with_switch(switch), story(event), shipped()))


@pytest.mark.parametrize("name", ["nowhere:at_all", "json:nothing", "json:__name__", "json", "missing.py:client"])
def test_no_such_function(name: str) -> None:
    """
    What cannot be imported or called stops with a line that says so.
    """
    with pytest.raises(SetupError):
        load(name)


@pytest.mark.parametrize("text", ["events: [{at: nowhere, does: cut}]", "[1", "events: 3", "null", "rules: []"])
def test_bad_story_file(tmp_path: Path, text: str) -> None:
    """
    A file that is no story stops with a line that names it.
    """
    path = tmp_path / "story.yaml"
    path.write_text(text)

    with pytest.raises(SetupError, match=r"story\.yaml"):
        read(path)


def test_story_files_are_read_back(tmp_path: Path) -> None:
    """
    What is written is what is read.
    """
    kept = Behaviour(rule="CM-02", client="a:b", events=(Event(at="create", does="cut", accepted=True),))
    path = tmp_path / "story.yaml"
    path.write_text(kept.as_yaml())

    assert read(path) == kept
    assert read(path).as_yaml() == kept.as_yaml()
