"""`driven.txt`: what every driver sends to a fake, script by script, and every step that is planned for a service that bills.

`scripts/findings` writes it, `scripts/findings --check` says whether it is as it would be written, and `test_driven.py` holds it.
A line is a call: how often, when by the account's clock, what, how it was responded to, which rules it probes, and the body. What
differs from run to run is a `*`: keys, ids, ports.
"""

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from blocks import write

from kling_contract.driving.drivers.models import media_probes, members
from kling_contract.driving.drivers.run_context import Options, RunContext, body_of
from kling_contract.driving.drivers.running import Wanted, for_servers, make_history
from kling_contract.driving.drivers.steps import steps_of
from kling_contract.driving.guard import Guard
from kling_contract.driving.pricing import Price
from kling_contract.driving.session import Line
from kling_contract.driving.target import Asked, discover
from kling_contract.history.events import AnyEvent, Callback, ClockMove, Exchange, Recorder
from kling_contract.mutants.called import Called, application
from kling_contract.reading.contract import Contract
from kling_contract.reading.families import chosen
from kling_contract.rules.verdicts import Choice
from kling_openapi import family

FILE = Path(__file__).with_name("driven.txt")
MODELS = ("", "kling-v3-motion-control", "wan2.7-image-to-video")
"""The document's own; one that takes a video; one with conditional fields and sound."""
MODES = ("readonly", "refusals", "paid")
DRAWN = re.compile(
    r"task-unified-\d+-[a-z0-9]+|\b[0-9a-f]{8,}\b|\bsk-[A-Za-z0-9-]+|\bkey-[0-9a-f]+|127\.0\.0\.1|:\d{4,5}\b"
)
LONGEST = 60
RUNS = "-"
"""The moment of an event once a clock has run: what happens when, and how often, is then not for the driver to say."""


def of_run(model: str, fake: Called) -> Iterator[str]:
    """Yield what a scripted run sends to *fake*."""
    asked = Asked(url=fake.url, key="sk-a", second_key="sk-b")
    wanted = Wanted(asked, Options(seed=1, quick=True, poll=0.02), timeout=30, contract=chosen(model=model or None))
    made = make_history(wanted, for_servers(Choice()), fake)
    scripts: dict[str, list[AnyEvent]] = {}
    for event in made.recorder.events:
        scripts.setdefault(event.case, []).append(event)
    for name, events in sorted(scripts.items()):
        if name:
            yield f"-- {name}"
            yield from counted(written(events))


def written(events: list[AnyEvent]) -> Iterator[str]:
    """Yield a line for each event of a script; in one that lets a clock run only what it sends, and not when."""
    began: dict[str, float] = {}
    runs = any(isinstance(event, ClockMove) and event.mode != "manual" for event in events)
    steered = {event.who for event in events if isinstance(event, ClockMove)}
    for event in events:
        first = began.setdefault(event.who, event.at)
        if isinstance(event, Exchange):
            exact = event.who in steered and not runs
            yield f"{f'{round(event.at - first, 2):g} s' if exact else RUNS}  {call_of(event)}"
        elif isinstance(event, Callback) and not runs:
            yield f"callback {event.method} {event.answer.status if event.answer else event.ended}"


def call_of(event: Exchange) -> str:
    """Return a call as a line has it."""
    parts = urlsplit(event.url)
    where = masked(parts.path + (f"?{parts.query}" if parts.query else ""))
    rules = f" [{' '.join(event.probe.rules)}]" if event.probe and event.probe.rules else ""
    body = event.request.body
    text = masked(body.text) if body.text is not None else f"{body.size} bytes"
    status = event.answer.status if event.answer else event.lost
    return f"{event.method} {where} {status}{rules} {clipped(text)}".rstrip()


def masked(text: str) -> str:
    """Return *text* without what differs from run to run."""
    return DRAWN.sub("*", text)


def clipped(text: str) -> str:
    """Return *text*, a long one by a digest and its end, where it says what is special."""
    if len(text) > LONGEST:
        text = f"{hashlib.sha256(text.encode()).hexdigest()[:8]} ...{text[-LONGEST:]}"
    return text.encode("unicode_escape").decode()


def counted(lines: Iterable[str]) -> Iterator[str]:
    """Yield each line once, with how often it was there: calls side by side come in any order."""
    for line, times in sorted(Counter(lines).items()):
        yield f"{'some' if line.startswith(RUNS) else times} x  {line}"


def of_plan(mode: str, contract: Contract) -> Iterator[str]:
    """Yield the steps that a mode plans."""
    right = body_of(contract, Options())
    for step in steps_of(mode, contract, right, Price.of(contract), assumptions=True):
        shown: list[Any] = [*step.identity(), step.kind, step.rules, step.grade, step.field, step.optional]
        cost = f"{step.expected_usd:.4f} {step.worst_usd:.4f}"
        yield f"{step.name[:100]!r} {cost} {hashlib.sha256(repr(shown).encode()).hexdigest()[:8]}"


def of_members(model: str, fake: Called) -> Iterator[str]:
    """Yield the members that drawn stories give a create of *model*."""
    contract = chosen(model=model)
    target = discover(Asked(url=fake.url, key="sk-a"), contract, fake)
    with RunContext(Line(target, contract, Recorder(salt=b"salt"), fake, Guard()), Options(seed=1)) as context:
        yield from (clipped(repr(one)) for one in members(context))


def of_media() -> Iterator[str]:
    """Yield the media at and beyond the limits of every model, as it is asked for."""
    for name, model in family().models.items():
        for _, _, one in media_probes(model):
            yield f"{name} {asdict(one)}"


def names() -> Iterable[str]:
    """The blocks, in order."""
    runs = (f"run {model}".rstrip() for model in MODELS)
    return (*runs, *(f"plan {mode}" for mode in MODES), *(f"members {model}" for model in MODELS if model), "media")


def block(name: str, fake: Called) -> str:
    """What is kept of a run or a plan."""
    kind, _, which = name.partition(" ")
    ways: dict[str, Callable[[], Iterator[str]]] = {
        "run": lambda: of_run(which, fake),
        "plan": lambda: of_plan(which, chosen()),
        "members": lambda: of_members(which, fake),
        "media": of_media,
    }
    return "\n".join([f"== {name}", *ways[kind]()])


def whole() -> str:
    """The file as it would be written."""
    with application() as fake:
        return "\n\n".join(block(name, fake) for name in names()) + "\n"


if __name__ == "__main__":
    sys.exit(write(FILE, whole(), sys.argv[1:]))
