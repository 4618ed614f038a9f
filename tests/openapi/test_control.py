"""The control protocol: complete, closed to what it does not name, and in the service's own dialect of errors."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kling_openapi

CONTROL = kling_openapi.read(kling_openapi.CONTROL)
REQUESTS = [
    (path, method)
    for path, item in CONTROL["paths"].items()
    for method, operation in item.items()
    if "requestBody" in operation
]


def test_control_protocol_is_complete(operations: Callable[..., Any]) -> None:
    """
    The calls of the control protocol and their names are what drivers rely on.
    """
    assert {it["operationId"]: f"{method} {path}" for path, method, it in operations(CONTROL)} == {
        "getHealth": "get /__mock/health",
        "getReady": "get /__mock/ready",
        "getInfo": "get /__mock/info",
        "reset": "post /__mock/reset",
        "getClock": "get /__mock/clock",
        "setClock": "put /__mock/clock",
        "advanceClock": "post /__mock/clock/advance",
        "listScenarios": "get /__mock/scenarios",
        "queueScenario": "post /__mock/scenarios/next",
        "setAccount": "put /__mock/account",
        "listAccounts": "get /__mock/accounts",
        "setRelays": "put /__mock/relays",
        "setNames": "put /__mock/names",
        "listTasks": "get /__mock/tasks",
        "getTask": "get /__mock/tasks/{task_id}",
        "cancelTask": "post /__mock/tasks/{task_id}/cancel",
        "listDeliveries": "get /__mock/deliveries",
        "resendDelivery": "post /__mock/deliveries/{delivery_id}/resend",
        "wait": "get /__mock/wait",
        "getJournal": "get /__mock/journal",
        "getJournalHar": "get /__mock/journal.har",
    }


@pytest.mark.parametrize(("path", "method"), REQUESTS)
@given(value=st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()))
def test_control_requests_are_closed(path: str, method: str, value: Any, validator: Callable[..., Any]) -> None:
    """
    A control request with a member that the protocol does not name is refused, and so is one that is no object.
    """
    judge = validator(CONTROL, "paths", path, method, "requestBody", "content", "application/json", "schema")
    for example in CONTROL["paths"][path][method]["requestBody"]["content"]["application/json"]["examples"].values():
        assert judge.is_valid(example["value"])
        assert not judge.is_valid({**example["value"], "unheard_of": value})
    assert not judge.is_valid(value)


@pytest.mark.parametrize(
    ("schema", "body", "right"),
    [
        ("SetClock", {}, False),
        ("SetClock", {"mode": "paused"}, False),
        ("SetClock", {"mode": "scaled"}, False),
        ("SetClock", {"mode": "scaled", "rate": 0}, False),
        ("SetClock", {"mode": "scaled", "rate": -60}, False),
        ("SetClock", {"mode": "scaled", "rate": "60"}, False),
        ("SetClock", {"mode": "scaled", "rate": 0.5}, True),
        ("SetClock", {"mode": "manual", "rate": 60}, False),
        ("SetClock", {"mode": "real", "rate": 60}, False),
        ("Advance", {}, False),
        ("Advance", {"seconds": 0}, True),
        ("Advance", {"seconds": 0.25}, True),
        ("Advance", {"seconds": -1}, False),
        ("Advance", {"seconds": "24h"}, False),
        ("Advance", {"seconds": None}, False),
        ("Advance", {"seconds": 1e300}, False),
        ("QueueScenario", {"params": {}}, False),
        ("QueueScenario", {"name": ""}, False),
        ("QueueScenario", {"name": "failed", "times": 0}, False),
        ("QueueScenario", {"name": "failed", "times": 1.5}, False),
        ("QueueScenario", {"name": "failed", "params": []}, False),
        ("QueueScenario", {"name": "failed", "params": {"code": None}}, False),
        ("QueueScenario", {"name": "failed", "params": {"at": 40, "code": "service_error", "late": True}}, True),
        ("SetAccount", {}, False),
        ("SetAccount", {"credits": 0}, True),
        ("SetAccount", {"credits": -1}, False),
        ("SetAccount", {"credits": "60"}, False),
        ("SetAccount", {"models": []}, True),
        ("SetAccount", {"models": [1]}, False),
        ("SetAccount", {"models": "kling-v3-turbo-image-to-video"}, False),
        ("SetAccount", {"rate_limit": None}, True),
        ("SetAccount", {"rate_limit": 0}, False),
        ("SetAccount", {"rate_limit": 1.5}, False),
        ("Relays", {"https://hooks.example.com": "http://127.0.0.1:9000"}, True),
        ("Relays", {"https://hooks.example.com:8443/": "http://[::1]:9000"}, True),
        ("Relays", {"hooks.example.com": "http://127.0.0.1:9000"}, False),
        ("Relays", {"https://hooks.example.com/path": "http://127.0.0.1:9000"}, False),
        ("Relays", {"https://hooks.example.com": "http://127.0.0.1:9000/path"}, False),
        ("Relays", {"https://hooks.example.com": "http://127.0.0.1:65535"}, True),
        ("Relays", {"https://hooks.example.com": "http://127.0.0.1:65536"}, False),
        ("Relays", {"https://hooks.example.com": "http://127.0.0.1:0"}, False),
        ("Relays", {"https://user@hooks.example.com": "http://127.0.0.1:9000"}, False),
        ("Relays", {"https://hooks.example.com": None}, False),
        ("Relays", {"https://hooks.example.com": "file:///etc/passwd"}, False),
        ("Until", "terminal", True),
        ("Until", "attempts:4", True),
        ("Until", "attempts:0", False),
        ("Until", "attempts:", False),
        ("Until", "delivered\n", False),
        ("Until", "done", False),
    ],
)
def test_control_values(schema: str, body: Any, right: bool, component: Callable[..., Any]) -> None:
    """
    The control protocol takes what it describes and refuses its neighbours.
    """
    assert component(kling_openapi.CONTROL, schema).is_valid(body) == right


def test_control_codes_are_its_answers() -> None:
    """
    The codes of the control protocol's error schema are exactly those of its error answers.
    """
    codes = {it["x-error"]["code"] for it in CONTROL["components"]["responses"].values()}
    assert set(CONTROL["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]) == codes


def test_control_errors_wear_the_services_envelope(component: Callable[..., Any]) -> None:
    """
    An error of the control protocol is an error body of the service too.
    """
    for response in CONTROL["components"]["responses"].values():
        for example in response["content"]["application/json"]["examples"].values():
            assert component(kling_openapi.SERVICE, "Error").is_valid(example["value"])
