"""Facts as the control protocol shows them."""

from typing import Any

from kling_mock.core import tasks
from kling_mock.core.deliveries import Delivery, RetryPolicy, attempt_facts, next_due, state
from kling_mock.core.notation import parse_choice
from kling_mock.core.tasks import Status, Task
from kling_mock.service.views import Views
from kling_mock.store.interface import Account


def account_json(account: Account) -> dict[str, Any]:
    """Return balance and permissions of *account*, under the name that the journal gives it."""
    return {
        "account": account.name,
        "credits": account.credits,
        "used": account.used,
        "models": None if account.models is None else sorted(account.models),
        "rate_limit": account.rate_limit,
    }


def task_json(account: Account, task: Task, views: Views) -> dict[str, Any]:
    """Return the facts of a task and its links."""
    stage = tasks.stage(task, account.clock.now())
    scenario, params = parse_choice(task.scenario)
    shown: dict[str, Any] = {
        "id": task.id,
        "model": task.model,
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
        shown["links"] = [
            {"url": link.url, "issued_at": link.issued_at, "expires_at": link.expires_at}
            for link in views.links(account, task, stage)
        ]
    return shown


def delivery_json(delivery: Delivery, policy: RetryPolicy) -> dict[str, Any]:
    """Return a delivery and its attempts."""
    attempts = list(delivery.attempts)
    return {
        "id": delivery.id,
        "task_id": delivery.task_id,
        "url": delivery.url,
        "state": state(delivery, policy).value,
        "next_due": next_due(delivery, policy),
        "attempts": [{"attempt": number, **attempt_facts(attempt)} for number, attempt in enumerate(attempts, 1)],
    }


def plan_json(task: Task) -> dict[str, Any]:
    """Return what *task* goes through; None for seconds that never end."""
    plan = task.plan
    outcome: dict[str, Any] = {"status": plan.outcome.value}
    if plan.code is not None:
        outcome |= {"code": plan.code, "progress": plan.stops_at}
    if plan.polls is not None:
        return {"by": "polls", "pending": plan.polls[0], "processing": plan.polls[1], "outcome": outcome}
    return {"by": "time", "queued": _finite(plan.queued_for), "runs": _finite(plan.runs_for), "outcome": outcome}


def _finite(seconds: float) -> float | None:
    return seconds if seconds != float("inf") else None
