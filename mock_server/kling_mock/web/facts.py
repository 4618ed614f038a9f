"""Facts as the control protocol shows them."""

from typing import Any

from kling_mock.core.tasks import Task
from kling_mock.store.memory import Account


def account_json(account: Account) -> dict[str, Any]:
    """Return balance and permissions of *account*, under the name that the journal gives it."""
    with account.lock:
        return {
            "account": account.name,
            "credits": account.credits,
            "used": account.used,
            "models": None if account.models is None else sorted(account.models),
            "rate_limit": account.rate_limit,
        }


def plan_json(task: Task) -> dict[str, Any]:
    """Return the plan of *task*; None for seconds that never end."""
    plan = task.plan
    outcome: dict[str, Any] = {"status": plan.outcome.value}
    if plan.code is not None:
        outcome |= {"code": plan.code, "progress": plan.stops_at}
    if plan.polls is not None:
        return {"by": "polls", "pending": plan.polls[0], "processing": plan.polls[1], "outcome": outcome}
    return {"by": "time", "queued": _finite(plan.queued_for), "runs": _finite(plan.runs_for), "outcome": outcome}


def _finite(seconds: float) -> float | None:
    return seconds if seconds != float("inf") else None
