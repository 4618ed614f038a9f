"""Every documented error, in both dialects, and which comes first where several would do."""

from collections.abc import Callable
from typing import Any

import pytest

import kling_openapi
from kling_mock.core.errors import documented

ENTRIES = kling_openapi.service()["components"]["responses"]
CREATE = "/v1/videos/generations"
ANYTHING = "/v1/tasks/task-unified-1-aaaaaaaa"
OWN_TESTS = {"FileRefused", "FileUnauthorized", "FileNotFound", "FileRateLimited", "FileFailed"}
"""Errors of the files API, which has its own tests."""

Asked = Callable[[Any], Any]


def limited(rig: Any, ask: Asked) -> Any:
    """What *ask* gets once the account's limit is used up."""
    rig.control("PUT", "/account", {"rate_limit": 1}, key="sk-test")
    rig.call("GET", ANYTHING)
    return ask(rig)


def conflict(rig: Any) -> Any:
    """One key, two bodies."""
    rig.create(headers={"Idempotency-Key": "a" * 16})
    return rig.create(headers={"Idempotency-Key": "a" * 16}, duration=9)


def poor(rig: Any) -> Any:
    """A create that the balance does not cover."""
    rig.control("PUT", "/account", {"credits": 1}, key="sk-test")
    return rig.create()


def no_models(rig: Any) -> Any:
    """A key that may use another model only."""
    rig.control("PUT", "/account", {"models": ["another"]}, key="sk-test")
    return rig.create()


ASK: dict[str, Asked] = {
    "InvalidRequest": lambda rig: rig.create(duration=99),
    "InvalidTaskId": lambda rig: rig.query("nonsense"),
    "Unauthorized": lambda rig: rig.create(key="nonsense"),
    "InsufficientQuota": poor,
    "QueryQuotaExceeded": lambda rig: rig.query(rig.task("query-error error=QueryQuotaExceeded")),
    "ModelAccessDenied": no_models,
    "PermissionDenied": lambda rig: rig.query(rig.task(), key="sk-other"),
    "TaskNotFound": lambda rig: rig.call("GET", ANYTHING),
    "RouteNotFound": lambda rig: rig.call("GET", "/v1/nonsense"),
    "MethodNotAllowed": lambda rig: rig.call("DELETE", CREATE),
    "IdempotencyConflict": conflict,
    "RequestTooLarge": lambda rig: rig.create(prompt="x" * 2_000_000),
    "UnsupportedMediaType": lambda rig: rig.call("POST", CREATE, data=b"{}", content_type="text/plain"),
    "RateLimited": lambda rig: limited(rig, lambda rig: rig.create()),
    "QueryRateLimited": lambda rig: limited(rig, lambda rig: rig.call("GET", ANYTHING)),
    "InternalError": lambda rig: rig.create(headers={"X-Mock-Scenario": "create-error error=InternalError"}),
    "UpstreamError": lambda rig: rig.create(headers={"X-Mock-Scenario": "create-error error=UpstreamError"}),
    "ServiceUnavailable": lambda rig: rig.create(headers={"X-Mock-Scenario": "create-error error=ServiceUnavailable"}),
}
STORIES = [
    "name: create-error\nsummary: an error\nparams: {error: InternalError}\nwhen: {create: 1}\nanswer: {error: '{error}'}",
    "name: query-error\nsummary: an error\nparams: {error: InternalError}\nwhen: {query: 1}\nanswer: {error: '{error}'}",
]


@pytest.mark.parametrize("dialect", ["current", "legacy"])
@pytest.mark.parametrize("entry", ASK)
def test_each_documented_error(stories: Callable[..., Any], entry: str, dialect: str) -> None:
    """Status, code and type of its entry, in the dialect that was chosen, and the words that every client needs."""
    response = ASK[entry](stories(*STORIES, service_settings={"error_codes": dialect}))

    rule, error = ENTRIES[entry]["x-error"], response.json["error"]
    expected = (rule["code"], rule["type"]) if dialect == "current" else (rule["status"], rule["legacy_type"])
    assert (response.status_code, error["code"], error["type"]) == (rule["status"], *expected)
    assert type(error["code"]) is type(expected[0])


def test_no_documented_error_is_left_out() -> None:
    """The contract's entries, the classes in the code and the table above are one set."""
    assert set(documented()) == set(ENTRIES)
    assert set(ASK) | OWN_TESTS == set(ENTRIES)


def test_profiles_choose_the_dialect(make: Callable[..., Any]) -> None:
    """`legacy` gives the status as the code; without it the code is a word."""
    assert make(profile="legacy").query("nonsense").json["error"]["code"] == 400
    assert make().query("nonsense").json["error"]["code"] == "invalid_task_id"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "sk-test",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Basic c2stdGVzdA==",
        "Bearer sk-",
        "Bearer sk-a b",
        "Bearer sk-\xe9",
    ],
)
def test_whoever_shows_no_key_is_a_stranger(rig: Any, authorization: str | None) -> None:
    """401 on every route, whatever else is wrong with the request; no account is made."""
    headers = {} if authorization is None else {"Authorization": authorization}
    calls = [
        rig.call("POST", CREATE, key=None, headers=headers, data=b"not json", content_type="text/plain"),
        rig.call("GET", "/v1/tasks/nonsense", key=None, headers=headers),
        rig.call("GET", "/v1/nonsense", key=None, headers=headers),
        rig.call("DELETE", CREATE, key=None, headers=headers),
    ]

    assert [one.status_code for one in calls] == [401] * 4
    assert not rig.fake.world.store.accounts()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_word_bearer_is_read_in_any_case(rig: Any, scheme: str) -> None:
    """As HTTP has it."""
    response = rig.call("GET", ANYTHING, key=None, headers={"Authorization": f"{scheme} sk-test"})

    assert response.status_code == 404


def test_listed_keys_are_the_only_ones(make: Callable[..., Any]) -> None:
    """Of any form, and no others."""
    rig = make(keys=("my-key", "sk-a"))

    assert [rig.call("GET", ANYTHING, key=key).status_code for key in ("my-key", "sk-a", "sk-b")] == [404, 404, 401]


def test_405_names_what_is_allowed(rig: Any) -> None:
    """In the Allow header, as HTTP asks."""
    for path, allowed in ((CREATE, "POST"), (ANYTHING, "GET")):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - {allowed}:
            response = rig.call(method, path)
            assert (response.status_code, response.headers["Allow"]) == (405, allowed), (method, path)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "json"],
)
def test_another_content_type_is_a_415(rig: Any, content_type: str) -> None:
    """Even where the bytes would be JSON; nothing is made."""
    response = rig.call("POST", CREATE, data=b"{}", content_type=content_type)

    assert response.status_code == 415
    assert not rig.account().tasks


def test_413_begins_one_byte_past_the_bound(make: Callable[..., Any]) -> None:
    """At the bound the body is read; past it, it is not."""
    rig = make(service_settings={"max_body_bytes": 1024})

    at, past = (rig.call("POST", CREATE, data=b" " * size, content_type="application/json") for size in (1024, 1025))

    assert (at.status_code, past.status_code) == (400, 413)


def test_a_model_that_is_not_the_keys_is_a_403(rig: Any) -> None:
    """Until it is; nothing made meanwhile, other keys untouched."""
    rig.control("PUT", "/account", {"models": []}, key="sk-test")
    assert rig.create().status_code == 403
    assert not rig.account().tasks
    assert rig.create(key="sk-b").status_code == 200
    rig.control("PUT", "/account", {"models": ["kling-v3-turbo-image-to-video"]}, key="sk-test")
    assert rig.create().status_code == 200


class TestRateLimit:
    """A limit of requests in a window of the account's clock."""

    def test_holds_over_all_calls_and_opens_again(self, rig: Any) -> None:
        """Retry-After says when, in seconds of that clock: a second before it is too early."""
        rig.control("PUT", "/account", {"rate_limit": 3}, key="sk-test")
        rig.call("GET", ANYTHING)
        rig.advance(20)
        rig.create()
        rig.call("GET", ANYTHING)
        refused = rig.create()

        wait = int(refused.headers["Retry-After"])
        assert (refused.status_code, wait) == (429, 40)
        rig.advance(wait - 1)
        assert rig.call("GET", ANYTHING).status_code == 429
        rig.advance(1)
        assert rig.call("GET", ANYTHING).status_code == 404
        assert rig.call("GET", ANYTHING).status_code == 429

    def test_refused_requests_do_not_count(self, rig: Any) -> None:
        """Whoever hammers on is let in as soon as whoever waits."""
        rig.control("PUT", "/account", {"rate_limit": 1}, key="sk-test")
        assert [rig.call("GET", ANYTHING).status_code for _ in range(50)] == [404] + [429] * 49
        rig.advance(60)
        assert rig.call("GET", ANYTHING).status_code == 404

    def test_is_one_accounts(self, rig: Any) -> None:
        """Others go on, and a null takes it away."""
        rig.control("PUT", "/account", {"rate_limit": 1}, key="sk-test")
        rig.call("GET", ANYTHING)
        assert rig.call("GET", ANYTHING, key="sk-b").status_code == 404
        assert rig.call("GET", ANYTHING).status_code == 429
        rig.control("PUT", "/account", {"rate_limit": None}, key="sk-test")
        assert rig.call("GET", ANYTHING).status_code == 404

    def test_nothing_is_made_behind_it(self, rig: Any) -> None:
        """A create that is refused makes no task and costs nothing."""
        rig.control("PUT", "/account", {"rate_limit": 1}, key="sk-test")
        rig.create()
        before = (len(rig.account().tasks), rig.account().credits)
        rig.create()
        assert (len(rig.account().tasks), rig.account().credits) == before

    def test_the_window_is_a_choice(self, make: Callable[..., Any]) -> None:
        """Another service, another window."""
        rig = make(service_settings={"rate_window_seconds": 5})
        rig.control("PUT", "/account", {"rate_limit": 1}, key="sk-test")
        rig.call("GET", ANYTHING)
        assert rig.call("GET", ANYTHING).headers["Retry-After"] == "5"


def test_what_breaks_inside_is_a_documented_500(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the fake's own is owned up to, in the envelope, and told on its log; never a page, never another error."""
    rig = make()
    rig.app.testing = False

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault inside")

    monkeypatch.setattr(rig.fake.world, "read", broken)
    response = rig.call("GET", ANYTHING)

    assert (response.status_code, response.json["error"]["code"]) == (500, "internal_error")
    assert "a fault inside" not in response.text


@pytest.mark.parametrize("path", ["/v1/credits", "/__mock/clock", "/files/a/b.mp4"])
def test_a_failure_inside_is_logged_once(
    make: Callable[..., Any], path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A documented 500, and one record on standard error with the request's id and the traceback."""
    rig = make()
    rig.app.testing = False

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(rig.fake.api.handlers, "getCredits", fail)
    monkeypatch.setitem(rig.fake.control.calls, "getClock", fail)
    monkeypatch.setattr(rig.fake.world.views, "open_link", fail)
    response = rig.app.test_client().get(path, headers={"Authorization": "Bearer sk-test"})

    failures = [record for record in caplog.records if record.exc_info]
    assert response.status_code == 500
    assert response.json["error"]["code"] == "internal_error"
    assert len(failures) == 1
    assert response.headers["x-request-id"] in failures[0].getMessage()
    assert failures[0].exc_info[0] is ZeroDivisionError
