"""The optional operations on an account: balance, models, lists of tasks (wire-facts, calls besides the two endpoints, C)."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import orjson
from orjson import Fragment

from kling_mock.core import tasks
from kling_mock.core.errors import ApiError, InvalidRequest
from kling_mock.core.prices import whole
from kling_mock.core.scenarios import Act
from kling_mock.core.tasks import Status, Task
from kling_mock.service.creating import Look
from kling_mock.service.estimates import estimate
from kling_mock.store.interface import Account
from kling_mock.web.api import Api, Handler, Steps
from kling_mock.web.http import ApiResponse, Request, json_reply

T = TypeVar("T")

_CANCELLED = "cancelled"
"""A value of the list's filter that no task shows: such a task has failed, with the code of a cancel."""


class Accounts:
    """The operations of the contract's tag `account`."""

    def __init__(self, api: Api) -> None:
        self._api, self._world, self._courier = api, api.world, api.courier
        self.handlers: dict[str, Handler] = {
            "getCredits": self.get_credits,
            "listModels": self.list_models,
            "listTasks": self.list_tasks,
            "batchTasks": self.batch_tasks,
            "estimateCost": self.estimate_cost,
            "createUploadToken": self.create_upload_token,
        }

    def get_credits(self, account: Account, _: Request) -> ApiResponse:
        """`GET /v1/credits`: the balance and what was charged, once every task that has ended by now is settled."""
        self._courier.settle(account)
        account = self._world.store.refresh(account)
        balance = {"remaining_credits": whole(account.credits), "used_credits": whole(account.used)}
        data = {"token": {**balance, "unlimited_credits": False}, "user": balance}
        return json_reply({"success": True, "message": "", "data": data})

    def estimate_cost(self, account: Account, request: Request) -> ApiResponse:
        """`POST /v1/agent-estimates`: the price of a create, in every unit."""
        asked = self._api.incoming.json("estimateCost", request)
        model = self._world.contract.models.get(asked["model_id"])
        if model is None:
            raise InvalidRequest(f"model_id: there is no model {asked['model_id']!r}", param="model_id")
        # What the parameters leave out of what is required is taken from the model's example.
        body = {**next(iter(model.examples), {}), **asked["parameters"], "model": model.name}
        problem = next(iter(model.problems(body)), None)
        if problem is not None:
            raise InvalidRequest(problem.message, param=f"parameters.{problem.param}")
        offer = self._world.offers[model.name]
        terms, now = offer.terms(body, {}), account.clock.now()
        return json_reply(estimate(asked, offer, terms, offer.bill(body, terms), self._world.service_settings, now))

    def create_upload_token(self, account: Account, _: Request) -> ApiResponse:
        """`POST /v1/files/upload-token`"""
        token, expires = self._world.upload_token(account)
        return json_reply({"upload_token": token, "expires_at": expires})

    def list_models(self, account: Account, _: Request) -> ApiResponse:
        """`GET /v1/models`: those that the key may use."""
        models = self._world.contract.models if account.models is None else sorted(account.models)
        return json_reply({"object": "list", "data": [{"id": model, "object": "model"} for model in models]})

    def list_tasks(self, account: Account, request: Request) -> Steps:
        """`GET /v1/tasks`: a page of the account's tasks, newest first. Listing a task does not count as reading it."""
        asked = self._api.incoming.query("listTasks", request)
        self._courier.settle(account)
        now, own_type = account.clock.now(), self._world.contract.type
        if (asked["type"], asked["model"], asked["status"]) in ((None, None, None), (own_type, None, None)):
            found, total = self._newest(account, asked, now)
        else:  # every task has to be looked at, and an account may have a hundred thousand
            look = Look(partial(self._chosen, account, asked, now))
            yield look
            found, total = look.result()
        rows = [Fragment(self._world.views.row_json(task, now)) for task in found]
        return json_reply({"data": rows, "total": total, "page": asked["page"], "page_size": asked["page_size"]})

    def _newest(self, account: Account, asked: dict[str, Any], now: float) -> tuple[Sequence[Task], int]:
        """Return a page of all tasks that are not forgotten, and how many these are."""
        store = self._world.store
        newest = store.tasks(account, asked["page"] * asked["page_size"])[::-1]
        found = page(newest, asked)
        if found and self._world.timeline.is_forgotten(found[-1], now):  # the oldest of them, and maybe more
            found = [task for task in found if not self._world.timeline.is_forgotten(task, now)]
        return found, store.count_tasks(account, now - self._world.timeline.retention)

    def _chosen(self, account: Account, asked: dict[str, Any], now: float) -> tuple[Sequence[Task], int]:
        """Return a page of the tasks that are asked for, and how many these are."""
        found = [task for task in reversed(self._world.store.tasks(account)) if self._listed(task, asked, now)]
        return page(found, asked), len(found)

    def batch_tasks(self, account: Account, request: Request) -> ApiResponse:
        """`POST /v1/tasks/batch`: each task as the query would show it, and it counts as a read of each.

        A scenario's fault on the query of one task applies to the whole response; a task that its scenario hides is left out.
        """
        asked = self._api.incoming.json("batchTasks", request)
        rows: list[Fragment] = []
        fault: Act | None = None
        for task, now, act in self._found(account, asked["task_ids"]):
            body = self._world.views.view_json(account, task, now)
            if act is None or act.edit is not None:
                rows.append(Fragment(self._api.acts.response(act, "getTask", account.clock, body).body))
            elif not self._hides(act, account):
                rows.append(Fragment(body))
                fault = fault or act
        return self._api.acts.response(fault, "batchTasks", account.clock, orjson.dumps({"data": rows}))

    def _listed(self, task: Task, asked: dict[str, Any], now: float) -> bool:
        contract = self._world.contract
        if asked["type"] not in (None, contract.type) or asked["model"] not in (None, task.model):
            return False
        if self._world.timeline.is_forgotten(task, now):
            return False
        if asked["status"] is None:
            return True
        stage = tasks.stage(task, now)
        status = stage.status
        if asked["status"] == _CANCELLED:
            return stage.code == tasks.CANCELLED
        return status == asked["status"] or (
            asked["status"] == Status.PROCESSING and status is Status.PENDING  # one filter for all that is not over
        )

    def _found(self, account: Account, task_ids: Sequence[str]) -> Iterator[tuple[Task, float, Act | None]]:
        for task_id in dict.fromkeys(task_ids):
            with suppress(ApiError):  # unknown, forgotten or foreign: simply absent
                yield self._world.read(account, task_id)

    def _hides(self, act: Act, account: Account) -> bool:
        return (
            act.answer is not None and self._api.acts.answer(act.answer, "getTask", account.clock.now()).status == 404
        )


def page(items: Sequence[T], asked: dict[str, Any]) -> Sequence[T]:
    """Return the page of *items* that a query asks for; empty past the end."""
    start = (asked["page"] - 1) * asked["page_size"]
    return items[start : start + asked["page_size"]]
