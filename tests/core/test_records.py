"""What members of files and settings are taken as, what is refused, in which words, and where it is said to be."""

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from kling_mock.config import BadSetting, Settings, settings
from kling_mock.core.observed import Observed
from kling_mock.core.records import Invalid, Record
from kling_mock.core.scenarios import Act, Answer, Behaviour, Callback, Edit, Links, Outcome, Scenario, Wire
from kling_mock.core.tasks import Status

ACT: dict[str, Any] = {"when": {"create": 1}}


@pytest.mark.parametrize(
    ("record", "given", "found"),
    [
        (Settings, {"port": "7"}, 7),
        (Settings, {"seed": "-3"}, -3),
        (Settings, {"seed": 1 << 70}, 1 << 70),
        (Settings, {"journal": 3.0}, 3),
        (Settings, {"tls": "true"}, True),
        (Settings, {"scenarios": "a/b"}, Path("a/b")),
        (Settings, {"scenarios": Path("a")}, Path("a")),
        (Settings, {"keys": ["a", "b"]}, ("a", "b")),
        (Settings, {"public_url": None}, None),
        (Links, {"lifetime": "2m"}, 120.0),
        (Links, {"lifetime": None}, None),
        (Outcome, {"progress": "7"}, 7),
        (Observed, {"delay": "1.5"}, 1.5),
        (Observed, {"delay": 2}, 2.0),
        (Observed, {"headers": {"x": None}}, {"x": None}),
        (Observed, {"replace": [1, {"a": None}]}, [1, {"a": None}]),
        (Callback, {"content_type": 5}, "5"),
        (Callback, {"before_reply": True}, True),
        (Answer, {"accepted": "Yes", "status": 500}, True),
        (Answer, {"accepted": "off", "status": 500}, False),
        (Answer, {"accepted": 1, "status": 500}, True),
        (Edit, {"only": ["failed"], "drop": ["a"]}, (Status.FAILED,)),
        (Edit, {"drop": {"a"}}, ("a",)),
        (Scenario, {"summary": "Größe: 日本 \U0001f600", "name": "x"}, "Größe: 日本 \U0001f600"),
        (Edit, {"set": {"größe": "ü"}}, {"größe": "ü"}),
        (Scenario, {"params": {"a": True}, "name": "x", "summary": "s"}, {"a": True}),
    ],
)
def test_what_is_taken(record: type[Record], given: dict[str, Any], found: Any) -> None:
    """As it stands, or as it is spelled; the first member counts."""
    value = getattr(record(**given), next(iter(given)))

    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize(
    ("record", "given", "words"),
    [
        (Answer, {"status": True}, "status: should be a whole number or null"),
        (Answer, {"status": "x"}, "status: should be a whole number or null"),
        (Answer, {"status": 600}, "status: should be a whole number less than or equal to 599"),
        (Answer, {"status": 200, "accepted": "maybe"}, "accepted: should be true or false"),
        (Answer, {"status": 200, "headers": {"x": []}}, "headers.x: should be a text"),
        (Answer, {"status": 200, "headers": {"x": True}}, "headers.x: True cannot stand in a header; use printable ASCII"),
        (Outcome, {"progress": 1.5}, "progress: should be a whole number"),
        (Outcome, {"progress": inf}, "progress: should be a whole number"),
        (Outcome, {"progress": None}, "progress: should be a whole number"),
        (Outcome, {"status": ["completed"]}, "status: should be 'completed', 'failed' or 'cancelled'"),
        (Outcome, {"status": "\ud800"}, "status: has characters that cannot be sent as UTF-8"),
        (Wire, {"short": nan}, "short: should be a number greater than or equal to 0.0"),
        (Wire, {"short": "1e999"}, "short: Number out of range"),
        (Wire, {"drip": "2h"}, "drip: should be less than or equal to 3600"),
        (Edit, {"drop": "a"}, "drop: should be a list"),
        (Edit, {"drop": ["a", 3]}, "drop.1: should be a text"),
        (Edit, {"set": {"a": [1 << 63]}}, "set.a.0: a number has more than 64 bits"),
        (Edit, {"set": {"a": {1: 2}}}, "set.a.1: a key is a text; write it in quotes"),
        (Act, {"when": {"create": 1, "end": 2}}, "when.end: should be 'create', 'query', 'link' or 'callback'"),
        (Act, {"when": {"create": 1, "query": "x"}}, "when.query: 'x' does not count calls; write 1, 2..4 or 2.."),
        (Behaviour, {}, "name: is missing"),
        (Behaviour, {"name": "x", "mixture": {"a": 1, "b": 0}}, "mixture.b: should be a number greater than 0.0"),
        (Behaviour, {"name": "x", "acts": [ACT]}, "acts.0: an act is exactly one of answer, wire, edit"),
        (Behaviour, {"name": "x", "acts": [{**ACT, "wire": {"a`b": 1}}]}, "acts.0.wire.a`b: there is no 'a`b' here"),
        (Behaviour, {"name": "x", "acts": [{**ACT, "wire": 5}]}, "acts.0.wire: '5' is no mapping; it takes cut, silent,"),
        (Behaviour, {"name": "x", "acts": [{**ACT, "wire": "5" * 61}]}, f"acts.0.wire: '{'5' * 60}' is no mapping; it takes"),
        (Behaviour, {"name": "x", "callbacks": [{}] * 11}, "callbacks: should be a list of length less than or equal"),
        (Scenario, {"name": "x", "summary": "\ud800"}, "summary: has characters that cannot be sent as UTF-8"),
        (Scenario, {"name": "x", "summary": "s", "params": {"a": None}}, "params.a: should be true or false or a whole"),
        (Observed, {"retype": {"a": "list"}}, "retype.a: should be 'string' or 'number'"),
        (Observed, {"body": [1]}, "body: should be a mapping or null"),
        (Settings, {"callbacks": "\ud800"}, "has characters that cannot be sent as UTF-8"),
    ],
)  # fmt: skip
def test_what_is_refused(record: type[Record], given: dict[str, Any], words: str) -> None:
    """In words that say what would be right, with the place."""
    with pytest.raises(Invalid) as caught:
        record(**given)

    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"port": 65536}, "--port 65536: should be a whole number less than or equal to 65535"),
        ({"port": "x"}, "--port x: should be a whole number"),
        ({"workers": 65}, "--workers 65: a number of processes from 1 to 64"),
        ({"images": "none"}, "--images none: should be 'fetch' or 'offline'"),
        ({"keys": ()}, "--keys (): name at least one key, or say any"),
        ({"models": []}, "--models []: name at least one model, or leave the option out to serve all"),
        ({"clock": 5}, "--clock 5: should be a text"),
        ({"relays": "x"}, "--relays x: should be a mapping"),
        ({"scenarios": 5}, "--scenarios 5: should be a text"),
        ({"allowed_host": ["a/b"]}, "--allowed-host a/b: 'a/b' is more than a host name; leave out scheme, port and path"),
        ({"proxy_port": 1}, "--proxy-port is the port of --impersonate; give both"),
        ({"colour": 1}, "--colour 1: there is no 'colour' here; there are host, port, workers,"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_one_line(given: dict[str, Any], words: str) -> None:
    """The option, its value, and what would be right."""
    with pytest.raises(BadSetting) as caught:
        settings(**given)

    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_settings_know_what_was_given() -> None:
    """Also where it is the default; only that is written, and can be read."""
    chosen = settings(port="4010", seed=0, scenarios="a", keys=["k"], start="2025-09-06T14:42:23Z")

    assert chosen.given == {"port", "seed", "scenarios", "keys", "start"}
    assert (chosen.chosen_seed, settings().chosen_seed) == (0, None)
    assert chosen.as_json() == '{"port":4010,"start":1757169743.0,"seed":0,"scenarios":"a","keys":["k"]}'
    assert chosen.as_json(["start", "keys"]) == '{"port":4010,"seed":0,"scenarios":"a"}'
    assert settings(**json.loads(chosen.as_json())) == chosen
    assert settings(impersonate=True).given == {"impersonate", "public_url"}


def test_a_record_never_changes() -> None:
    """Nor do two with the same members differ; one that is a record already is taken as it is."""
    one = Outcome(progress=3)

    assert Outcome.of(one) is one
    assert (one == Outcome(progress="3"), one == Outcome()) == (True, False)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        one.progress = 4  # type: ignore[misc]
