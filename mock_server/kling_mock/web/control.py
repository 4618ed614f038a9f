"""The control protocol: `/__mock/...`, by the operationId each call has in openapi/control.yaml."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, TypeVar

from kling_mock import __version__
from kling_mock.clock import NotManual, not_manual
from kling_mock.core.callbacks import origin
from kling_mock.core.errors import ApiError
from kling_mock.core.tasks import Task
from kling_mock.service.catalogue import NoScenario
from kling_mock.service.courier import Courier
from kling_mock.service.world import World
from kling_mock.store import journal
from kling_mock.store.interface import Account, Queued, StoreDown
from kling_mock.web.access import Access
from kling_mock.web.control_protocol import ControlError, Protocol, bad_request
from kling_mock.web.facts import account_json, delivery_json, task_json
from kling_mock.web.http import ApiResponse, Request, json_reply
from kling_mock.web.waiting import Wait

T = TypeVar("T")
FEATURES = ["clock", "scenarios", "relays", "names", "cancel", "credits", "journal", "wait"]
_OK = {"status": "ok"}
_MOST_ENTRIES = 10_000


class Control:
    """Handles the control calls. A bearer key selects one account; without one a call acts on all."""

    def __init__(self, world: World, courier: Courier, access: Access) -> None:
        self.world, self.courier, self.access = world, courier, access
        self.protocol = Protocol()
        self.calls: dict[str, Callable[..., Any]] = {
            "getHealth": self.get_health,
            "getReady": self.get_ready,
            "getInfo": self.get_info,
            "reset": self.reset,
            "getClock": self.get_clock,
            "setClock": self.set_clock,
            "advanceClock": self.advance_clock,
            "listScenarios": self.list_scenarios,
            "queueScenario": self.queue_scenario,
            "setAccount": self.set_account,
            "listAccounts": self.list_accounts,
            "setRelays": self.set_relays,
            "setNames": self.set_names,
            "listTasks": self.list_tasks,
            "getTask": self.get_task,
            "cancelTask": self.cancel_task,
            "listDeliveries": self.list_deliveries,
            "resendDelivery": self.resend_delivery,
            "wait": self.wait,
            "getJournal": self.get_journal,
            "getJournalHar": self.get_journal_har,
        }

    def call(self, operation: str, request: Request, /, **path: str) -> ApiResponse:
        """Return the response to one control call; errors come in the service's envelope."""

        def call() -> ApiResponse:
            account = self._admitted(request)
            arguments = self.protocol.arguments(operation, request)
            return json_reply(self.calls[operation](account, **arguments, **path))

        return self._or_refusal(call)

    def waiting(self, request: Request) -> Wait | ApiResponse:
        """Return what `GET /__mock/wait` waits for, for a server that waits by itself; the refusal where there is nothing."""
        return self._or_refusal(lambda: self._wait(self._admitted(request), **self.protocol.arguments("wait", request)))

    def waited(self, wait: Wait, met: bool | None) -> ApiResponse:
        """Return the response to a call that has waited."""
        return self._or_refusal(lambda: json_reply(_waited(wait, met)))

    def _or_refusal(self, act: Callable[[], T]) -> T | ApiResponse:
        """Return what *act* does, or the response that says why it was not done."""
        try:
            return act()
        except ControlError as error:
            return self.protocol.refusal(error)
        except ApiError as error:
            return self.protocol.refusal(ControlError("forbidden", error.message))
        except StoreDown as error:
            return self.protocol.refusal(ControlError("store_down", str(error)))

    # Access

    def _admitted(self, request: Request) -> Account | None:
        """Return the account that a request may control; None for all of them."""
        refusal = self.access.refusal(request)
        if refusal is not None:
            raise ControlError("forbidden", refusal)
        authorization = request.headers.get("authorization")
        return None if authorization is None else self.world.account(authorization)

    def _chosen(self, account: Account | None) -> Sequence[Account]:
        return self.world.store.accounts() if account is None else [account]

    # Server

    def get_health(self, _: Account | None) -> Any:
        """`GET /__mock/health`"""
        return _OK

    def get_ready(self, _: Account | None) -> Any:
        """`GET /__mock/ready`"""
        self.world.store.check()
        return _OK

    def get_info(self, _: Account | None) -> Any:
        """`GET /__mock/info`"""
        return {
            "name": "kling-mock",
            "version": __version__,
            "contract": self.world.contract.version,
            "seed": self.world.settings.seed,
            "features": FEATURES,
        }

    def reset(self, account: Account | None) -> Any:
        """`POST /__mock/reset`"""
        self.world.store.reset(account)
        self.world.journal.forget(account.name if account else None)
        return _OK

    # Clock

    def get_clock(self, account: Account | None) -> Any:
        """`GET /__mock/clock`"""
        reading = self.world.clock_of(account and self.world.store.refresh(account)).reading()
        return {"now": reading.now, "mode": reading.mode, "rate": reading.rate}

    def set_clock(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`PUT /__mock/clock`"""
        self.world.store.set_clock(account, body["mode"], float(body.get("rate", 1.0)))
        shown = self.get_clock(account)
        self.world.note(account, "clock", shown["now"], more=shown)
        return shown

    def advance_clock(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`POST /__mock/clock/advance`"""
        running = next((clock for clock in self.world.store.clocks(account) if clock.mode != "manual"), None)
        if running is not None:
            raise ControlError("not_manual", not_manual(running.mode))
        try:
            fired = self.courier.advance(account, float(body["seconds"]))
        except NotManual as error:
            raise ControlError("not_manual", str(error)) from error
        shown = self.get_clock(account)
        self.world.note(account, "clock", shown["now"], more={**shown, "seconds": body["seconds"]})
        return {"now": shown["now"], "fired": fired}

    # Setting up

    def list_scenarios(self, _: Account | None) -> Any:
        """`GET /__mock/scenarios`"""
        found = sorted(self.world.catalogue.scenarios.values(), key=lambda one: one.name)
        return {"scenarios": [{"name": one.name, "summary": one.summary, "params": one.params} for one in found]}

    def queue_scenario(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`POST /__mock/scenarios/next`"""
        name, params, times = body["name"], body.get("params", {}), int(body.get("times", 1))
        try:
            self.world.catalogue.choose(name, params)
        except NoScenario as error:
            raise bad_request(str(error), "name") from error
        self.world.store.queue(account, Queued(name, params, times))
        return {"name": name, "params": {**self.world.catalogue.scenarios[name].params, **params}, "times": times}

    def set_account(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`PUT /__mock/account`"""
        values = {**body, **({"models": frozenset(body["models"])} if "models" in body else {})}
        for one in self._chosen(account):
            self.courier.settle(one)
        self.world.store.configure(account, values)
        return _OK

    def list_accounts(self, account: Account | None) -> Any:
        """`GET /__mock/accounts`"""
        for one in self._chosen(account):
            self.courier.settle(one)
        found = self._chosen(account and self.world.store.refresh(account))
        return {"accounts": [account_json(one) for one in found]}

    def set_relays(self, account: Account | None, body: dict[str, str]) -> Any:
        """`PUT /__mock/relays`"""
        try:
            relays = {origin(source): origin(target) for source, target in body.items()}
        except ValueError as error:
            raise bad_request(str(error)) from error
        self.world.store.set_relays(account, relays)
        return {"relays": relays}

    def set_names(self, account: Account | None, body: dict[str, list[str]]) -> Any:
        """`PUT /__mock/names`"""
        try:
            names = {host.lower(): tuple(map(ip_address, found)) for host, found in body.items()}
        except ValueError as error:
            raise bad_request(str(error)) from error
        self.world.store.set_names(account, names)
        return {"names": {host: [str(ip) for ip in found] for host, found in names.items()}}

    # Facts

    def list_tasks(self, account: Account | None) -> Any:
        """`GET /__mock/tasks`"""
        store, views = self.world.store, self.world.views
        return {"tasks": [task_json(one, task, views) for one in self._chosen(account) for task in store.tasks(one)]}

    def get_task(self, account: Account | None, task_id: str) -> Any:
        """`GET /__mock/tasks/{task_id}`"""
        owner, task = self._find(account, task_id)
        self.courier.come_to_rest(owner)
        task = self.world.store.task(owner, task_id) or task
        return {**task_json(owner, task, self.world.views), "deliveries": self._deliveries(owner, task_id)}

    def cancel_task(self, account: Account | None, task_id: str) -> Any:
        """`POST /__mock/tasks/{task_id}/cancel`"""
        owner, _ = self._find(account, task_id)
        self.courier.cancel(owner, task_id)
        return self.get_task(owner, task_id)

    def list_deliveries(self, account: Account | None, task_id: str | None = None) -> Any:
        """`GET /__mock/deliveries`"""
        chosen = self._chosen(account) if task_id is None else [self._find(account, task_id)[0]]
        for one in chosen:
            self.courier.come_to_rest(one)
        return {"deliveries": [shown for one in chosen for shown in self._deliveries(one, task_id)]}

    def _deliveries(self, account: Account, task_id: str | None) -> list[dict[str, Any]]:
        policy = self.world.contract.delivery
        return [delivery_json(one, policy) for one in self.world.store.deliveries(account, task_id)]

    def resend_delivery(self, account: Account | None, delivery_id: str) -> Any:
        """`POST /__mock/deliveries/{delivery_id}/resend`"""
        for one in self._chosen(account):
            delivery = self.world.store.delivery(one, delivery_id)
            if delivery is not None:
                self.courier.resend(one, delivery)
                delivery = self.world.store.delivery(one, delivery_id) or delivery
                return delivery_json(delivery, self.world.contract.delivery)
        raise ControlError(
            "unknown_task", f"there is no delivery {delivery_id!r}; `kling-mock deliveries` lists them", "delivery_id"
        )

    def wait(self, account: Account | None, task_id: str, until: str = "terminal", timeout: float = 10.0) -> Any:
        """`GET /__mock/wait`"""
        wait = self._wait(account, task_id, until, timeout)
        return _waited(wait, wait.block())

    def _wait(self, account: Account | None, task_id: str, until: str = "terminal", timeout: float = 10.0) -> Wait:
        owner, _ = self._find(account, task_id)
        return Wait(self.world, self.courier, owner, task_id, until, timeout)

    def get_journal(self, account: Account | None, since: int = 0, limit: int = 1000) -> Any:
        """`GET /__mock/journal`"""
        entries = self.world.journal.entries(account.name if account else None, since, limit)
        following = entries[-1].seq + 1 if entries else max(since, self.world.journal.next_seq)
        return {"entries": [journal.as_json(entry) for entry in entries], "next": following}

    def get_journal_har(self, account: Account | None) -> Any:
        """`GET /__mock/journal.har`"""
        entries = self.world.journal.entries(account.name if account else None, 0, _MOST_ENTRIES)
        return journal.as_har(entries, creator="kling-mock", version=__version__, origin=self.world.views.origin)

    def _find(self, account: Account | None, task_id: str) -> tuple[Account, Task]:
        owner = account or self.world.store.owner(task_id)
        task = self.world.store.task(owner, task_id) if owner else None
        if owner is None or task is None:
            raise ControlError(
                "unknown_task", f"there is no task {task_id!r}; `kling-mock tasks` lists them", "task_id"
            )
        return owner, task


def _waited(wait: Wait, met: bool | None) -> dict[str, Any]:
    if met is None:
        raise ControlError(
            "timeout", f"{wait.task_id} is {wait.state}; {wait.until} was not so within {wait.timeout:g} s"
        )
    return {"met": met, "task_id": wait.task_id, "until": wait.until, "state": wait.state}
