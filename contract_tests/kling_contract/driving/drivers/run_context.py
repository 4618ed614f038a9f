"""What every case of the scripted run works with: sessions, the receiver, and the ways of bringing a task to its end."""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Self

from kling_contract.driving.bodies import right_body, with_members
from kling_contract.driving.control import ControlFailed
from kling_contract.driving.guarded import wait
from kling_contract.driving.parts import Parts
from kling_contract.driving.receiver import HOST, YES, Act, Hook, Receiver, Route
from kling_contract.driving.session import Line, Seen, Session
from kling_contract.history.labels import ImageFacts, Probe, Topic
from kling_contract.history.noise import Meter
from kling_contract.reading.contract import Contract

STEP = 5.0
"""Account seconds between two looks at a task while a manual clock is moved."""
_PLENTY = 10**9
"""Credits that no run uses up."""
_USUAL, _STRIDE = 600.0, 60.0
"""Account seconds after which a task is looked at less often, and how often: most are over long before."""
_LONGEST = 3600.0
"""Account seconds after which a task that does not end is left alone: past the limit of SL-17."""
ARRIVES = 5.0
"""Real seconds within which an attempt that is due has arrived and is recorded."""
_GIVEN_UP = 0.5
"""The same once an attempt of the same run has not arrived."""
_REFUSALS = frozenset({400, 401, 403, 404, 405, 410})
_ENOUGH = 3
"""Refusals of a read after which a task is not asked for any more."""
QUICK = 6.0
"""Real seconds that a task of a server without a clock to steer is waited for, unless the user gave more time."""


class ScriptBroken(Exception):
    """A case cannot go on, because the server refused what the case stands on; the message says what."""


@dataclass(frozen=True, slots=True)
class Script:
    """One story of the scripted run.

    rules: those that it serves, besides those that look at everything. needs: parts of the control protocol. run: what it does.
    alone: it watches the account's credits, so nothing else may happen on that account.
    own: it leaves behind what must never be sent, so it needs an account of its own.
    document: it is about members of the document's own model, so it is left out where a run asks for another one.
    """

    name: str
    rules: tuple[str, ...]
    run: "Callable[[RunContext, Session], None]"
    needs: tuple[str, ...] = ()
    alone: bool = False
    creates: bool = True
    own: bool = False
    document: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run is driven.

    image: a first frame that the target takes; video and audio: what it takes of those, where it cannot make them itself.
    drawn: whether it makes what the drawing hosts are asked for. story_out: where a failing drawn story is saved; replay: a
    saved one, played instead of everything else. parts: counts what is over, for a bar.
    """

    seed: int | None = None
    quick: bool = False
    scripts: frozenset[str] = frozenset()
    real_time: bool = False
    patience: float = QUICK
    poll: float = 0.2
    image: str = "https://image.test/1280x720.jpg"
    video: str = ""
    audio: str = ""
    drawn: bool = True
    callback_base: str = ""
    callback_listen: tuple[str, int] = ("127.0.0.1", 0)
    callback_ca: Path | None = None
    story_out: Path | None = None
    replay: Path | None = None
    parts: Parts = field(default_factory=Parts, compare=False)


def _urls(options: Options) -> dict[str, str]:
    image = "" if options.image == Options().image else options.image
    return {"image": image, "video": options.video, "audio": options.audio}


def body_of(contract: Contract, options: Options) -> dict[str, Any]:
    """Return the cheapest right create of a run."""
    return right_body(contract, options.image, _urls(options))


class RunContext:
    """One run against one target."""

    def __init__(self, line: Line, options: Options, salt: bytes = b"kling-contract") -> None:
        """*salt*: what keys are hashed with, so that a history can be made of two."""
        self.line, self.options, self.salt = line, options, salt
        self.contract, self.target, self.recorder = line.contract, line.target, line.recorder
        self.token = f"{options.seed:x}" if options.seed is not None else secrets.token_hex(4)
        self.noise = Meter(0.0)
        """How late this machine was so far."""
        self.out_of_patience = threading.Event()
        self._deaf = threading.Event()
        self._numbers = count(1)
        self._stack = ExitStack()
        self._receiver: Receiver | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def features(self) -> frozenset[str]:
        """Parts of the control protocol that work."""
        return self.target.features

    def session(self, name: str, *, shared: bool = False) -> Session:
        """An account for the case *name*: one of its own where the target makes them, else the user's."""
        if not self.target.accounts or shared:
            session = Session(self.line, name, self.target.key)
            self._refresh(session)
            return session
        session = Session(self.line, name, f"sk-contract-{self.token}-{name}")
        if session.control is not None:
            session.control.reset()
        if "clock" in self.features:
            session.clock.stop()
        return session

    def _refresh(self, session: Session) -> None:
        """Give the one account that there is its means back; read before and after, so that no judge takes it for a charge."""
        if session.control is None:
            return
        if "credits" in self.features:
            session.credits()
            session.control.account(credits=_PLENTY, models=[self.contract.asks], rate_limit=None)
            session.credits()
        if "clock" in self.features:
            session.clock.stop()

    # Creates

    @property
    def media(self) -> dict[str, str]:
        """The user's own URLs by kind; empty ones where the examples of a model's file will do."""
        return _urls(self.options)

    @cached_property
    def _right(self) -> dict[str, Any]:
        return body_of(self.contract, self.options)

    def body(self, **members: Any) -> dict[str, Any]:
        """The cheapest right create, with *members* set; a member of None is left out.

        A member that another model than the document's own does not take is left as it is.
        """
        return with_members(self.contract, self._right, members)

    def made(self, session: Session, *, probe: Probe | None = None, **members: Any) -> Seen:
        """A task.

        Raises:
            ScriptBroken: the create was refused.
        """
        seen = session.create(self.body(**members), probe=probe)
        if not seen.accepted or not seen.task_id:
            raise ScriptBroken(f"a right create was answered {seen.status or seen.reply.lost}")
        return seen

    def tell(self, session: Session, name: str, times: int = 1, **params: Any) -> None:
        """Queue a story for the account's next creates; one with parameters of our fake falls back to its defaults."""
        assert session.control is not None
        try:
            session.control.story(name, times, **params)
        except ControlFailed:
            if not params:
                raise
            session.control.story(name, times)

    def picture(self, number: int) -> tuple[Probe | None, str]:
        """A first frame of the drawing host in one of the allowed shapes, and the label that says so; else the user's."""
        if not self.options.drawn:
            return None, self.options.image
        limits = self.contract.image
        side = 2 * limits.min_side
        width, height = ((round(side * limits.ratio_max), side), (side, round(side / limits.ratio_min)))[number % 2]
        facts = ImageFacts(width=width, height=height, size=100_000, format=limits.formats[0])
        return Probe(image=facts), f"https://image.test/{width}x{height}.jpg"

    # Time

    def until_end(self, session: Session, *ids: str, step: float = STEP) -> dict[str, Seen]:
        """Read the tasks until all are over, moving the clock where there is one; answers the last reads.

        A task that lasts longer than the run's patience is left as it is.
        """
        last: dict[str, Seen] = {}
        refused = dict.fromkeys(ids, 0)
        waited = 0.0
        began = self.recorder.mono()
        while True:
            for task in ids:
                if task not in last or not self._is_over(last[task], refused[task]):
                    last[task] = session.read(task)
                    refused[task] += last[task].status in _REFUSALS
            if all(self._is_over(seen, refused[task]) for task, seen in last.items()) or waited > _LONGEST:
                return last
            if "clock" in self.features:
                ahead = step if waited < _USUAL else max(step, _STRIDE)
                session.clock.advance(ahead)
                waited += ahead
            elif not self._wait(began):
                return last

    def _is_over(self, seen: Seen, refused: int) -> bool:
        """Whether the task is over, or will never be seen to be: it cannot be read, or shows no status of the contract."""
        if seen.state in self.contract.terminal or refused >= _ENOUGH:
            return True
        return seen.status == 200 and seen.state not in self.contract.statuses

    def arrived(self, route: Route, attempts: int = 1) -> bool:
        """Wait for attempts to arrive; where a whole wait was in vain, later ones of the run are short."""
        found = route.wait(attempts, _GIVEN_UP if self._deaf.is_set() else ARRIVES)
        if not found:
            self._deaf.set()
        return found

    def _wait(self, began: float) -> bool:
        """Let real time go on; False when there is no more of it."""
        if self.out_of_patience.is_set():
            return False
        if self.recorder.mono() - began > self.options.patience:
            if not self.options.real_time:
                self.out_of_patience.set()
            return False
        wait(self.options.poll)
        return True

    # Callbacks

    @property
    def receives(self) -> bool:
        """Whether callbacks can reach the kit."""
        return self.takes_callbacks and ("relays" in self.features or bool(self.options.callback_base))

    @property
    def takes_callbacks(self) -> bool:
        """Whether the model that the run asks for has a callback_url."""
        asked = self.contract.asked
        return asked is None or "callback_url" in asked.taken

    @property
    def receiver(self) -> Receiver:
        """The receiver, listening from its first use."""
        with self._lock:
            if self._receiver is None:
                names = (self._base_host(),) if self.options.callback_ca else ()
                made = Receiver(
                    self.recorder, listen=self.options.callback_listen, names=names, base=self.options.callback_base
                )
                self._receiver = self._stack.enter_context(made)
            return self._receiver

    def _base_host(self) -> str:
        rest = self.options.callback_base.partition("://")[2]
        return rest.partition("/")[0].partition(":")[0] or HOST

    def route(
        self,
        session: Session,
        acts: Sequence[Act] = (YES,),
        *,
        query: str = "",
        port: str = "",
        hook: Hook | None = None,
    ) -> tuple[Route, str]:
        """A fresh path of the receiver and the callback URL that leads to it."""
        path = f"/{session.case}-{next(self._numbers)}-{secrets.token_hex(6)}"
        route = Route(path, acts, session.clock.moment, session.case, session.who, hook)
        self.receiver.add(route)
        if self.options.callback_base:
            return route, self.options.callback_base.rstrip("/") + path + query
        origin = f"https://{HOST}{port}"
        self.relay(session, {origin: self.receiver.origin})
        return route, origin + path + query

    def relay(self, session: Session, relays: Mapping[str, str]) -> None:
        """Where the account's callbacks go."""
        assert session.control is not None
        session.control.relays(relays)

    def settled(self, session: Session, *ids: str) -> None:
        """Whatever the tasks are owed has had time to arrive."""
        for task in ids:
            session.note(Topic.SETTLED, task_id=task)


def walk_retries(context: RunContext, session: Session) -> None:
    """Move a manual clock to just before each documented retry, to it, just past it, and well past the last one."""
    before, passed = 0.01, 0.0
    for delay in context.contract.retry_delays:
        session.clock.advance(delay - passed - before)
        session.clock.advance(before)
        session.clock.advance(before)
        passed = before
    session.clock.advance(4 * sum(context.contract.retry_delays))
