"""The control protocol's calls: those of the document, each refused in its envelope, and from whom they are taken."""

from collections.abc import Callable
from typing import Any

import pytest

import kling_openapi

DOCUMENT = kling_openapi.read(kling_openapi.CONTROL)
CALLS = {
    call["operationId"]: (method.upper(), path)
    for path, item in DOCUMENT["paths"].items()
    for method, call in item.items()
    if method != "parameters"
}
UNKNOWN = "task-unified-1-aaaaaaaa"

REFUSED: dict[str, list[tuple[dict[str, Any], int]]] = {
    "getHealth": [({"query_string": "x=1"}, 400)],
    "getReady": [({"query_string": "x=1"}, 400)],
    "getInfo": [({"query_string": "x"}, 400)],
    "reset": [({"query_string": "all=1"}, 400)],
    "getClock": [({"query_string": "now=1"}, 400)],
    "setClock": [
        ({"json": body}, 400)
        for body in (
            {},
            [],
            None,
            {"mode": "slow"},
            {"mode": "scaled"},
            {"mode": "scaled", "rate": 0},
            {"mode": "scaled", "rate": -1},
            {"mode": "scaled", "rate": 1e9},
            {"mode": "scaled", "rate": "60"},
            {"mode": "manual", "rate": 60},
            {"mode": "real", "rate": 1},
            {"mode": "real", "now": 5},
        )
    ],
    "advanceClock": [
        *[
            ({"json": body}, 400)
            for body in (
                {},
                {"seconds": -1},
                {"seconds": "60"},
                {"seconds": None},
                {"seconds": 1e12},
                {"seconds": 1, "to": 2},
            )
        ],
        ({"data": b""}, 400),
        ({"data": b"{"}, 400),
        ({"data": b'{"seconds": NaN}'}, 400),
        ({"data": b'{"seconds": 1e999}'}, 400),
    ],
    "listScenarios": [({"query_string": "name=failed"}, 400)],
    "queueScenario": [
        ({"json": body}, 400)
        for body in (
            {},
            {"name": "nonsense"},
            {"name": ""},
            {"name": "failed", "params": {"code": "nonsense"}},
            {"name": "failed", "params": {"nonsense": 1}},
            {"name": "failed", "params": {"at": 101}},
            {"name": "failed", "params": {"code": "a b"}},
            {"name": "failed", "params": {"at": [1]}},
            {"name": "failed", "times": 0},
            {"name": "failed", "times": 1.5},
            {"name": "failed", "extra": 1},
            {"name": 5},
        )
    ],
    "setAccount": [
        ({"json": body}, 400)
        for body in (
            {},
            {"credits": -1},
            {"credits": "60"},
            {"credits": None},
            {"models": "all"},
            {"models": [1]},
            {"rate_limit": 0},
            {"rate_limit": 1.5},
            {"balance": 5},
        )
    ],
    "setNames": [
        ({"json": {"rebound.example.com": ["nowhere"]}}, 400),
        ({"json": {"rebound.example.com": []}}, 400),
        ({"json": {"https://rebound.example.com": ["127.0.0.1"]}}, 400),
    ],
    "listAccounts": [({"query_string": "account=1"}, 400)],
    "setRelays": [
        ({"json": body}, 400)
        for body in (
            [],
            {"https://a.example.com": 5},
            {"a.example.com": "http://127.0.0.1:1"},
            {"https://a.example.com": "127.0.0.1:1"},
            {"https://a.example.com/path": "http://127.0.0.1:1"},
            {"https://a.example.com": "http://127.0.0.1:99999"},
            {"https://a.example.com": "ftp://127.0.0.1"},
            {"": ""},
            {"https://u:p@a.example.com": "http://127.0.0.1:1"},
        )
    ],
    "listTasks": [({"query_string": "status=failed"}, 400)],
    "getTask": [({}, 404)],
    "cancelTask": [({}, 404)],
    "listDeliveries": [
        ({"query_string": f"task_id={UNKNOWN}"}, 404),
        ({"query_string": "task_id="}, 400),
        ({"query_string": "task=1"}, 400),
    ],
    "resendDelivery": [({}, 404)],
    "wait": [
        ({}, 400),
        ({"query_string": f"task_id={UNKNOWN}"}, 404),
        *[
            ({"query_string": f"task_id={UNKNOWN}&{more}"}, 400)
            for more in (
                "until=never",
                "until=attempts:0",
                "until=attempts:",
                "timeout=-1",
                "timeout=601",
                "timeout=x",
                "timeout=nan",
                "timeout=inf",
                "x=1",
            )
        ],
    ],
    "getJournal": [
        ({"query_string": query}, 400)
        for query in (
            "since=-1",
            "since=x",
            "since=1.5",
            "limit=0",
            "limit=10001",
            "limit=",
            "limit=nan",
            "since=" + "9" * 400,
            "since=" + "9" * 5000,
            "&",
            "a",
            "until=1",
        )
    ],
    "getJournalHar": [({"query_string": "limit=1"}, 400)],
}


def filled(path: str) -> str:
    """The path with ids that nobody has."""
    return path.replace("{task_id}", UNKNOWN).replace("{delivery_id}", "dlv-none-1")


def test_every_call_has_its_handler(rig: Any) -> None:
    """The table of handlers and openapi/control.yaml name the same operations."""
    assert set(rig.fake.control.calls) == set(CALLS)


def test_the_routes_are_the_documents(rig: Any) -> None:
    """Path, method and operationId, no more and no less; and the table here leaves none out."""
    routed = {
        rule.endpoint.removeprefix("control."): (
            (rule.methods - {"HEAD", "OPTIONS"}).pop(),
            rule.rule.replace("<", "{").replace(">", "}"),
        )
        for rule in rig.app.url_map.iter_rules()
        if rule.rule.startswith("/__mock") and not rule.endpoint.startswith("page.")
    }

    assert routed == CALLS
    assert set(REFUSED) == set(CALLS)


@pytest.mark.parametrize("call", REFUSED)
def test_a_call_that_cannot_be_done_says_so(rig: Any, call: str) -> None:
    """The protocol's own error, one line, and nothing has changed."""
    method, path = CALLS[call]
    before = rig.control("GET", "/clock"), rig.control("GET", "/tasks")
    for request, status in REFUSED[call]:
        response = rig.call(method, filled(path), key=None, **request)
        assert response.status_code == status, request
        assert "\n" not in response.json["error"]["message"]

    assert (rig.control("GET", "/clock"), rig.control("GET", "/tasks")) == before


def test_a_key_that_is_none_is_refused(rig: Any) -> None:
    """403 on every call, and no account is made."""
    for method, path in CALLS.values():
        for authorization in ("Bearer nonsense", "Basic abc", "", "sk-test"):
            response = rig.call(method, filled(path), key=None, headers={"Authorization": authorization})
            assert response.status_code == 403, path
    assert not rig.fake.world.store.accounts()


def test_off_the_loopback_a_token_is_needed(make: Callable[..., Any]) -> None:
    """The one the fake was started with, on every call; where it was started with none, nobody gets in."""
    far = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    guarded, closed = make(admin_token="right"), make()
    for method, path in CALLS.values():
        for rig, tokens in ((guarded, ("wrong", "", "r\xefght")), (closed, ("right", "None", ""))):
            for token in tokens:
                response = rig.call(method, filled(path), key=None, headers={"X-Mock-Token": token}, **far)
                assert response.status_code == 403, path
            assert rig.call(method, filled(path), key=None, **far).status_code == 403, path
        response = guarded.call(method, filled(path), key=None, headers={"X-Mock-Token": "right"}, **far)
        assert response.status_code != 403, path


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_every_spelling_of_the_loopback_is_near(rig: Any, address: str) -> None:
    """As servers give it for both families."""
    response = rig.call("GET", "/__mock/health", key=None, environ_base={"REMOTE_ADDR": address})

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/__mock/"),
        ("GET", "/__mock/nonsense"),
        ("DELETE", "/__mock/tasks"),
        ("GET", "/__mock/reset"),
        ("OPTIONS", "/__mock/clock"),
        ("GET", "/__mock"),
    ],
)
def test_a_call_that_is_not_there_is_a_400_in_the_envelope(rig: Any, method: str, path: str) -> None:
    """A path or a method that the protocol has not."""
    assert rig.call(method, path, key=None).json["error"]["code"] == "bad_control_request"
