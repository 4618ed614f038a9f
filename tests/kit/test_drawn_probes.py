"""What the two drivers that draw their calls plan reaches the server: counted there, not by the kit."""

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from standin import StandIn
from test_drivers import context_at

from kling_contract.driving.drivers import machine, schema
from kling_contract.driving.drivers.probes import near_misses
from kling_contract.driving.drivers.trace import Player, near_step
from kling_contract.history.events import Exchange
from kling_contract.rules.verdicts import Choice
from kling_mock.serving.process import Running

TASK_PATH = "/v1/tasks/"
CREATE, TASK, DOWNLOAD = "POST /v1/videos/generations", f"GET {TASK_PATH}", "download"
STEPS: list[tuple[dict[str, Any], list[str]]] = [
    ({"do": "credits"}, ["GET /v1/credits"]),
    ({"do": "create", "members": {"duration": 3}, "callback": True}, [CREATE]),
    ({"do": "create", "members": {}, "callback": False}, [CREATE]),
    ({"do": "near", "field": "duration", "value": 2, "body": {"duration": 2}, "raw": None}, [CREATE]),
    ({"do": "read", "task": 1}, [TASK]),
    ({"do": "cancel", "task": 2}, [TASK, TASK]),
    ({"do": "receive", "status": 500}, []),
    ({"do": "advance", "seconds": 100}, ["attempt 500"] * 4 + ["clock"]),
    ({"do": "receive", "status": 204}, []),
    ({"do": "create", "members": {}, "callback": True}, [CREATE]),
    ({"do": "advance", "seconds": 100}, ["attempt 204", "clock"]),
    ({"do": "read", "task": 1}, [TASK]),
    ({"do": "download", "task": 1}, [DOWNLOAD]),
]
"""A story with every kind of step, and what the fake has to see of each."""
KINDS = {step["do"] for step, _ in STEPS}


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    """The fake in a process of its own; its URL."""
    with Running() as running:
        yield running.url


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A stand-in whose tasks are soon over."""
    with StandIn(queue=0.03, run=0.05) as running:
        yield running


@pytest.fixture
def seen(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many requests the stand-in got, by method and path; with `yes` and `no` behind, how many it granted and refused."""
    api = server.running.api
    answer, counted = api.answer, Counter[str]()

    def counting(call: Any) -> Any:
        given = answer(call)
        path = TASK_PATH if call.path.startswith(TASK_PATH) else call.path
        counted[f"{call.method} {path}"] += 1
        counted[f"{call.method} {path} {'yes' if given.status < 300 else 'no'}"] += 1
        return given

    monkeypatch.setattr(api, "answer", counting)
    return counted


def journal(url: str) -> list[str]:
    """What the fake has seen, an entry each."""
    with urllib.request.urlopen(f"{url}/__mock/journal?limit=10000", timeout=60) as answer:
        return [shown(entry) for entry in json.load(answer)["entries"]]


def shown(entry: dict[str, Any]) -> str:
    """An entry in one or two words."""
    if entry["kind"] == "exchange":
        path = entry["request"]["url"]
        return f"{entry['request']['method']} {TASK_PATH if path.startswith(TASK_PATH) else path}"
    return f"attempt {entry.get('status')}" if entry["kind"] == "attempt" else str(entry["kind"])


def counts(line: str) -> dict[str, int]:
    """The numbers of a driver's line, by what they count."""
    return {name: int(number) for number, name in re.findall(r"(\d+) (\w+)", line)}


def test_every_kind_of_step_reaches_the_wire(fake: str) -> None:
    """One step after the other, counted by the fake."""
    with context_at(fake) as context:
        player = Player(context, context.session("machine"))
        for step, wanted in STEPS:
            before = len(journal(fake))
            player.play(step)
            assert journal(fake)[before:] == wanted, step
    assert player.wrong == ""


def test_a_story_that_reads_the_balance_finds_what_was_taken(fake: str) -> None:
    """The bookkeeping of a story: what its tasks reserve, and nothing else, may be gone."""
    with context_at(fake) as context:
        session = context.session("machine")
        player = Player(context, session)
        for step in ({"do": "credits"}, {"do": "create", "members": {}, "callback": False}, {"do": "credits"}):
            player.play(step)
        assert player.wrong == ""
        left = player.balance
        assert session.control is not None
        session.control.account(credits=left - 0.5)
        player.play({"do": "credits"})
        assert player.wrong == f"{left:.2f} credits should be left, {left - 0.5:.2f} are"


def test_a_machine_draws_every_kind_of_step(fake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server has all that they need; the driver's line says how many of each.

    It is quiet on a correct server: nothing is added to the run's history.
    """
    monkeypatch.setattr(machine, "EXAMPLES", 12)
    monkeypatch.setattr(machine, "SECONDS", 240.0)
    with context_at(fake) as context:
        context.options = replace(
            context.options, seed=8
        )  # fewer than half of all seeds come to a download in so few stories
        (line,) = machine.run(context, Choice())
        assert context.recorder.events == ()
    numbers = counts(line)
    assert numbers.pop("stories") > 0
    assert numbers.keys() == KINDS


def test_what_a_machine_says_that_it_played_was_sent(
    server: StandIn, seen: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every create, near miss and query of its stories, no more and no less."""
    monkeypatch.setattr(machine, "EXAMPLES", 8)
    monkeypatch.setattr(machine, "SECONDS", 240.0)
    with context_at(server.url) as context:
        seen.clear()
        (line,) = machine.run(context, Choice())
    numbers = Counter(counts(line))
    assert numbers["create"] == seen[f"{CREATE} yes"] > 0
    assert numbers["near"] == seen[f"{CREATE} no"] > 0
    assert numbers["read"] == seen[TASK]


def test_every_near_miss_of_a_story_is_sent_as_it_is_planned(server: StandIn, seen: Counter[str]) -> None:
    """And refused."""
    with context_at(server.url) as context:
        player = Player(context, context.session("machine"))
        planned = near_misses(context.contract, context.body())
        for near in planned:
            player.play(near_step(near))
    assert seen[f"{CREATE} no"] == len(planned) == seen[CREATE]


def test_what_is_drawn_from_the_schema_was_sent(
    server: StandIn, seen: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right and wrong requests of every operation, as many as the driver says; the tasks made are read now and then."""
    monkeypatch.setattr(schema, "EXAMPLES", 10)
    monkeypatch.setattr(schema, "SECONDS", 240.0)
    with context_at(server.url) as context:
        seen.clear()
        (line,) = schema.run(context)
        sent = [event for event in context.recorder.events if isinstance(event, Exchange)]
    on_the_wire = {name: number for name, number in seen.items() if not name.endswith((" yes", " no"))}
    assert len(sent) == sum(on_the_wire.values())
    # What is read to see a task that was made stands beside what was drawn, which carries a label.
    assert counts(line)["requests"] == sum(event.probe is not None for event in sent)
    assert all(seen[name] for name in (f"{CREATE} yes", f"{CREATE} no", f"{TASK} yes", f"{TASK} no", "GET /v1/credits"))
