"""A story: steps as data, so that what a generated run found can be printed, saved and replayed.

Tasks are named by the order in which the story made them, from 1.
"""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kling_contract.driving.drivers.probes import Near
from kling_contract.driving.drivers.refusals import send
from kling_contract.driving.drivers.run_context import RunContext
from kling_contract.driving.receiver import Act, Route
from kling_contract.driving.session import Session
from kling_contract.history.labels import Topic
from kling_contract.reading.ledger import reserved_by
from kling_contract.rules.verdicts import SetupError

Step = dict[str, Any]
_CENT = 1e-6


@dataclass(slots=True)
class Made:
    """A task of the story, as the story knows it."""

    id: str
    cancelled: bool = False
    links: list[str] = field(default_factory=list)
    state: str = ""
    reserved: float = 0.0
    route: Route | None = None


class Player:
    """Plays steps on one account, and remembers what it was shown."""

    def __init__(self, context: RunContext, session: Session) -> None:
        self.context, self.session = context, session
        self.tasks: list[Made] = []
        self.steps: list[Step] = []
        self.opening: float | None = None
        self.balance: float | None = None
        self.wrong = ""
        self._acts = [Act()]

    def play(self, step: Step) -> None:
        """One step: `do` names it, the other members are its arguments."""
        self.steps.append(step)
        arguments = {name: value for name, value in step.items() if name != "do"}
        getattr(self, f"_{step['do']}")(**arguments)

    def _create(self, members: dict[str, Any], callback: bool) -> None:
        route = None
        body = self.context.body(**members)
        if callback:
            route, body["callback_url"] = self.context.route(self.session, self._acts)
        seen = self.session.create(body)
        if seen.task_id:
            self.tasks.append(Made(seen.task_id, reserved=reserved_by(seen.body) or 0.0, route=route))

    def _near(self, field: str, value: Any, body: Any = None, raw: str | None = None) -> None:
        data = base64.b64decode(raw) if raw is not None else None
        send(self.session, Near((), field, value, body, data))

    def _read(self, task: int) -> None:
        made = self.tasks[task - 1]
        seen = self.session.read(made.id)
        made.state, made.links = seen.state or made.state, seen.links or made.links

    def _advance(self, seconds: float) -> None:
        self.session.clock.advance(seconds)

    def _receive(self, status: int) -> None:
        """How callbacks are answered from now on; 0 cuts the connection."""
        self._acts[0] = Act(status) if status else Act(end="cut")

    def _cancel(self, task: int) -> None:
        made = self.tasks[task - 1]
        seen = self.session.read(made.id)
        assert self.session.control is not None
        if seen.state in self.context.contract.terminal:
            return
        self.session.note(Topic.CANCELLED, task_id=made.id)
        made.cancelled = True
        self.session.control.cancel(made.id)
        self.session.read(made.id)

    def _download(self, task: int) -> None:
        for link in self.tasks[task - 1].links:
            self.session.download(link)

    def _credits(self) -> None:
        self.balance = self.session.credits()
        if self.opening is None:
            # Tasks of before the first reading have taken theirs already.
            self.opening = (self.balance or 0.0) + sum(made.reserved for made in self.tasks if not made.cancelled)
        self.wrong = self._disagreement()

    def _disagreement(self) -> str:
        """Where the credits depart from the story's own bookkeeping; empty where they do not.

        What is left are the opening credits less what each task reserved, but for those that were cancelled.
        """
        if self.balance is None or self.opening is None:
            return ""
        wanted = self.opening - sum(made.reserved for made in self.tasks if not made.cancelled)
        return (
            "" if abs(self.balance - wanted) < _CENT else f"{wanted:.2f} credits should be left, {self.balance:.2f} are"
        )


def told(steps: list[Step]) -> list[str]:
    """The story in words, a line a step."""
    return [f"{number}. {_words(step)}" for number, step in enumerate(steps, 1)]


def _words(step: Step) -> str:
    rest = {name: value for name, value in step.items() if name not in ("do", "body", "raw")}
    text = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{step['do']} {text}".strip()[:200]


def save(path: Path, steps: list[Step], seed: int | None, why: str) -> None:
    """Write a story that `--replay` plays again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"story": 1, "seed": seed, "why": why, "steps": steps}
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def load(path: Path) -> list[Step]:
    """The steps of a saved story.

    Raises:
        SetupError: it cannot be read, or is no story.
    """
    try:
        steps = orjson.loads(path.read_bytes())["steps"]
        known = all(isinstance(step, dict) and hasattr(Player, f"_{step['do']}") for step in steps)
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SetupError(f"{path}: not a saved story") from error
    if not known:
        raise SetupError(f"{path}: a step that this kit does not know")
    return list(steps)


def near_step(near: Near) -> Step:
    """A near miss as a step."""
    raw = None if near.raw is None else base64.b64encode(near.raw).decode()
    short = near.value if len(repr(near.value)) < 100 else repr(near.value)[:60] + "..."
    return {"do": "near", "field": near.field, "value": short, "body": near.body, "raw": raw}
