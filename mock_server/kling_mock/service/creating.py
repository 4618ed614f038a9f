"""The create, judged once, in two steps: look at what may take I/O, then commit in one transaction.

Where something must be fetched, decoded or resolved, `Creating.begin` returns a generator that yields a `Look`; the caller runs it, in a
thread where it must not wait, and goes on. Everything else happens without I/O other than the store's, and at once.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from math import inf
from sys import intern
from typing import Any, Generic, Protocol, TypeVar
from zlib import crc32

from msgspec import Struct

from kling_common.targets import BadAddress, Target
from kling_mock.config import ServiceSettings, Settings
from kling_mock.contract import Contract
from kling_mock.core.callbacks import check
from kling_mock.core.errors import ApiError, InsufficientQuota, InvalidRequest, ModelAccessDenied
from kling_mock.core.prices import whole
from kling_mock.core.scenarios import Act, Behaviour
from kling_mock.core.scenarios import plan as draw_plan
from kling_mock.core.tasks import Frame, Plan, Status, Task
from kling_mock.ids import Rng
from kling_mock.media.frames import Frames, Seen
from kling_mock.media.images import BadImage
from kling_mock.service.catalogue import Catalogue
from kling_mock.service.choosing import Choosing
from kling_mock.service.idempotency import Idempotency, same
from kling_mock.service.models import Offer, Offers, Terms
from kling_mock.service.timeline import Timeline
from kling_mock.store.interface import Account, Transaction
from kling_openapi.media import Facts, Medium
from kling_openapi.schemas import spelled

T = TypeVar("T")


class Begin(Protocol):
    """Opens a transaction on an account, for a create of this *cost*."""

    def __call__(self, account: Account, cost: float = 0.0) -> AbstractContextManager[Transaction]:
        """Return it."""
        ...


_frame = lru_cache(1024)(Frame)
"""Frames are few and tasks many."""
_CALLED_HERE = (
    "; to be called on this machine, start the fake with --callbacks local, or give a public-looking URL and "
    "--relay https://hooks.example.com=http://127.0.0.1:PORT"
)

_KEPT_BODIES, _KEPT_BYTES = 512, 4096
"""Bodies of which is kept what they come to, and how long one of them may be; clients send the same one again and again."""
_KEPT_ADDRESSES = 1024
"""Callback URLs that were found right; clients send the same one again and again."""


class CreateCall(Struct):
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
    meaning: str = ""
    """The name of what the body says, where a key stands for it; it is filled in here."""


class Created(Struct):
    """A create that went through, or whose response a scenario's act replaced. `task` is None where no task was made."""

    task: Task | None
    reference: str
    behaviour: Behaviour
    act: Act | None = None
    replayed: bool = False
    unseen: bool = False


@dataclass(slots=True)
class Order:
    """A create that is right: its model and terms, what its first frame is made from, and what is wrong with its media, if that ends it."""

    offer: Offer
    terms: Terms
    image: str
    frame: Frame
    unseen: bool = False
    fault: BadImage | None = None


@dataclass(slots=True)
class Wanted:
    """What a body asks for by itself: its model, its media, and the name of what it says.

    `came_to`: what the media were found to be the last time, and what the create came to with them.
    """

    offer: Offer | None = None
    media: list[Medium] = field(default_factory=list)
    meaning: str = ""
    came_to: tuple[list[Seen], Order] | None = None


class Look(Generic[T]):
    """What takes I/O, a decoder or long: for a create where a callback leads and what its media are. Calling it never raises."""

    __slots__ = ("_find", "_found", "_raised")

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._found: list[T] = []
        self._raised: Exception | None = None

    def __call__(self) -> None:
        """Find out; may block."""
        try:
            self._found.append(self._find())
        except Exception as error:  # raised again where the call goes on
            self._raised = error

    def result(self) -> T:
        """Return what was found, once it was called; what *find* raised is raised here."""
        if self._raised is not None:
            raise self._raised
        return self._found[0]


class Creating:
    """Judges creates and makes their tasks.

    *leads_inside* resolves a callback's host; *is_remembered* says, without a transaction, whether a key may stand for a task.
    """

    def __init__(
        self,
        contract: Contract,
        settings: Settings,
        service_settings: ServiceSettings,
        catalogue: Catalogue,
        frames: Frames,
        offers: Offers,
        timeline: Timeline,
        leads_inside: Callable[[Target], bool],
        is_remembered: Callable[[Account, str], bool],
        origin: str,
    ) -> None:
        self.origin = origin
        self._seed, self._service_settings = settings.seed, service_settings
        self._catalogue, self._frames = catalogue, frames
        self._timeline, self._leads_inside = timeline, leads_inside
        self._is_remembered = is_remembered
        self._id = contract.id
        local = settings.callbacks == "local"
        schemes = (*contract.address.schemes, "http") if local else contract.address.schemes
        self._address = replace(contract.address, schemes=schemes, allow_internal=local)
        self._offers = offers
        self._wanted = lru_cache(_KEPT_BODIES)(lambda _: Wanted())
        self._checked = lru_cache(_KEPT_ADDRESSES)(partial(check, rules=self._address))
        self.choosing = Choosing(catalogue, catalogue.default(settings.scenario), settings.seed)
        self._idempotency = Idempotency(contract, service_settings.idempotency)

    def begin(
        self, account: Account, call: CreateCall, begin: Begin
    ) -> "Created | Generator[Look[Any], None, Created]":
        """Judge a create and, if all is well, make its task; what yields something is to go on once that was called.

        *begin* opens a transaction on the account, with everything that is due behind it.

        Raises:
            ApiError: the documented refusal; no task was made and nothing charged. Of a generator: while it goes on.
        """
        wanted = self._wanted(call.raw) if len(call.raw) <= _KEPT_BYTES else Wanted()
        key = call.idempotency_key = self._idempotency.key(call.idempotency_key)
        if key is not None:
            call.meaning = self._meaning(wanted, call)
            if self._is_remembered(account, key):
                made = _kept(begin(account, inf), self._made, key, call.meaning)
                if made is not None:
                    return made
        offer, media = self._named(wanted, call)
        if account.models is not None and offer.name not in account.models:
            raise ModelAccessDenied(f"this key may not use {offer.name}", param="model")
        target = self._unresolved(account, call.body.get("callback_url"))
        known = [self._frames.known(it.url, it.limits) for it in media]
        if target is not None or None in known:
            return self._looked(account, call, begin, offer, media, Look(partial(self._look, target, media, call.near)))
        came_to = wanted.came_to  # read once: other threads may take the same body
        if came_to is None or known != came_to[0]:
            seen = [it for it in known if it is not None]
            came_to = wanted.came_to = seen, self._order(offer, call, media, seen)
        order = came_to[1]
        return _kept(begin(account, order.terms.reserved), self._commit, account, call, order)

    def _looked(
        self, account: Account, call: CreateCall, begin: Begin, offer: Offer, media: list[Medium], look: Look[Any]
    ) -> Generator[Look[Any], None, Created]:
        yield look
        order = self._order(offer, call, media, look.result())
        return _kept(begin(account, order.terms.reserved), self._commit, account, call, order)

    def _meaning(self, wanted: Wanted, call: CreateCall) -> str:
        if not wanted.meaning:
            wanted.meaning = same(call.body, call.raw)
        return wanted.meaning

    def _named(self, wanted: Wanted, call: CreateCall) -> tuple[Offer, list[Medium]]:
        """Return the model and the media that a create names."""
        offer = wanted.offer
        if offer is None:
            offer = self._offers[call.body["model"]]
            wanted.media = offer.media(call.body)
            wanted.offer = offer
        return offer, wanted.media

    def _order(self, offer: Offer, call: CreateCall, media: list[Medium], seen: list[Seen] | BadImage) -> Order:
        """Return what the create comes to, its media looked at."""
        if isinstance(seen, BadImage):
            return Order(offer, offer.terms(call.body, {}), "", Frame(1, 1), fault=seen)
        facts: dict[tuple[str, ...], Facts] = {}
        picture: tuple[str, Seen] | None = None
        for medium, it in zip(media, seen, strict=True):
            facts.setdefault(medium.path, it.facts)
            if picture is None and medium.limits.kind == "image":
                picture = medium.url, it
        terms = offer.terms(call.body, facts)
        # Without a picture the first frame is drawn, another one for each body.
        image = intern(picture[0]) if picture else f"#{crc32(call.raw):08x}"
        frame = _frame(terms.width, terms.height, picture[1].frame.digest if picture else None)
        return Order(offer, terms, image, frame, unseen=any(it.unseen for it in seen))

    def _made(self, facts: Transaction, key: str, meaning: str) -> Created | None:
        """Return the create again that *key* stands for; None where it stands for none."""
        task = self._idempotency.made(facts, key, meaning)
        return None if task is None else self._replay(task)

    def _replay(self, task: Task) -> Created:
        """Return the create again, with the body that it had; what a scenario did to its connection is not repeated."""
        behaviour = self._catalogue.behaviour(task.scenario)
        act = behaviour.act("create", 1)
        return Created(
            task, task.scenario, behaviour, act if act is not None and act.edit is not None else None, replayed=True
        )

    # What is looked at

    def _unresolved(self, account: Account, url: str | None) -> Target | None:
        """Return the target of a callback whose name must be resolved before it can be accepted."""
        if url is None:
            return None
        try:
            target = self._checked(url)
        except BadAddress as error:
            raise _no_callback(error.reason) from error
        known = target.ip is not None or self._address.allow_internal or target.origin in account.relays
        return None if known else target

    def _look(self, target: Target | None, media: list[Medium], near: Callable[[], bool]) -> list[Seen] | BadImage:
        if target is not None and self._leads_inside(target):
            raise _no_callback("must not point to an internal address")
        found = []
        for medium in media:
            param = spelled(medium.steps)
            try:
                found.append(self._frames.judge(medium.url, medium.limits, near()))
            except BadAddress as error:
                raise InvalidRequest(f"{param} {error.reason}", param=param) from error
            except BadImage as error:
                if self._service_settings.bad_image == "refuse":
                    raise InvalidRequest(f"{param}: {error}", param=param) from error
                return error
        return found

    # What is made

    def _commit(self, facts: Transaction, account: Account, call: CreateCall, order: Order) -> Created:
        key = call.idempotency_key
        made = None if key is None else self._made(facts, key, call.meaning)
        if made is not None:
            return made
        cost = order.terms.reserved
        if cost > facts.credits:  # before a scenario is chosen: a refused create does not consume a queued one
            raise InsufficientQuota(f"this task needs {cost:g} credits, the balance is {facts.credits:g}")
        reference, nth = self.choosing.choose(account, facts, call.body, call.scenario)
        behaviour = self._catalogue.behaviour(reference)
        act = behaviour.act("create", nth)
        if act is not None and not act.accepts:
            return Created(None, reference, behaviour, act)
        task = self._task(account, facts, call, order, reference, behaviour)
        facts.credits = whole(facts.credits - cost)
        facts.add_task(task)
        self._timeline.schedule(facts, task)
        facts.forget_beyond(self._service_settings.task_retention_count)
        if key is not None:
            self._idempotency.remember(facts, key, call.meaning, task)
        return Created(task, reference, behaviour, act, unseen=order.unseen)

    def _task(
        self,
        account: Account,
        facts: Transaction,
        call: CreateCall,
        order: Order,
        reference: str,
        behaviour: Behaviour,
    ) -> Task:
        number, now = facts.next_number(), facts.now()
        rng = Rng(self._seed, account.key, number)
        suffix = rng.text(self._id.suffix_alphabet, self._id.suffix_length)
        plan = draw_plan(behaviour, rng.uniform, rng.below(1 << 8))
        if order.fault is not None:
            plan = Plan(Status.FAILED, plan.queued_for, 0.0, code=order.fault.code, stops_at=0)
        terms = order.terms
        return Task(
            f"{self._id.prefix}{int(now)}-{suffix}",
            number,
            now,
            order.offer.name,
            order.image,
            order.frame,
            terms.short_side,
            terms.seconds,
            call.body.get("callback_url"),
            terms.reserved,
            terms.charged,
            reference,
            plan,
            intern(call.origin or self.origin),
        )


def _kept(transaction: AbstractContextManager[Transaction], judge: Callable[..., T], *given: Any) -> T:
    """Return what *judge* makes of a transaction; one that it refuses is kept all the same, for what happened in it before.

    Raises:
        ApiError: *judge* refuses.
    """
    refused: ApiError | None = None
    with transaction as facts:
        try:
            return judge(facts, *given)
        except ApiError as error:
            refused = error
    raise refused


def _no_callback(reason: str) -> InvalidRequest:
    """Return the error of a callback URL that the service would refuse, with the ways to be called on this machine all the same."""
    local = "must begin with" in reason or "internal" in reason
    return InvalidRequest(f"callback_url {reason}{_CALLED_HERE if local else ''}", param="callback_url")


class Held(Protocol):
    """What keeps something for the calls in a block, and lets go of it when the caller says so."""

    def held(self) -> AbstractContextManager[Callable[[], None]]:
        """Return the block."""


def finished(steps: Generator[Look[Any], None, Any], store: Held) -> Any:
    """Return what a create, or a call that contains one, comes to, looking at everything in this thread.

    Nothing of *store* is held meanwhile.

    Raises:
        ApiError: as the generator.
    """
    with store.held() as let_go:
        try:
            while True:
                look = next(steps)
                let_go()
                look()
        except StopIteration as end:
            return end.value
