"""The service's own routes, by the operationId each has in the contract."""

import logging
from collections.abc import Callable
from itertools import count
from typing import Any

from kling_mock import clock as clocks
from kling_mock.core.errors import (
    ApiError,
    InternalError,
    InvalidRequest,
    InvalidTaskId,
    MethodNotAllowed,
    RouteNotFound,
    documented,
)
from kling_mock.ids import fingerprint
from kling_mock.media.frames import WouldBlock
from kling_mock.service.courier import Courier
from kling_mock.service.world import CreateCall, World
from kling_mock.store.memory import Account
from kling_mock.web.acts import Acts
from kling_mock.web.http import Reply, Request, json_reply, kept
from kling_mock.web.incoming import Incoming, json_body

Handler = Callable[..., Reply]

_log = logging.getLogger(__name__)


class Api:
    """Answers the contract's operations. Every answer is journalled and carries a request id."""

    def __init__(self, world: World, courier: Courier) -> None:
        self.world, self.courier = world, courier
        self._run = fingerprint("run", world.settings.seed)
        self._numbers = count(1)
        self._roots = tuple({f"/{one.path.split('/')[1]}/" for one in world.contract.operations.values()})
        self._task_id = world.contract.shape(world.contract.parameter("getTask", "task_id"))
        self.acts = Acts(world.contract, self.refusal)
        self.incoming = Incoming(world.contract, world.choices)
        self.handlers: dict[str, Handler] = {}
        self._rate_errors: dict[str, type[ApiError]] = {}
        self.take({"createVideo": self.create_video, "getTask": self.get_task})

    def take(self, handlers: dict[str, Handler]) -> None:
        """Answer more operations of the contract, each by its operationId.

        Raises:
            ValueError: one of them has a handler already, or is not one of the contract's.
        """
        for name, handler in handlers.items():
            if name in self.handlers or name not in self.world.contract.operations:
                raise ValueError(f"{name} has a handler already, or is no operation of the contract")
            self.handlers[name] = handler
            self._rate_errors[name] = self._rate_error(name)

    def call(self, operation: str, request: Request, /, **parameters: Any) -> Reply:
        """The answer to one operation of the contract.

        Raises:
            WouldBlock: with `may_block=False` among *parameters*, where the answer takes I/O.
        """
        started = clocks.monotonic()
        account: Account | None = None
        try:
            account = self.world.account(request.headers.get("authorization"))
            if not request.counted:
                self.world.check_rate(account, self._rate_errors[operation])
                request.counted = True
            reply = self.handlers[operation](account, request, **parameters)
        except WouldBlock:
            raise
        except ApiError as error:
            reply = self.refusal(error, operation)
        except Exception:
            _log.exception("%s failed", operation)
            reply = self.refusal(InternalError("the fake failed; its log says how"))
        return self.finish(reply, request, account, started)

    def refuse(self, error: ApiError, request: Request) -> Reply:
        """An answer that no operation gives: no such route, no such method. Below the service's roots the key is judged first."""
        started = clocks.monotonic()
        account: Account | None = None
        try:
            if request.path.startswith(self._roots):
                account = self.world.account(request.headers.get("authorization"))
            reply = self.refusal(error)
        except ApiError as unauthorized:
            reply = self.refusal(unauthorized)
        return self.finish(reply, request, account, started)

    def finish(self, reply: Reply, request: Request, account: Account | None, started: float) -> Reply:
        """Give the reply its request id and write both into the journal."""
        reply.headers.append(("x-request-id", f"{self._run}{next(self._numbers):012x}"))
        self.world.journal.add(
            account.clock.now() if account else self.world.store.clock.now(),
            account.name if account else None,
            "exchange",
            method=request.method,
            url=request.url,
            request_headers=kept(request.headers),
            request_body=request.body,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            seconds=clocks.monotonic() - started,
            task_id=reply.task_id,
            scenario=reply.scenario,
            fault=reply.fault,
            more=reply.more,
        )
        return reply

    # Operations

    def create_video(self, account: Account, request: Request, *, may_block: bool = True) -> Reply:
        """`POST /v1/videos/generations`"""
        body = json_body(request, self.incoming.limits["createVideo"])
        if not isinstance(body, dict):
            raise InvalidRequest("the body is not a JSON object")
        self.courier.settle(account)
        headers = request.headers
        call = CreateCall(body, request.body, headers.get("idempotency-key"), headers.get("x-mock-scenario"))
        created = self.world.create(account, call, may_block=may_block)
        task, act = created.task, created.act
        if task is None:
            reply = self.acts.reply(act, "createVideo", account.clock, None)
        else:
            reply = self.acts.reply(act, "createVideo", account.clock, self.world.views.created(account, task))
            reply.task_id = task.id
            if created.replayed:
                reply.headers.append(("idempotency-replayed", "true"))
            elif created.story.calls_back_first:
                reply.after = self.courier.settle(account)
            self.courier.notice(account)
        reply.scenario = created.choice
        if created.unseen:
            reply.more["image"] = "unseen"
        return reply

    def get_task(self, account: Account, request: Request, task_id: str) -> Reply:
        """`GET /v1/tasks/{task_id}`"""
        del request
        if not self._task_id.fits(task_id):
            raise InvalidTaskId("task ids begin with " + self.world.contract.id["prefix"], param="task_id")
        task = self.world.find(account, task_id)
        body, act, ended = self.world.read(account, task)
        if ended:
            self.courier.notice(account)
        reply = self.acts.reply(act, "getTask", account.clock, body)
        reply.task_id, reply.scenario = task.id, task.scenario
        return reply

    # Parts

    def refusal(self, error: ApiError, operation: str | None = None) -> Reply:
        """Return a documented error in the chosen dialect; some operations have integer codes in every dialect."""
        contract = self.world.contract
        entry = contract.errors[error.entry]
        legacy = self.world.choices.error_codes == "legacy"
        body: dict[str, Any] = {
            "code": entry.status if legacy or operation in contract.integer_codes else entry.code,
            "message": error.message,
            "type": entry.legacy_type if legacy else entry.type,
        }
        if error.param is not None:
            body["param"] = error.param
        if entry.fallback_suggestion is not None:
            body["fallback_suggestion"] = entry.fallback_suggestion
        reply = json_reply({"error": body}, entry.status)
        reply.headers += [(name.lower(), value) for name, value in error.headers.items()]
        return reply

    def _rate_error(self, operation: str) -> type[ApiError]:
        reference = self.world.contract.operations[operation].description["responses"]["429"]["$ref"]
        return documented()[reference.rsplit("/", 1)[1]]


def no_route(request: Request) -> RouteNotFound:
    """What an unknown path answers; clients in the wild look for the words `Invalid URL` (wire-facts, C)."""
    return RouteNotFound(f"Invalid URL ({request.method} {request.path})")


def no_method(request: Request, allowed: list[str]) -> MethodNotAllowed:
    """What a known path answers to a method that it does not take."""
    methods = ", ".join(sorted(allowed))
    return MethodNotAllowed(f"{request.method} is not allowed here; allowed: {methods}", headers={"Allow": methods})
