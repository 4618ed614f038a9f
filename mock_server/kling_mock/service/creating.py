"""The create, judged once, in two steps: look at what may take I/O, then commit in one transaction.

`Creating.create` is a generator. It yields a `Look` where something must be fetched, decoded or resolved; the caller runs it, in a
thread where it must not wait, and goes on. Everything else happens without I/O other than the store's.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from sys import intern
from typing import Any

from kling_common.targets import BadAddress, Target
from kling_mock.config import Choices, Settings
from kling_mock.contract import Contract
from kling_mock.core.callbacks import check
from kling_mock.core.errors import InsufficientQuota, InvalidRequest, ModelAccessDenied
from kling_mock.core.prices import whole
from kling_mock.core.scenarios import Act, Story
from kling_mock.core.scenarios import plan as draw_plan
from kling_mock.core.tasks import Frame, Plan, Status, Task
from kling_mock.ids import Draw
from kling_mock.media.frames import Frames, Seen
from kling_mock.media.images import BadImage
from kling_mock.service.catalogue import Catalogue
from kling_mock.service.choosing import Choosing
from kling_mock.service.idempotency import Idempotency, same
from kling_mock.service.model import Model, Order
from kling_mock.service.timeline import Timeline
from kling_mock.store.interface import Account, Store, Transaction

_CALLED_HERE = (
    "; to be called on this machine, start the fake with --callbacks local, or give a public-looking URL and "
    "--relay https://hooks.example.com=http://127.0.0.1:PORT"
)


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A create as it came in: the body, which has passed its schema, and what the headers add to it.

    `origin` is that of the links to its video.
    """

    body: dict[str, Any]
    raw: bytes
    idempotency_key: str | None = None
    scenario: str | None = None
    near: Callable[[], bool] = lambda: False
    """Whether the caller is on this machine, asked where an image must be fetched."""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """A create that went through, or whose response a scenario's act replaced. `task` is None where no task was made."""

    task: Task | None
    reference: str
    story: Story
    act: Act | None = None
    replayed: bool = False
    unseen: bool = False


class Look:
    """What takes I/O or a decoder: calling it finds out where a callback leads and what the first frame is; it never raises."""

    __slots__ = ("_find", "error", "seen")

    def __init__(self, find: Callable[[], Seen | BadImage]) -> None:
        self._find = find
        self.seen: Seen | BadImage | None = None
        self.error: Exception | None = None

    def __call__(self) -> None:
        """Find out; may block."""
        try:
            self.seen = self._find()
        except Exception as error:  # raised again where the create goes on
            self.error = error


class Creating:
    """Judges creates and makes their tasks. *leads_inside* resolves a callback's host."""

    def __init__(
        self,
        contract: Contract,
        settings: Settings,
        choices: Choices,
        catalogue: Catalogue,
        frames: Frames,
        store: Store,
        timeline: Timeline,
        leads_inside: Callable[[Target], bool],
    ) -> None:
        self._seed, self._choices, self._catalogue, self._frames = settings.seed, choices, catalogue, frames
        self._store, self._timeline, self._leads_inside = store, timeline, leads_inside
        self._id = contract.id
        local = settings.callbacks == "local"
        schemes = (*contract.address.schemes, "http") if local else contract.address.schemes
        self._address = replace(contract.address, schemes=schemes, allow_internal=local)
        self.model = Model(contract, choices)
        self.choosing = Choosing(catalogue, catalogue.default(settings.scenario), settings.seed)
        self._idempotency = Idempotency(contract, choices.idempotency)

    def create(self, account: Account, call: CreateCall) -> Generator[Look, None, Created]:
        """Judge a create and, if all is well, make its task. What is yielded is to be called before the generator goes on.

        Raises:
            ApiError: the documented refusal; no task was made and nothing charged.
        """
        key = self._idempotency.key(call.idempotency_key)
        meaning = "" if key is None else same(call.body, call.raw)
        if key is not None:
            with self._store.begin(account) as facts:
                made = self._idempotency.made(facts, key, meaning)
            if made is not None:
                return self._replay(made)
        order = self.model.order(call.body)
        if account.models is not None and self.model.name not in account.models:
            raise ModelAccessDenied(f"this key may not use {self.model.name}", param="model")
        target = self._unresolved(account, call.body.get("callback_url"))
        seen: Seen | BadImage | None = None if target is not None else self._frames.known(order.image)
        if seen is None:
            look = Look(lambda: self._look(target, order.image, call.near()))
            yield look
            if look.error is not None:
                raise look.error
            seen = look.seen
        assert seen is not None
        with self._store.begin(account) as facts:
            return self._commit(account, facts, call, order, seen, key, meaning)

    def _replay(self, task: Task) -> Created:
        """Return the create again, with the body that it had; what a scenario did to its connection is not repeated."""
        story = self._catalogue.story(task.scenario)
        act = story.act("create", 1)
        return Created(
            task, task.scenario, story, act if act is not None and act.edit is not None else None, replayed=True
        )

    # What is looked at

    def _unresolved(self, account: Account, url: str | None) -> Target | None:
        """Return the target of a callback whose name must be resolved before it can be accepted."""
        if url is None:
            return None
        try:
            target = check(url, self._address)
        except BadAddress as error:
            raise _no_callback(error.reason) from error
        known = target.ip is not None or self._address.allow_internal or target.origin in account.relays
        return None if known else target

    def _look(self, target: Target | None, image: str, near: bool) -> Seen | BadImage:
        if target is not None and self._leads_inside(target):
            raise _no_callback("must not point to an internal address")
        param = self.model.image_param
        try:
            return self._frames.judge(image, near)
        except BadAddress as error:
            raise InvalidRequest(f"{param} {error.reason}", param=param) from error
        except BadImage as error:
            if self._choices.bad_image == "refuse":
                raise InvalidRequest(f"{param}: {error}", param=param) from error
            return error

    # What is made

    def _commit(
        self,
        account: Account,
        facts: Transaction,
        call: CreateCall,
        order: Order,
        seen: Seen | BadImage,
        key: str | None,
        meaning: str,
    ) -> Created:
        made = None if key is None else self._idempotency.made(facts, key, meaning)
        if made is not None:
            return self._replay(made)
        if order.cost > facts.credits:  # before a scenario is chosen: a refused create does not consume a queued one
            raise InsufficientQuota(f"this task needs {order.cost:g} credits, the balance is {facts.credits:g}")
        reference, nth = self.choosing.choose(account, facts, call.body, call.scenario)
        story = self._catalogue.story(reference)
        act = story.act("create", nth)
        if act is not None and not act.accepts:
            return Created(None, reference, story, act)
        task = self._task(account, facts, call, order, reference, story, seen)
        facts.credits = whole(facts.credits - order.cost)
        facts.add_task(task)
        self._timeline.schedule(facts, task)
        if key is not None:
            self._idempotency.remember(facts, key, meaning, task)
        return Created(task, reference, story, act, unseen=isinstance(seen, Seen) and seen.unseen)

    def _task(
        self,
        account: Account,
        facts: Transaction,
        call: CreateCall,
        order: Order,
        reference: str,
        story: Story,
        seen: Seen | BadImage,
    ) -> Task:
        number, now = facts.next_number(), facts.now()
        rng = Draw(self._seed, account.key, number)
        suffix = rng.text(self._id.suffix_alphabet, self._id.suffix_length)
        plan = draw_plan(story, rng.uniform, rng.below(1 << 8))
        if isinstance(seen, BadImage):
            plan = Plan(Status.FAILED, plan.queued_for, 0.0, code=seen.code, stops_at=0)
        return Task(
            id=f"{self._id.prefix}{int(now)}-{suffix}",
            number=number,
            created_at=now,
            image=order.image,
            frame=seen.frame if isinstance(seen, Seen) else Frame(1, 1),
            quality=order.quality,
            seconds=order.seconds,
            callback_url=call.body.get("callback_url"),
            reserved=order.cost,
            scenario=reference,
            plan=plan,
            origin=intern(call.origin),
        )


def _no_callback(reason: str) -> InvalidRequest:
    """Return the error of a callback URL that the service would refuse, with the ways to be called on this machine all the same."""
    local = "must begin with" in reason or "internal" in reason
    return InvalidRequest(f"callback_url {reason}{_CALLED_HERE if local else ''}", param="callback_url")


def finished(steps: Generator[Look, None, Any]) -> Any:
    """Return what a create, or a call that contains one, comes to, looking at everything in this thread.

    Raises:
        ApiError: as the generator.
    """
    try:
        while True:
            next(steps)()
    except StopIteration as end:
        return end.value
