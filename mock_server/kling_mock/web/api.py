"""The service's own routes, by the operationId each has in the contract."""

import logging
import os
from collections.abc import Callable, Generator, Iterable
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any

from msgspec.structs import replace

from kling_mock import clock as clocks
from kling_mock.contract import Contract
from kling_mock.core.errors import (
    ApiError,
    InternalError,
    InvalidTaskId,
    MethodNotAllowed,
    RequestTooLarge,
    RouteNotFound,
    ServiceUnavailable,
    documented,
)
from kling_mock.core.nearest import nearest
from kling_mock.core.observed import taken
from kling_mock.core.tasks import Status
from kling_mock.ids import fingerprint
from kling_mock.service.courier import Courier
from kling_mock.service.creating import CreateCall, Created, Look, finished
from kling_mock.service.world import World
from kling_mock.store.interface import Account, StoreDown
from kling_mock.store.journal import Entry
from kling_mock.web.access import Access
from kling_mock.web.acts import Acts
from kling_mock.web.http import ApiResponse, Request, json_reply, kept
from kling_mock.web.incoming import Incoming
from kling_mock.web.observing import as_observed
from kling_mock.web.origin import Origins

Steps = Generator[Look[Any], None, ApiResponse]
"""A call under way: it yields what may block, which is to be called before it goes on, and returns the response."""

Handler = Callable[..., ApiResponse | Steps]

_PENDING: str = Status.PENDING.value
_log = logging.getLogger(__name__)


class Api:
    """Serves the contract's operations. Every response is journalled and carries a request id."""

    def __init__(self, world: World, courier: Courier, access: Access) -> None:
        self.world, self.courier, self.access = world, courier, access
        # Of processes that share a store each numbers its requests by itself.
        process = (os.getpid(), clocks.wall()) if world.store.blocking else ()
        self._run = fingerprint("run", world.settings.seed, *process)
        self._numbers = count(1)
        self._roots = tuple({f"/{one.path.split('/')[1]}/" for one in world.contract.operations.values()})
        self._task_id = world.contract.shape(world.contract.parameter("getTask", "task_id"))
        self.origins = Origins(world.settings)
        self.acts = Acts(world.contract, self.refusal)
        self.incoming = Incoming(world.contract, world.service_settings)
        self.handlers: dict[str, Handler] = {}
        self._rate_errors: dict[str, type[ApiError]] = {}
        self.take({"createVideo": self.create_video, "getTask": self.get_task})

    def take(self, handlers: dict[str, Handler]) -> None:
        """Serve more operations of the contract, each by its operationId.

        Raises:
            ValueError: one of them has a handler already, or is not one of the contract's.
        """
        for name, handler in handlers.items():
            if name in self.handlers or name not in self.world.contract.operations:
                raise ValueError(f"{name} has a handler already, or is no operation of the contract")
            self.handlers[name] = handler
            self._rate_errors[name] = self._rate_error(name)

    def call(self, operation: str, request: Request, /, **parameters: Any) -> ApiResponse:
        """Return the response to one operation of the contract; may block."""
        response: ApiResponse = finished(self.steps(operation, request, **parameters), self.world.store)
        return response

    def begin(self, operation: str, request: Request, /, **parameters: Any) -> ApiResponse | Steps:
        """Respond to one operation of the contract; what may block is left to the caller, with all that comes after it."""
        started = clocks.monotonic()
        account: Account | None = None
        try:
            account = self._caller(operation, request)
            self.world.check_rate(account, self._rate_errors[operation])
            response = self.handlers[operation](account, request, **parameters)
        except Exception as error:
            return self._refused(error, request, account, started, operation)
        if isinstance(response, ApiResponse):
            return self.finish(response, request, account, started, operation)
        return self._rest(response, request, account, started, operation)

    def steps(self, operation: str, request: Request, /, **parameters: Any) -> Steps:
        """Do as `begin` does, step by step from the start."""
        begun = self.begin(operation, request, **parameters)
        return begun if isinstance(begun, ApiResponse) else (yield from begun)

    def _rest(self, steps: Steps, request: Request, account: Account, started: float, operation: str) -> Steps:
        try:
            response = yield from steps
        except Exception as error:
            return self._refused(error, request, account, started, operation)
        return self.finish(response, request, account, started, operation)

    def _refused(
        self, error: Exception, request: Request, account: Account | None, started: float, operation: str
    ) -> ApiResponse:
        if isinstance(error, ApiError):
            response = self.refusal(error, operation)
        elif isinstance(error, StoreDown):
            self.world.measures.store_error()
            response = self.refusal(ServiceUnavailable(str(error)), operation)
        else:
            return self.failed(error, request, account, started)
        return self.finish(response, request, account, started, operation)

    def failed(
        self, error: BaseException, request: Request, account: Account | None = None, started: float | None = None
    ) -> ApiResponse:
        """Return the response to a call in which the fake itself failed, and log the error once, with the request's id."""
        response = self.refusal(InternalError("the fake failed; its log on standard error has this x-request-id"))
        response = self.finish(response, request, account, clocks.monotonic() if started is None else started)
        named = dict(response.headers)["x-request-id"]
        _log.error("%s %s failed, x-request-id %s", request.method, request.path[:200], named, exc_info=error)
        return response

    def refuse(self, error: ApiError, request: Request) -> ApiResponse:
        """Return the response of no operation: no such route, no such method. Below the service's roots the key is judged first."""
        started = clocks.monotonic()
        account: Account | None = None
        try:
            if request.path.startswith(self._roots):
                account = self.world.account(request.headers.get("authorization"))
            response = self.refusal(error)
        except ApiError as unauthorized:
            response = self.refusal(unauthorized)
        except StoreDown as down:
            self.world.measures.store_error()
            response = self.refusal(ServiceUnavailable(str(down)))
        return self.finish(response, request, account, started)

    def finish(
        self,
        response: ApiResponse,
        request: Request,
        account: Account | None,
        started: float,
        operation: str | None = None,
    ) -> ApiResponse:
        """Give the response its request id and write both into the journal."""
        response.headers.append(("x-request-id", f"{self._run}{next(self._numbers):012x}"))
        seconds, world = clocks.monotonic() - started, self.world
        world.measures.request(operation or "none", response.status, seconds)
        if world.service_settings.observed:
            as_observed(
                world.service_settings.observed, operation or f"{request.method} {request.path}", request, response
            )
        world.journal.record(
            Entry(
                0,
                world.clock_of(account).now(),
                account.name if account else None,
                "exchange",
                request.method,
                request.url,
                kept(request.headers),
                request.body,
                response.status,
                response.headers,
                response.body,
                seconds,
                response.task_id,
                response.scenario,
                response.fault,
                response.more,
            )  # by place: by name it takes three times as long
        )
        return response

    # Operations

    def create_video(self, account: Account, request: Request) -> ApiResponse | Steps:
        """`POST /v1/videos/generations`"""
        if self.world.service_settings.observed:
            request = replace(request, body=taken(self.world.service_settings.observed, "createVideo", request.body))
        headers = request.headers
        call = CreateCall(
            self.incoming.create(request),
            request.body,
            headers.get("idempotency-key"),
            headers.get("x-mock-scenario"),
            partial(self.access.local, request),
            self.origins.of(request),
        )
        begun = self.world.creating.begin(account, call, self.courier.begin)
        return self._created(account, begun) if isinstance(begun, Created) else self._looked(account, begun)

    def _looked(self, account: Account, begun: Generator[Look[Any], None, Created]) -> Steps:
        return self._created(account, (yield from begun))

    def _created(self, account: Account, created: Created) -> ApiResponse:
        task, act = created.task, created.act
        if task is None:
            response = self.acts.response(act, "createVideo", account.clock, b"null")
        else:
            body = self.world.views.created_json(account, task)
            response = self.acts.response(act, "createVideo", account.clock, body)
            response.task_id = task.id
            if not created.replayed:
                self.world.measures.task(_PENDING)
            if created.replayed:
                response.headers.append(("idempotency-replayed", "true"))
            elif created.behaviour.calls_back_first:
                response.after = self.courier.settle(self.world.store.refresh(account))
        response.scenario = created.reference
        if created.unseen:
            response.more["image"] = "unseen"
        return response

    def get_task(self, account: Account, _: Request, task_id: str) -> ApiResponse:
        """`GET /v1/tasks/{task_id}`"""
        if not self._task_id.fits(task_id):
            raise InvalidTaskId("task ids begin with " + self.world.contract.id.prefix, param="task_id")
        task, now, act = self.world.read(account, task_id)
        response = self.acts.response(act, "getTask", account.clock, self.world.views.view_json(account, task, now))
        response.task_id, response.scenario = task.id, task.scenario
        return response

    # Parts

    def refusal(self, error: ApiError, operation: str | None = None) -> ApiResponse:
        """Return a documented error in the chosen dialect; some operations have integer codes, or a form of their own."""
        contract = self.world.contract
        if operation in contract.file_operations:
            return file_refusal(error, contract)
        entry = contract.errors[error.entry]
        legacy = self.world.service_settings.error_codes == "legacy"
        body: dict[str, Any] = {
            "code": entry.status if legacy or operation in contract.integer_codes else entry.code,
            "message": error.message,
            "type": entry.legacy_type if legacy else entry.type,
        }
        if error.param is not None:
            body["param"] = error.param
        if entry.fallback_suggestion is not None:
            body["fallback_suggestion"] = entry.fallback_suggestion
        response = json_reply({"error": body}, entry.status)
        response.headers += [(name.lower(), value) for name, value in error.headers.items()]
        return response

    def _caller(self, operation: str, request: Request) -> Account:
        """Return the account that calls; on the file host an upload token stands for a key."""
        authorization = request.headers.get("authorization")
        if operation in self.world.contract.file_operations:
            account = self.world.holder(authorization)
            if account is not None:
                return account
        return self.world.account(authorization)

    def _rate_error(self, operation: str) -> type[ApiError]:
        reference = self.world.contract.operations[operation].description["responses"]["429"]["$ref"]
        return documented()[reference.rsplit("/", 1)[1]]


def fits(template: str, path: str) -> bool:
    """Return whether *path* is one of those that *template* stands for, such as `/v1/tasks/{task_id}`."""
    ours, theirs = template.split("/"), path.split("/")
    return len(ours) == len(theirs) and all(
        a == b or (a.startswith("{") and b != "") for a, b in zip(ours, theirs, strict=True)
    )


def no_route(request: Request, known: Iterable[tuple[str, str]] = ()) -> RouteNotFound:
    """Return the error of an unknown path; clients in the wild look for the words `Invalid URL` (wire-facts, C).

    *known*: methods and paths that exist, to suggest the nearest.
    """
    # Compared without the version, which every path has: it would make any two short paths look alike.
    own_last = sorted(known, key=lambda it: it[0] == request.method)
    found = {_tail(path): f"{method} {path}" for method, path in own_last}
    meant = nearest(_tail(request.path), found)
    hint = f"; did you mean {found[meant]!r}?" if meant else ""
    return RouteNotFound(f"Invalid URL ({request.method} {request.path}){hint}")


def no_control_call(request: Request, known: Iterable[tuple[str, str]]) -> str:
    """Return what to say of a control call that does not exist: the nearest of *known*, methods and paths."""
    own_last = sorted(known, key=lambda it: it[0] == request.method)
    found = {path.removeprefix("/__mock/"): f"{method} {path}" for method, path in own_last}
    asked = request.path.removeprefix("/__mock").strip("/")
    meant = (
        found.get(asked) or nearest(asked, found) or nearest(asked, [path for path in found if asked and asked in path])
    )
    hint = f"; did you mean {found.get(meant or '', meant)!r}?" if meant else ""
    return f"no such control call: {request.method} {request.path}{hint}"


def _tail(path: str) -> str:
    """Return what tells one path from another: what follows the version."""
    return path.rpartition("/v1/")[2].lstrip("/")


def no_method(request: Request, allowed: list[str]) -> MethodNotAllowed:
    """Return the error of a known path for a method that it does not take."""
    methods = ", ".join(sorted(allowed))
    return MethodNotAllowed(f"{request.method} is not allowed here; allowed: {methods}", headers={"Allow": methods})


def file_refusal(error: ApiError, contract: Contract) -> ApiResponse:
    """Return an error in the words of the file host: a code that is the HTTP status, or begins with it."""
    why = getattr(error, "why", "") or _FILE_REASONS.get(type(error), "")
    status = contract.errors[error.entry].status
    code = contract.file_codes.get(why, status if status in _FILE_STATUSES else HTTPStatus.BAD_REQUEST)
    response = json_reply({"success": False, "code": int(code), "msg": error.message}, int(str(int(code))[:3]))
    response.headers += [(name.lower(), value) for name, value in error.headers.items()]
    return response


_FILE_REASONS: dict[type[ApiError], str] = {RequestTooLarge: "too_large"}
_FILE_STATUSES = frozenset({400, 401, 404, 429, 500})
