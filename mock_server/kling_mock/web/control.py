"""The control protocol: `/__mock/...`, by the operationId each call has in openapi/control.yaml."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from kling_mock import __version__
from kling_mock import clock as clocks
from kling_mock.clock import NotManual
from kling_mock.config import origin
from kling_mock.core import tasks
from kling_mock.core.errors import ApiError
from kling_mock.core.notation import parse_choice
from kling_mock.core.tasks import Status, Task
from kling_mock.service.catalogue import NoScenario
from kling_mock.service.courier import Courier, delivery_json
from kling_mock.service.world import World
from kling_mock.store import journal
from kling_mock.store.memory import Account, Queued
from kling_mock.web.access import Access
from kling_mock.web.control_protocol import ControlError, Protocol, bad_request
from kling_mock.web.facts import account_json, plan_json
from kling_mock.web.http import Reply, Request, json_reply
from kling_mock.web.waiting import Waiting

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

    def call(self, operation: str, request: Request, /, **path: str) -> Reply:
        """Return the response to one control call; errors come in the service's envelope."""
        try:
            self._admit(request)
            account = self._account(request)
            arguments = self.protocol.arguments(operation, request)
            return json_reply(self.calls[operation](account, **arguments, **path))
        except ControlError as error:
            return self.protocol.refusal(error)
        except ApiError as error:
            return self.protocol.refusal(ControlError("forbidden", error.message))

    # Access

    def _admit(self, request: Request) -> None:
        refusal = self.access.refusal(request)
        if refusal is not None:
            raise ControlError("forbidden", refusal)

    def _account(self, request: Request) -> Account | None:
        authorization = request.headers.get("authorization")
        return None if authorization is None else self.world.account(authorization)

    def _chosen(self, account: Account | None) -> list[Account]:
        return self.world.store.accounts() if account is None else [account]

    # Server

    def get_health(self, account: Account | None) -> Any:
        """`GET /__mock/health`"""
        del account
        return _OK

    def get_ready(self, account: Account | None) -> Any:
        """`GET /__mock/ready`"""
        del account
        return _OK

    def get_info(self, account: Account | None) -> Any:
        """`GET /__mock/info`"""
        del account
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

    def _clock(self, account: Account | None) -> Any:
        reading = (account.clock if account else self.world.store.clock).reading()
        return {"now": reading.now, "mode": reading.mode, "rate": reading.rate}

    def get_clock(self, account: Account | None) -> Any:
        """`GET /__mock/clock`"""
        return self._clock(account)

    def set_clock(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`PUT /__mock/clock`"""
        for clock in self._clocks(account):
            clock.set(body["mode"], float(body.get("rate", 1.0)))
        for one in self._chosen(account):
            self.courier.notice_clock(one)
        self._note(account, "clock", **self._clock(account))
        return self._clock(account)

    def _clocks(self, account: Account | None) -> list[clocks.Clock]:
        """Return the clocks that a call acts on: the account's own, or the server's and every one that was forked from it."""
        store = self.world.store
        if account is not None:
            return [store.own_clock(account)]
        return [store.clock, *(one.clock for one in store.accounts() if one.clock is not store.clock)]

    def advance_clock(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`POST /__mock/clock/advance`"""
        moved = self._clocks(account)
        running = next((clock for clock in moved if clock.mode != "manual"), None)
        if running is not None:
            raise ControlError("not_manual", f"the clock is {running.mode}; only a manual clock can be advanced")
        chosen = self._chosen(account)
        try:
            happened = self.courier.advance(moved, chosen, float(body["seconds"]))
        except NotManual as error:
            raise ControlError("not_manual", str(error)) from error
        self._note(account, "clock", **self._clock(account), seconds=body["seconds"])
        return {"now": self._clock(account)["now"], "fired": [one.as_json() for one in happened]}

    def _note(self, account: Account | None, kind: str, **more: Any) -> None:
        clock = account.clock if account else self.world.store.clock
        self.world.journal.add(clock.now(), account.name if account else None, kind, more=more)

    # Setting up

    def list_scenarios(self, account: Account | None) -> Any:
        """`GET /__mock/scenarios`"""
        del account
        found = sorted(self.world.catalogue.scenarios.values(), key=lambda one: one.name)
        return {"scenarios": [{"name": one.name, "summary": one.summary, "params": one.params} for one in found]}

    def queue_scenario(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`POST /__mock/scenarios/next`"""
        name, params, times = body["name"], body.get("params", {}), int(body.get("times", 1))
        try:
            self.world.catalogue.choose(name, params)
        except NoScenario as error:
            raise bad_request(str(error), "name") from error
        (self.world.store.queue if account is None else account.queue).append(Queued(name, params, times))
        return {"name": name, "params": {**self.world.catalogue.scenarios[name].params, **params}, "times": times}

    def set_account(self, account: Account | None, body: dict[str, Any]) -> Any:
        """`PUT /__mock/account`"""
        if account is None:
            self.world.store.defaults.update(_permissions(body))
        for one in self._chosen(account):
            self.courier.settle(one)
            with one.lock:
                _grant(one, body)
        return _OK

    def list_accounts(self, account: Account | None) -> Any:
        """`GET /__mock/accounts`"""
        found = self._chosen(account)
        for one in found:
            self.courier.settle(one)
        return {"accounts": [account_json(one) for one in found]}

    def set_relays(self, account: Account | None, body: dict[str, str]) -> Any:
        """`PUT /__mock/relays`"""
        try:
            relays = {origin(source): origin(target) for source, target in body.items()}
        except ValueError as error:
            raise bad_request(str(error)) from error
        if account is None:
            self.world.store.relays = relays
        for one in self._chosen(account):
            one.relays = dict(relays)
        return {"relays": relays}

    def set_names(self, account: Account | None, body: dict[str, list[str]]) -> Any:
        """`PUT /__mock/names`"""
        try:
            names = {host.lower(): tuple(map(ip_address, found)) for host, found in body.items()}
        except ValueError as error:
            raise bad_request(str(error)) from error
        for one in self._chosen(account):
            one.names = dict(names)
        return {"names": {host: [str(ip) for ip in found] for host, found in names.items()}}

    # Facts

    def list_tasks(self, account: Account | None) -> Any:
        """`GET /__mock/tasks`"""
        return {"tasks": [self._task(one, task) for one in self._chosen(account) for task in list(one.tasks.values())]}

    def get_task(self, account: Account | None, task_id: str) -> Any:
        """`GET /__mock/tasks/{task_id}`"""
        owner, task = self._find(account, task_id)
        self.courier.come_to_rest(owner)
        deliveries = [delivery_json(one, self.world) for one in owner.of_task.get(task.id, ())]
        return {**self._task(owner, task), "deliveries": deliveries}

    def cancel_task(self, account: Account | None, task_id: str) -> Any:
        """`POST /__mock/tasks/{task_id}/cancel`"""
        owner, task = self._find(account, task_id)
        self.courier.settle(owner)
        if self.world.timeline.cancel(owner, task):
            if owner.clock.mode == "manual":
                self.courier.run_due(owner, owner.clock.now())
            else:
                self.courier.settle(owner)
        return self.get_task(owner, task_id)

    def list_deliveries(self, account: Account | None, task_id: str | None = None) -> Any:
        """`GET /__mock/deliveries`"""
        if task_id is not None:
            owner, _ = self._find(account, task_id)
            self.courier.come_to_rest(owner)
            return {"deliveries": [delivery_json(one, self.world) for one in owner.of_task.get(task_id, ())]}
        chosen = self._chosen(account)
        for one in chosen:
            self.courier.come_to_rest(one)
        return {
            "deliveries": [delivery_json(owed, self.world) for one in chosen for owed in list(one.deliveries.values())]
        }

    def resend_delivery(self, account: Account | None, delivery_id: str) -> Any:
        """`POST /__mock/deliveries/{delivery_id}/resend`"""
        for one in self._chosen(account):
            delivery = one.deliveries.get(delivery_id)
            if delivery is not None:
                self.courier.resend(one, delivery)
                return delivery_json(delivery, self.world)
        raise ControlError("unknown_task", f"there is no delivery {delivery_id!r}", "delivery_id")

    def wait(self, account: Account | None, task_id: str, until: str = "terminal", timeout: float = 10.0) -> Any:
        """`GET /__mock/wait`"""
        owner, task = self._find(account, task_id)
        met, state = Waiting(self.world, self.courier).wait(owner, task, until, timeout)
        if met is None:
            raise ControlError("timeout", f"{task_id} is {state}; {until} was not so within {timeout:g} s")
        return {"met": met, "task_id": task_id, "until": until, "state": state}

    def get_journal(self, account: Account | None, since: int = 0, limit: int = 1000) -> Any:
        """`GET /__mock/journal`"""
        entries = self.world.journal.entries(account.name if account else None, since, limit)
        following = entries[-1].seq + 1 if entries else max(since, self.world.journal.next_seq)
        return {"entries": [journal.as_json(entry) for entry in entries], "next": following}

    def get_journal_har(self, account: Account | None) -> Any:
        """`GET /__mock/journal.har`"""
        entries = self.world.journal.entries(account.name if account else None, 0, _MOST_ENTRIES)
        return journal.as_har(entries, creator="kling-mock", version=__version__)

    def _find(self, account: Account | None, task_id: str) -> tuple[Account, Task]:
        owner = account or self.world.store.owner(task_id)
        task = owner.tasks.get(task_id) if owner else None
        if owner is None or task is None:
            raise ControlError("unknown_task", f"there is no task {task_id!r}", "task_id")
        return owner, task

    def _task(self, account: Account, task: Task) -> dict[str, Any]:
        stage = tasks.stage(task, account.clock.now())
        scenario, params = parse_choice(task.scenario)
        shown: dict[str, Any] = {
            "id": task.id,
            "status": stage.status.value,
            "progress": stage.progress,
            "created": int(task.created_at),
            "scenario": scenario,
            "params": params,
            "plan": plan_json(task),
            "reads": task.reads,
            "credits_reserved": task.reserved,
            "callback_url": task.callback_url,
            "code": stage.code,
            "links": [],
        }
        if stage.status is Status.COMPLETED:
            link = self.world.views.link(account, task, stage)
            shown["links"] = [{"url": link.url, "issued_at": link.issued_at, "expires_at": link.expires_at}]
        return shown


def _permissions(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, **({"models": frozenset(body["models"])} if "models" in body else {})}


def _grant(account: Account, body: dict[str, Any]) -> None:
    """Set those of the account's balance and permissions that *body* names."""
    if "credits" in body:
        account.credits = body["credits"]
    if "models" in body:
        account.models = frozenset(body["models"])
    if "rate_limit" in body:
        account.rate_limit = body["rate_limit"]
