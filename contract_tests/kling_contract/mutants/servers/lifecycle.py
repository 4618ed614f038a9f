"""Servers that break rules of the lifecycle (SL)."""

from typing import Any

from kling_contract.mutants.messages import DROP, Known, Memory, Request, Response, tasks_in
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import (
    CALLBACK,
    CREATE,
    READ,
    Task,
    answers,
    follows,
    is_,
    one_for_twins,
    setting,
    shows,
    status,
    status_was,
)  # fmt: skip
from kling_contract.reading.contract import shipped

_NO_TASK = shipped().task_path(shipped().unused_id("zzzzzzzz"))


def _not_yet() -> Switch:
    """The first query of a task finds nothing."""

    def on_request(ask: Request, memory: Memory) -> Request:
        if ask.name != "getTask" or ask.task_id not in memory.tasks:
            return ask
        first = memory.count(memory.task(ask.task_id), "asked") == 1
        return Request(ask.method, _NO_TASK, ask.headers) if first else ask

    return Switch(on_request=on_request)


def _nth(number: int, status_: str) -> Any:
    """The *number*th query that shows a task with that status."""

    def when(task: Task, known: Known) -> bool:
        if task.get("status") != status_:
            return False
        known.seen[status_] += 1
        return known.seen[status_] == number

    return when


def _falling(task: Task, known: Known) -> None:
    """Less at every look."""
    known.seen["looks"] += 1
    task["progress"] = max(0, 50 - known.seen["looks"])


def _stale(task: Task, known: Known) -> None:
    """At one moment, as an older replica knows it: every second look at the same progress is behind."""
    if known.kept.get("progress") == task["progress"] and task["progress"]:
        task["progress"] -= 1
    known.kept["progress"] = task["progress"]


def _regrouped(task: Task, known: Known) -> None:
    known.seen["reads"] += 1
    task["usage"]["user_group"] = f"group-{known.seen['reads']}"


def _later(task: Task, known: Known) -> None:
    known.seen["reads"] += 1
    task["created"] += known.seen["reads"]


def _uncalled(_: Task, known: Known) -> bool:
    return "callback_url" not in known.sent


def _cancelled(task: Task, _: Known) -> bool:
    return (task.get("error") or {}).get("code") == "request_cancelled"


def _moderated(task: Task, _: Known) -> bool:
    return (task.get("error") or {}).get("code") == "content_policy_violation"


def _cut_off(task: Task, _: Known) -> bool:
    return task["status"] == "failed" and not _cancelled(task, Known())


def _after_the_end() -> Switch:
    """A completed task is seen processing once more."""

    def change(task: Task, _: Known) -> None:
        task["status"], task["progress"] = "processing", 99
        for name in ("results", "result_data"):
            task.pop(name, None)

    return shows(change, at=(READ,), when=_nth(3, "completed"))


def _longer_than_asked(ask: Request, answer: Response, memory: Memory) -> Response:
    for task in tasks_in(ask, answer):
        known = memory.task(task["id"])
        if ask.name == "createVideo" and "duration" in known.sent:
            task["task_info"]["video_duration"] += 1
            return answer.becomes(task)
    return answer


def _goes_on() -> Switch:
    """A cancel is answered, and nothing happens; the first one works, so that the feature is there."""

    def on_request(ask: Request, memory: Memory) -> Request | Response:
        if not ask.path.endswith("/cancel") or memory.task(ask.path.split("/")[-2]).sent.get("prompt") != "cancelled 1":
            return ask
        return Response(200, body=b"{}")

    return Switch(on_request=on_request)


_BACK = setting(status="pending", progress=0)

MUTANTS = (
    broken("SL-01", "begins-at-once", "answers a create with a task that already runs",
           shows(setting(status="processing", progress=1), at=(CREATE,))),
    broken("SL-02", "one-id-for-twins", "gives creates with one body the same id", one_for_twins()),
    broken("SL-03", "not-there-yet", "does not find a task at the first query", _not_yet()),
    broken("SL-04", "back-in-the-queue", "shows a running task as pending once more", shows(_BACK, at=(READ,), when=_nth(3, "processing"))),
    broken("SL-05", "not-the-end", "shows a completed task as processing once more", _after_the_end()),
    broken("SL-06", "falling-progress", "shows less progress at every look", shows(_falling, at=(READ,), when=is_("processing"))),
    broken("SL-07", "failed-and-less", "lets progress drop to 1 when a task fails",
           shows(setting(progress=1), when=_cut_off)),
    broken("SL-08", "completed-at-99", "completes at 99", shows(setting(progress=99), when=is_("completed"))),
    broken("SL-09", "early-results", "has results, still empty, while a task runs", shows(setting(results=[]), when=is_("processing"))),
    broken("SL-10", "completed-without-links", "completes with an empty list of results", follows("empty-results")),
    broken("SL-10", "completed-without-results", "completes without results", follows("missing-results")),
    broken("SL-11", "failed-with-results", "gives a failed task a link",
           shows(setting(results=["https://files.example.com/rest.mp4"]), at=(READ, CALLBACK), when=is_("failed"))),
    broken("SL-12", "failed-without-message", "leaves the message out of a failed task's error",
           shows(setting(error__message=DROP), at=(READ, CALLBACK), when=is_("failed"))),
    broken("SL-12", "failed-without-error", "does not say why a task failed", shows(setting(error=DROP), when=is_("failed"))),
    broken("SL-13", "own-task-error", "has a task error code of its own", shows(setting(error__code="moderation"), when=_moderated)),
    broken("SL-14", "error-in-advance", "has an error object on every task", shows(
        setting(error={"code": "unknown_error", "message": "", "type": "task_error"}), when=is_("pending", "processing", "completed"))),
    broken("SL-15", "created-moves", "counts created on with each query", shows(_later, at=(READ,))),
    broken("SL-16", "unknown-is-400", "answers 400 to an id that it has not made", answers(status_was(404, name="getTask"), status(400))),
    broken("SL-16", "malformed-is-404", "answers 404 to an id that cannot be one",
           answers(lambda ask, answer: ask.name == "getTask" and answer.status == 400, status(404))),
    broken("SL-17", "never-ends", "leaves a task processing for ever",
           follows("stuck", lambda body: "quiet hills" in str(body.get("prompt"))), scripts=("lifecycle",)),
    broken("SL-18", "stale-replica", "asks a replica that is behind for every second query",
           shows(_stale, at=(READ,), when=is_("processing")), masked_by="SL-06"),
    broken("SL-19", "still-cancellable", "says that a finished task can be cancelled",
           shows(setting(task_info__can_cancel=True), when=is_("completed", "failed"))),
    broken("SL-20", "reading-changes", "changes a task's group with each query", shows(_regrouped, at=(READ,), when=_uncalled)),
    broken("SL-21", "one-second-more", "answers a create with a second more than was asked for", Switch(on_response=_longer_than_asked)),
    broken("SL-22", "cancelled-as-fault", "says that a cancelled task failed by a fault",
           shows(setting(error__code="service_error"), when=_cancelled)),
    broken("SL-22", "cancel-forgotten", "takes a cancel and goes on", _goes_on(), scripts=("cancelled",)),
    broken("SL-23", "leaner-callback", "leaves the model out of callbacks", shows(setting(model=DROP), at=(CALLBACK,))),
)  # fmt: skip
