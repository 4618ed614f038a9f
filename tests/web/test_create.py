"""Creating: what is taken, what is refused and why, and what a task begins as."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

import kling_openapi

SCHEMAS = kling_openapi.service()["components"]["schemas"]
FIELDS = SCHEMAS["CreateVideo"]["properties"]
MODEL = SCHEMAS["Model"]["const"]
DURATION = SCHEMAS["Duration"]
PROMPT = FIELDS["prompt"]["maxLength"]
QUALITIES = [choice["const"] for choice in SCHEMAS["Quality"]["oneOf"]]
CREATE = kling_openapi.service()["paths"]["/v1/videos/generations"]["post"]
FULL = CREATE["requestBody"]["content"]["application/json"]["examples"]["full"]["value"]


def param(response: Any) -> str | None:
    """The field that a 400 names."""
    assert response.status_code == 400, response.json
    found: str | None = response.json["error"].get("param")
    return found


def nothing_made(rig: Any) -> bool:
    """Whether no task stands and no credit moved."""
    account = rig.account()
    return not account.tasks and account.credits == rig.fake.world.service_settings.starting_credits


def test_the_shortest_create_takes_the_defaults(rig: Any) -> None:
    """Model and image alone: pending, nothing done, default seconds and quality, reserved by the second."""
    body = rig.create().json

    rates = rig.fake.world.service_settings.credits_per_second
    assert (body["status"], body["progress"], body["model"]) == ("pending", 0, MODEL)
    assert body["created"] == int(rig.now())
    assert re.fullmatch(rf"task-unified-{body['created']}-[a-z0-9]{{8}}", body["id"])
    assert body["task_info"]["video_duration"] == DURATION["default"]
    assert body["task_info"]["can_cancel"] is True
    assert body["usage"]["credits_reserved"] == DURATION["default"] * rates[SCHEMAS["Quality"]["default"]]
    assert not {"results", "result_data", "error"} & set(body)


def test_the_documents_full_example_is_taken(make: Callable[..., Any]) -> None:
    """Every field at once, with its public callback host relayed so that no name is looked up."""
    rig = make(relays={"https://your-domain.com": "http://127.0.0.1:9"})

    assert rig.create(**FULL).status_code == 200


def test_every_scenario_begins_pending(rig: Any) -> None:
    """Whatever the story, an accepted create shows a task that waits, at 0; one that is over at once included."""
    for one in rig.control("GET", "/scenarios")["scenarios"]:
        story = rig.fake.world.catalogue.behaviour(one["name"])
        if story.mixture or any("create" in act.when for act in story.acts):
            continue  # test_scenarios.py sees what those do
        response = rig.create(headers={"X-Mock-Scenario": one["name"]})
        assert (response.json["status"], response.json["progress"]) == ("pending", 0), one["name"]


@pytest.mark.parametrize("seconds", [DURATION["minimum"], DURATION["maximum"], float(DURATION["minimum"])])
def test_durations_up_to_the_bounds_are_taken(rig: Any, seconds: float) -> None:
    """Both included; 3.0 is an integer to JSON Schema."""
    body = rig.create(duration=seconds).json

    assert body["task_info"]["video_duration"] == int(seconds)
    assert body["usage"]["credits_reserved"] == seconds * rig.fake.world.service_settings.credits_per_second["720p"]


@pytest.mark.parametrize("quality", QUALITIES)
def test_each_quality_has_its_rate(rig: Any, quality: str) -> None:
    """What is reserved is seconds times rate."""
    body = rig.create(quality=quality, duration=4).json

    assert body["usage"]["credits_reserved"] == 4 * rig.fake.world.service_settings.credits_per_second[quality]


@pytest.mark.parametrize("prompt", ["", "a" * PROMPT, "\U0001f600" * PROMPT, "line\nline", "\u0000"])
def test_prompts_count_characters(rig: Any, prompt: str) -> None:
    """As many as the contract says, of any kind; none at all is fine."""
    assert rig.create(prompt=prompt).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("duration", value)
            for value in (DURATION["minimum"] - 1, DURATION["maximum"] + 1, 5.5, "5", None, True, [5], 1e308)
        ],
        *[("quality", value) for value in ("4k", "480p", "720P", "", None, 720)],
        *[("prompt", value) for value in ("a" * (PROMPT + 1), "\U0001f600" * (PROMPT + 1), None, 5, ["a"])],
        *[("model", value) for value in ("kling-v3-turbo", "kling-v3-turbo-image-to-image", "", None, 5)],
        *[
            ("image_start", value)
            for value in ("", "image.jpg", "data:image/png;base64,AAAA", "ftp://image.test/1.png", None, 5, [])
        ],
        *[
            ("callback_url", value)
            for value in ("", "http://8.8.8.8/", "https://127.0.0.1/", "https://8.8.8.8/" + "a" * 2048, None, 5)
        ],
        *[
            (name, value)
            for name in ("aspect_ratio", "image_end", "image_urls", "video_urls", "audio_urls")
            for value in ("16:9", None)
        ],
    ],
)
def test_a_wrong_field_is_named(rig: Any, field: str, value: Any) -> None:
    """400 with the field in `param`, and nothing made."""
    assert param(rig.create(**{field: value})) == field
    assert nothing_made(rig)


def test_an_unknown_model_is_answered_with_those_that_are_served(rig: Any) -> None:
    """400 and the names; one that is served and that the key may not use is 403."""
    response = rig.create(model="kling-v3")
    assert (response.status_code, response.json["error"]["code"], param(response)) == (400, "invalid_request", "model")
    assert MODEL in response.json["error"]["message"]
    rig.control("PUT", "/account", {"models": []}, key="sk-test")
    assert rig.create(model="kling-v3").status_code == 400
    assert rig.create().status_code == 403


@pytest.mark.parametrize("missing", SCHEMAS["CreateVideo"]["required"])
def test_a_missing_field_is_named(rig: Any, missing: str) -> None:
    """400 with its name."""
    body = {"model": MODEL, "image_start": "https://image.test/640x480.png"}
    del body[missing]
    response = rig.call("POST", "/v1/videos/generations", json=body)

    assert param(response) == missing
    assert nothing_made(rig)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"a"',
        b"5",
        b"\xff\xfe",
        b"{}{}",
        b'{"a":1,}',
        b"[" * 5000,
        b'{"a": NaN}',
        b"{'a': 1}",
    ],
)
def test_a_body_that_is_no_object_is_refused(rig: Any, data: bytes) -> None:
    """Not JSON, or JSON of another kind: 400, nothing made."""
    response = rig.call("POST", "/v1/videos/generations", data=data, content_type="application/json")

    assert response.status_code == 400
    assert nothing_made(rig)


def test_unknown_fields_are_ignored_or_refused_as_chosen(make: Callable[..., Any]) -> None:
    """The service's own answer is not known, so it is a choice."""
    assert make().create(seed=5, negative_prompt="rain").status_code == 200
    strict = make(service_settings={"unknown_fields": "refuse"})
    assert param(strict.create(seed=5)) == "seed"
    assert nothing_made(strict)


def test_what_is_wrong_is_said_in_one_line(rig: Any) -> None:
    """What was seen and what would be right, and never the whole of a long value."""
    assert rig.create(duration=16).json["error"]["message"] == "duration: 16 is greater than the maximum of 15"
    assert "720p, 1080p" in rig.create(quality="4k").json["error"]["message"]
    assert len(rig.create(prompt="x" * 100_000).json["error"]["message"]) < 400


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json", None]
)
def test_json_may_be_called_by_its_names(rig: Any, content_type: str | None) -> None:
    """With a charset, as a kind of JSON, or not at all."""
    body = b'{"model":"%s","image_start":"https://image.test/640x480.png"}' % MODEL.encode()

    assert rig.call("POST", "/v1/videos/generations", data=body, content_type=content_type).status_code == 200


def test_two_creates_are_two_tasks(rig: Any) -> None:
    """Without a key for it, a create that is repeated is another task, and paid twice."""
    first, second = rig.create().json, rig.create().json

    assert first["id"] != second["id"]
    assert (
        rig.account().credits
        == rig.fake.world.service_settings.starting_credits - 2 * first["usage"]["credits_reserved"]
    )


class TestIdempotency:
    """A create that is repeated under one key."""

    HEADERS = {"Idempotency-Key": "0123456789abcdef"}  # noqa: RUF012

    def test_answers_the_first_task_and_charges_once(self, rig: Any) -> None:
        """The same id, the header that says so, one reservation, one callback."""
        first = rig.create(headers=self.HEADERS)
        rig.advance(1)
        again = rig.create(headers=self.HEADERS)

        assert again.json == first.json
        assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
        assert len(rig.account().tasks) == 1

    def test_refuses_another_body(self, rig: Any) -> None:
        """409, and nothing made."""
        rig.create(headers=self.HEADERS)

        assert rig.create(headers=self.HEADERS, duration=7).status_code == 409
        assert len(rig.account().tasks) == 1

    @pytest.mark.parametrize("key", ["short", "a" * 97, "0123456789abcde!", "0123456789abcdeé", ""])
    def test_refuses_a_key_of_another_form(self, rig: Any, key: str) -> None:
        """400 that names the header."""
        assert param(rig.create(headers={"Idempotency-Key": key})) == "Idempotency-Key"
        assert nothing_made(rig)

    def test_is_forgotten_in_time(self, rig: Any) -> None:
        """Up to the end of its life, not at it."""
        lifetime = kling_openapi.service()["components"]["parameters"]["IdempotencyKey"]["x-idempotency"][
            "lifetime_seconds"
        ]
        first = rig.create(headers=self.HEADERS).json["id"]
        rig.advance(lifetime - 1)
        assert rig.create(headers=self.HEADERS).json["id"] == first
        rig.advance(1)
        assert rig.create(headers=self.HEADERS).json["id"] != first

    def test_belongs_to_one_account(self, rig: Any) -> None:
        """Two customers may choose the same key."""
        assert rig.create(headers=self.HEADERS).json["id"] != rig.create(key="sk-b", headers=self.HEADERS).json["id"]

    def test_can_be_switched_off(self, make: Callable[..., Any]) -> None:
        """It is not promised, so it is a choice."""
        rig = make(service_settings={"idempotency": False})

        assert rig.create(headers=self.HEADERS).json["id"] != rig.create(headers=self.HEADERS).json["id"]

    def test_holds_among_threads(self, rig: Any) -> None:
        """Sixteen at once make one task and get it all."""
        start, ids = threading.Barrier(16), []

        def create() -> None:
            start.wait()
            ids.append(rig.create(headers=self.HEADERS).json["id"])

        threads = [threading.Thread(target=create) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(ids) == 16
        assert len(set(ids)) == len(rig.account().tasks) == 1


class TestScenarioOfACreate:
    """Who says what a task goes through, in the documented order."""

    def choice(self, rig: Any, **given: Any) -> str:
        """The scenario that a create follows."""
        key = given.get("key", "sk-test")
        task_id = rig.create(**given).json["id"]
        return str(rig.account(key).tasks[task_id].scenario)

    def test_the_order_is_queue_header_prompt_key_default(self, make: Callable[..., Any]) -> None:
        """Each takes over as soon as the ones before it are silent."""
        rig = make(scenario="stuck")
        header, tag = {"X-Mock-Scenario": "slow"}, "a cat [[cancelled at=10]]"
        rig.control("POST", "/scenarios/next", {"name": "failed", "params": {"at": 7}}, key="sk-mock-instant-1")

        assert self.choice(rig, key="sk-mock-instant-1", headers=header, prompt=tag) == "failed at=7"
        assert self.choice(rig, key="sk-mock-instant-1", headers=header, prompt=tag) == "slow"
        assert self.choice(rig, key="sk-mock-instant-1", prompt=tag) == "cancelled at=10"
        assert self.choice(rig, key="sk-mock-instant-1") == "instant"
        assert self.choice(rig) == "stuck"

    def test_a_queued_one_is_used_so_many_times(self, rig: Any) -> None:
        """Then the next in the queue, then none."""
        rig.control("POST", "/scenarios/next", {"name": "failed", "times": 2}, key="sk-test")
        rig.control("POST", "/scenarios/next", {"name": "slow"}, key="sk-test")

        assert [self.choice(rig) for _ in range(4)] == ["failed", "failed", "slow", "completed"]

    def test_one_queued_without_a_key_goes_to_the_first_who_comes(self, rig: Any) -> None:
        """Of any account, one not seen before included."""
        rig.control("POST", "/scenarios/next", {"name": "failed"})

        assert self.choice(rig, key="sk-never-seen") == "failed"
        assert self.choice(rig, key="sk-never-seen") == "completed"

    def test_a_refused_create_leaves_the_queue_alone(self, rig: Any) -> None:
        """A story waits for a create that goes through validation."""
        rig.control("POST", "/scenarios/next", {"name": "failed"}, key="sk-test")
        assert rig.create(duration=99).status_code == 400

        assert self.choice(rig) == "failed"

    @pytest.mark.parametrize(
        "named", ["nonsense", "failed code=nonsense", "failed nonsense=1", "failed code", "failed at=200", ""]
    )
    def test_a_scenario_that_is_not_there_is_refused(self, rig: Any, named: str) -> None:
        """By header and by prompt: 400, nothing made."""
        assert param(rig.create(headers={"X-Mock-Scenario": named})) == "X-Mock-Scenario"
        assert nothing_made(rig)

    def test_a_tag_that_is_not_there_is_refused(self, rig: Any) -> None:
        """400 at the prompt."""
        assert param(rig.create(prompt="[[nonsense]]")) == "prompt"

    def test_brackets_that_are_no_tag_are_prompt(self, rig: Any) -> None:
        """Not every bracket is ours."""
        assert self.choice(rig, prompt="a matrix [[1, 2], [3, 4]]") == "completed"
