"""What callers do to an account, and what time does to it: creating, reading, cancelling, settling. Nothing is sent from here."""

import hashlib
import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from sys import intern
from typing import Any

from kling_common.targets import BadAddress, Target
from kling_mock.config import Choices, Settings
from kling_mock.contract import Contract
from kling_mock.core import tasks
from kling_mock.core.callbacks import AddressRules, check
from kling_mock.core.errors import (
    ApiError,
    InsufficientQuota,
    InvalidRequest,
    ModelAccessDenied,
    PermissionDenied,
    TaskNotFound,
    Unauthorized,
)
from kling_mock.core.notation import TAG, parse_choice
from kling_mock.core.prices import Prices, whole
from kling_mock.core.scenarios import Act, Story
from kling_mock.core.scenarios import plan as draw_plan
from kling_mock.core.tasks import Plan, Status, Task
from kling_mock.ids import Draw
from kling_mock.media.frames import Frames, Seen, WouldBlock
from kling_mock.media.images import BadImage
from kling_mock.service.catalogue import Catalogue
from kling_mock.service.idempotency import Idempotency
from kling_mock.service.timeline import Timeline
from kling_mock.service.views import Views
from kling_mock.store.journal import Journal
from kling_mock.store.memory import Account, MemoryStore

_MOCK_KEY = "sk-mock-"


@dataclass(frozen=True, slots=True)
class Created:
    """A create that went through, or was answered in its place by a scenario's act. `task` is None where nothing was accepted."""

    task: Task | None
    choice: str
    story: Story
    act: Act | None = None
    replayed: bool = False
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A create as it came in: the decoded body, and what the headers say beside it."""

    body: dict[str, Any]
    raw: bytes
    idempotency_key: str | None = None
    scenario: str | None = None


class World:
    """All accounts under one contract, one seed and one set of choices."""

    def __init__(
        self,
        contract: Contract,
        settings: Settings,
        choices: Choices,
        catalogue: Catalogue,
        frames: Frames,
        leads_inside: Callable[[Target], bool],
    ) -> None:
        self.contract, self.settings, self.choices, self.catalogue, self.frames = (
            contract,
            settings,
            choices,
            catalogue,
            frames,
        )
        self.store = MemoryStore(settings.start_clock, choices.starting_credits)
        self.store.relays.update(settings.relays)
        self.journal = Journal(entries=settings.journal)
        self._leads_inside = leads_inside
        secret = hashlib.sha256(f"links {settings.seed}".encode()).digest()
        self.views = Views(
            contract, choices, catalogue, settings.public_url or f"http://{settings.host}:{settings.port}", secret
        )
        self.timeline = Timeline(catalogue, choices.task_retention_seconds)
        self.idempotency = Idempotency(contract, choices.idempotency)
        self._keys = None if settings.keys is None else frozenset(settings.keys)
        self._story_lock = threading.Lock()
        local = settings.callbacks == "local"
        schemes = (*contract.address["schemes"], "http") if local else tuple(contract.address["schemes"])
        self.address_rules = AddressRules(schemes, contract.callback_max_length, local, contract.internal_networks)
        self._default_choice = catalogue.default(settings.scenario)
        self.prices = Prices(choices.credits_per_second, choices.minimum_credits, choices.units_per_credit)
        self._id = contract.id

    # Who calls

    def account(self, authorization: str | None) -> Account:
        """The account of an Authorization header.

        Raises:
            Unauthorized: no Bearer key in it, or one that is not known.
        """
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not self.knows(key):
            raise Unauthorized("no valid API key; send the header `Authorization: Bearer YOUR_API_KEY`")
        return self.store.get(key) or self.store.seen(key)

    def knows(self, key: str) -> bool:
        """Whether *key* has an account: one of those listed, or any that begins with sk-."""
        if self._keys is not None:
            return key in self._keys
        return key.startswith("sk-") and len(key) > 3 and key.isascii() and key.isprintable() and " " not in key

    def check_rate(self, account: Account, error: type[ApiError]) -> None:
        """Count a request against the account's limit; raises *error* with Retry-After when it is passed."""
        limit = account.rate_limit
        if limit is None:
            return
        window = self.choices.rate_window_seconds
        with account.lock:
            now = account.clock.now()
            calls = account.requests
            while calls and calls[0] <= now - window:
                calls.popleft()
            if len(calls) >= limit:
                wait = max(1, -int(-(calls[0] + window - now) // 1))
                raise error(f"more than {limit} requests in {window:g} seconds", headers={"Retry-After": str(wait)})
            calls.append(now)

    # Creating

    def create(self, account: Account, call: CreateCall, *, may_block: bool = True) -> Created:
        """Judge a create and, if all is well, make its task.

        Raises:
            ApiError: the documented refusal; nothing was made and nothing charged.
            WouldBlock: judging it takes I/O, and *may_block* is false.
        """
        self._validate(call.body)
        key = self.idempotency.key(call.idempotency_key)
        if key is None:
            return self._accept(account, call, may_block)
        claimed = self.idempotency.claim(account, key, call.body, call.raw, may_block=may_block)
        if isinstance(claimed, Task):
            return self._replayed(claimed)
        task: Task | None = None
        try:
            created = self._accept(account, call, may_block)
            task = created.task
        finally:
            self.idempotency.release(account, key, claimed, task)
        return created

    def _replayed(self, task: Task) -> Created:
        """The create again, with the body that it had; what a scenario did to its connection is not repeated."""
        story = self.catalogue.story(task.scenario)
        act = story.act("create", 1)
        edits = act if act is not None and act.edit is not None else None
        return Created(task, task.scenario, story, edits, replayed=True)

    def _accept(self, account: Account, call: CreateCall, may_block: bool) -> Created:
        """What a valid create that is no repetition comes to."""
        body = call.body
        if account.models is not None and body["model"] not in account.models:
            raise ModelAccessDenied(f"this key may not use {body['model']}", param="model")
        self._check_callback(account, body, may_block)
        seen = self._first_frame(body["image_start"], may_block)
        with account.lock:
            self._check_balance(account, body)
            choice, nth = self._choose(account, call)
            story = self.catalogue.story(choice)
            act = story.act("create", nth)
            if act is not None and not act.accepts:
                return Created(None, choice, story, act)
            return self._make(account, call, choice, story, act, seen)

    def _cost(self, body: dict[str, Any]) -> float:
        quality = body.get("quality", self.contract.default_quality)
        return self.prices.cost(quality, int(body.get("duration", self.contract.default_seconds)))

    def _check_balance(self, account: Account, body: dict[str, Any]) -> None:
        """A create that is refused for itself meets no scenario, and uses none up."""
        cost = self._cost(body)
        if cost > account.credits:
            raise InsufficientQuota(f"this task needs {cost:g} credits, the balance is {account.credits:g}")

    def _validate(self, body: dict[str, Any]) -> None:
        create = self.contract.create
        if not create.fits(body):
            problem = create.problem(body)
            raise InvalidRequest(
                problem.message if problem else "the body breaks the schema", param=problem.param if problem else None
            )
        if self.choices.unknown_fields == "refuse":
            unknown = next((name for name in body if name not in self.contract.fields), None)
            if unknown is not None:
                raise InvalidRequest(f"{unknown} is not a field of this request", param=unknown)

    def _check_callback(self, account: Account, body: dict[str, Any], may_block: bool) -> None:
        url = body.get("callback_url")
        if url is None:
            return
        try:
            target = check(url, self.address_rules)
        except BadAddress as error:
            raise InvalidRequest(f"callback_url {error.reason}", param="callback_url") from error
        if target.ip is not None or self.address_rules.allow_internal or target.origin in account.relays:
            return
        if not may_block:
            raise WouldBlock
        if self._leads_inside(target):
            raise InvalidRequest("callback_url must not point to an internal address", param="callback_url")

    def _first_frame(self, url: str, may_block: bool) -> "Seen | BadImage":
        try:
            return self.frames.judge(url, may_block=may_block)
        except BadAddress as error:
            raise InvalidRequest(f"image_start {error.reason}", param="image_start") from error
        except BadImage as error:
            if self.choices.bad_image == "refuse":
                raise InvalidRequest(f"image_start: {error}", param="image_start") from error
            return error

    def _choose(self, account: Account, call: CreateCall) -> tuple[str, int]:
        """The scenario of this create: control queue, header, tag in the prompt, key, server default; in this order.

        Beside it, how many of the account's creates it has had: since it was queued, or else since the account was reset.
        """
        with self._story_lock:
            for queue in (account.queue, self.store.queue):
                if queue:
                    first = queue[0]
                    first.used += 1
                    if first.used >= first.times:
                        queue.popleft()
                    return self._mixed(account, self.catalogue.choose(first.name, first.params), first.used)
        named = call.scenario
        where = "X-Mock-Scenario"
        if named is None and "[[" in call.body.get("prompt", ""):
            tag = TAG.search(call.body["prompt"])
            named, where = (tag[1] + tag[2], "prompt") if tag else (None, where)
        if named is None:
            return self._mixed(account, self._of_key(account.key) or self._default_choice)
        try:
            return self._mixed(account, self.catalogue.choose(*parse_choice(named)))
        except ValueError as error:
            raise InvalidRequest(f"{where}: {error}", param=where) from error

    def _of_key(self, key: str) -> str | None:
        """The scenario in a key such as sk-mock-rate-limited-anything; the longest name wins."""
        if not key.startswith(_MOCK_KEY):
            return None
        rest = key.removeprefix(_MOCK_KEY) + "-"
        names = [name for name in self.catalogue.scenarios if rest.startswith(name + "-")]
        return max(names, key=len) if names else None

    def _mixed(self, account: Account, choice: str, nth: int | None = None) -> tuple[str, int]:
        """One of a mixture's scenarios, drawn anew for each create; any other choice as it is, and its count."""
        mixture = self.catalogue.story(choice).mixture
        if not mixture:
            return choice, nth or account.count(f"create {choice}")
        point = self._draw(account, account.count("mixture"), "mixture").uniform(0.0, sum(mixture.values()))
        passed = list(accumulate(mixture.values()))
        return list(mixture)[bisect_left(passed, point, hi=len(passed) - 1)], 1

    def _make(
        self, account: Account, call: CreateCall, choice: str, story: Story, act: Act | None, seen: "Seen | BadImage"
    ) -> Created:
        body = call.body
        quality = body.get("quality", self.contract.default_quality)
        seconds = int(body.get("duration", self.contract.default_seconds))
        cost = self._cost(body)
        with account.lock:
            account.credits = whole(account.credits - cost)
            account.number += 1
            now = account.clock.now()
            draw = self._draw(account, account.number)
            suffix = draw.text(self._id["suffix_alphabet"], self._id["suffix_length"])
            plan = draw_plan(story, draw.uniform, draw.below(1 << 8))
            if isinstance(seen, BadImage):
                plan = Plan(Status.FAILED, plan.queued_for, 0.0, code=seen.code, stops_at=0)
            task = Task(
                id=f"{self._id['prefix']}{int(now)}-{suffix}",
                number=account.number,
                created_at=now,
                image=intern(body["image_start"]),
                frame=seen.frame if isinstance(seen, Seen) else tasks.Frame(1, 1),
                quality=intern(quality),
                seconds=seconds,
                callback_url=body.get("callback_url"),
                reserved=cost,
                scenario=choice,
                plan=plan,
            )
            account.tasks[task.id] = task
            self.timeline.schedule(account, task)
        return Created(task, choice, story, act, unseen=isinstance(seen, Seen) and seen.unseen)

    def _draw(self, account: Account, number: int, *more: str) -> Draw:
        return Draw(self.settings.seed, account.key, number, *more)

    # Reading

    def find(self, account: Account, task_id: str) -> Task:
        """The account's task.

        Raises:
            TaskNotFound: there is none of this id.
            PermissionDenied: another account has it, and the choice `foreign_task` says so.
        """
        task = account.tasks.get(task_id)
        if task is None or account.clock.now() >= self.timeline.forgotten_at(task):
            if task is None and self.choices.foreign_task == "forbidden" and self.store.owner(task_id):
                raise PermissionDenied("this key may not read this task")
            raise TaskNotFound("no task has this id", param="task_id")
        return task

    def read(self, account: Account, task: Task) -> tuple[dict[str, Any], Act | None, bool]:
        """One read by a caller: the body, the scenario's act for this read, and whether the read itself ended the task."""
        with account.lock:
            now = account.clock.now()
            ended = tasks.read(task, now)
            if ended:
                account.schedule(now, task)
            act = self.catalogue.story(task.scenario).act("query", task.reads)
            return self.views.view(account, task, now), act, ended
