"""Judges of the lifecycle (SL): what a task may show, in which order, and what must stay the same."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from kling_common.members import is_number, member, object_in
from kling_contract.history.events import Note
from kling_contract.history.labels import Expect, Topic
from kling_contract.reading.addresses import parts_of
from kling_contract.reading.view import MISSING, Call, Sighting, TaskRecord, View, once
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule

IDENTITY = ("id", "object", "created", "model", "type")
"""Members that name a task and never change."""


@once
def told(view: View) -> Iterator[tuple[TaskRecord, Sighting, Sighting]]:
    """Each sighting of a task and the nearest one that was surely before it, callbacks left out."""
    for task in view.tasks.values():
        shown = [sighting for sighting in task.sightings if sighting.source != "callback"]
        for index, later in enumerate(shown):
            earlier = next((sighting for sighting in reversed(shown[:index]) if sighting.before(later)), None)
            if earlier is not None:
                yield task, earlier, later


def _step(earlier: Sighting, later: Sighting) -> str:
    return f"{earlier.status} {quoted(earlier.progress)} then {later.status} {quoted(later.progress)}"


@judge("SL-01")
def begins_pending(view: View, _: Rule) -> Iterator[Check]:
    """Looks at accepted creates that show a task."""
    first = view.contract.live[0]
    for task in view.tasks.values():
        if task.create is not None:
            body = task.create.got
            begun = body.get("status") == first and body.get("progress") == 0
            seen = f"{body.get('status')}, progress {quoted(body.get('progress'))}"
            yield check(begun, f"{first}, progress 0", seen, task.create)


@judge("SL-02")
def ids_differ(view: View, _: Rule) -> Iterator[Check]:
    """Looks at accepted creates, those with an idempotency key left out; needs two."""
    first: dict[str, Call] = {}
    for call in view.creates:
        task_id = call.body.get("id") if call.accepted else None
        if isinstance(task_id, str) and call.sent_header("idempotency-key") is None:
            earlier = first.setdefault(task_id, call)
            if len(first) > 1 or earlier is not call:
                yield check(earlier is call, "an id of its own", task_id, *_pair(earlier, call))


def _pair(earlier: Call, call: Call) -> tuple[Call, ...]:
    return (call,) if earlier is call else (earlier, call)


@judge("SL-03")
def readable_at_once(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the first query of each task by its own account, when it comes before the links would be gone."""
    for task in view.tasks.values():
        read = next((call for call in task.queries if _answered(call, task)), None)
        if task.create is None or read is None or read.faulty:
            continue
        if read.event.ended_at - task.create.event.earliest < view.contract.link_lifetime:
            yield check(read.status == 200, 200, read.status, task.create, read)


def _answered(call: Call, task: TaskRecord) -> bool:
    """Whether *call* came after the create and was not turned away before the task was looked for."""
    after = task.create is not None and call.event.mono >= task.create.event.ended_mono
    return after and call.status not in (0, 401, 402, 429)


@judge("SL-04")
def forward_only(view: View, _: Rule) -> Iterator[Check]:
    """Looks at pairs of sightings before the end."""
    for _task, earlier, later in told(view):
        if not earlier.terminal and earlier.stage is not None and later.stage is not None:
            yield check(later.stage >= earlier.stage, "forward or still", _step(earlier, later), earlier, later)


@judge("SL-05")
def end_is_final(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what is shown after an end."""
    for _task, earlier, later in told(view):
        if earlier.terminal:
            yield check(later.status == earlier.status, earlier.status, later.status, earlier, later)


@judge("SL-06")
def progress_grows(view: View, _: Rule) -> Iterator[Check]:
    """Looks at pairs of sightings before the end."""
    for _task, earlier, later in told(view):
        if not earlier.terminal and not later.terminal and is_number(earlier.progress) and is_number(later.progress):
            grown = later.progress >= earlier.progress
            yield check(grown, f"{earlier.progress} or more", quoted(later.progress), earlier, later)


@judge("SL-07")
def drop_on_failure(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every step: a drop to 0 belongs to a failure, and a failure drops to nothing else."""
    for _task, earlier, later in told(view):
        if earlier.terminal or not is_number(earlier.progress) or not is_number(later.progress):
            continue
        dropped = later.progress < earlier.progress
        if later.progress == 0 or later.status == "failed":
            fine = not dropped or (later.status == "failed" and later.progress == 0)
            yield check(fine, "no drop but to 0 with a failure", _step(earlier, later), earlier, later)


@judge("SL-08")
def completed_is_100(view: View, _: Rule) -> Iterator[Check]:
    """Looks at completed tasks."""
    wanted = view.contract.completed_progress
    for _task, sighting in view.sightings:
        if sighting.status == "completed":
            yield check(sighting.progress == wanted, wanted, quoted(sighting.progress), sighting)


@judge("SL-09")
def results_only_completed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks that are not over."""
    for _task, sighting in view.sightings:
        if not sighting.terminal and sighting.stage is not None:
            results = sighting.body.get("results", MISSING)
            yield check(results is MISSING, "no results", _show(results), sighting)


def _show(value: Any) -> str:
    return "none" if value is MISSING else quoted(value)


@judge("SL-10")
def completed_has_results(view: View, _: Rule) -> Iterator[Check]:
    """Looks at completed tasks shown in full, while their links live."""
    for task, sighting in view.sightings:
        young = sighting.event.ended_at < task.ended_after + view.contract.link_lifetime
        other = view.contract.other(sighting.body)
        if other is not None and other.output.medium != "video":
            continue  # SM-08
        if sighting.status == "completed" and sighting.full and young:
            results = sighting.body.get("results", MISSING)
            fine = isinstance(results, list) and results and all(isinstance(link, str) for link in results)
            yield check(fine, "at least one URL in results", _show(results), sighting)


@judge("SL-11")
def failed_has_no_results(view: View, _: Rule) -> Iterator[Check]:
    """Looks at failed tasks; an empty list or null is no result."""
    for _task, sighting in view.sightings:
        if sighting.status == "failed":
            results = sighting.body.get("results")
            yield check(not results, "no results", quoted(results), sighting)


@judge("SL-12")
def failed_has_error(view: View, _: Rule) -> Iterator[Check]:
    """Looks at failed tasks shown in full."""
    for _task, sighting in view.sightings:
        if sighting.status == "failed" and sighting.full:
            error = object_in(sighting.body, "error")
            both = isinstance(error.get("code"), str) and isinstance(error.get("message"), str)
            yield check(both, "error.code and error.message, strings", quoted(sighting.body.get("error")), sighting)


@judge("SL-13")
def error_code_known(view: View, _: Rule) -> Iterator[Check]:
    """Looks at failed tasks that give a code."""
    for _task, sighting in view.sightings:
        code = member(sighting.body, "error", "code")
        if sighting.status == "failed" and isinstance(code, str):
            yield check(code in view.contract.task_errors, "a documented task error code", code, sighting)


@judge("SL-14")
def error_only_failed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks that are not failed; null is no error."""
    for _task, sighting in view.sightings:
        if sighting.stage is not None and sighting.status != "failed":
            error = sighting.body.get("error")
            yield check(error is None, "no error", quoted(error), sighting)


@judge("SL-15")
def identity_stays(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every sighting of a task, callbacks included, against the first."""
    for task in view.tasks.values():
        first = task.sightings[0]
        for sighting in task.sightings[1:]:
            both = [name for name in IDENTITY if name in first.body and name in sighting.body]
            seen = changed(both, first.body, sighting.body)
            yield check(not seen, "the same " + ", ".join(IDENTITY), seen, first, sighting)


def changed(names: Iterable[str], one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Those of the members *names* in which two tasks differ, with both values; empty where they are alike."""
    return ", ".join(
        f"{name} {quoted(one[name])} then {quoted(other[name])}" for name in names if one[name] != other[name]
    )


@judge("SL-16")
def unknown_ids(view: View, _: Rule) -> Iterator[Check]:
    """Looks at queries of ids that cannot be any, and of ids that the driver made up."""
    for call in view.calls:
        answered = call.status not in (0, 401, 402, 429) and not call.faulty and call.shown
        if call.name != "getTask" or call.operation not in call.routes or not answered:
            continue
        malformed = not view.contract.task_id_pattern.search(call.path.rpartition("/")[2])
        if malformed or call.probe.expect is Expect.NO_SUCH_TASK:
            wanted = 400 if malformed else 404
            shaped = call.got is not MISSING and not view.contract.flaws("Error", call.got)
            seen = f"{call.status}{'' if shaped else ', not the documented error'}"
            yield check(call.status == wanted and shaped, f"{wanted} and an error object", seen, call)


@judge("SL-17")
def liveness(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at tasks that ended, and at tasks still seen alive long after their create."""
    limit = rule.params["seconds"]
    for task in view.tasks.values():
        if task.create is None or task.probe.endless or not task.reads:
            continue
        last = task.reads[-1]
        age = last.event.earliest - task.create.event.ended_at
        if task.end is not None or age > limit:
            seen = f"{last.status} after {age:.0f} s"
            yield check(task.end is not None, f"an end within {limit} s", seen, task.create, last)


@judge("SL-18")
def same_moment(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at two queries within a second of the account's clock, one surely after the other."""
    for task in view.tasks.values():
        for earlier, later in pairwise(task.reads):
            near = later.event.at - earlier.event.at <= rule.params["seconds"]
            if not near or not earlier.before(later) or earlier.stage is None or later.stage is None:
                continue
            ahead = (earlier.stage, earlier.progress) if not later.terminal else (earlier.stage, 0)
            behind = (later.stage, later.progress) if not later.terminal else (later.stage, 0)
            if is_number(ahead[1]) and is_number(behind[1]):
                yield check(behind >= ahead, "not behind the query before it", _step(earlier, later), earlier, later)


@judge("SL-19")
def over_cannot_cancel(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks that are over and have the member."""
    for _task, sighting in view.sightings:
        info = object_in(sighting.body, "task_info")
        if sighting.terminal and "can_cancel" in info:
            yield check(info["can_cancel"] is False, "can_cancel false", quoted(info["can_cancel"]), sighting)


COUNTERS = ("estimated_time",)
"""Members of task_info that count by themselves."""


def masked(view: View, body: dict[str, Any]) -> dict[str, Any]:
    """The documented members of a task, without counters and without the query strings of links."""
    kept = {name: body[name] for name in view.contract.task_documented if name in body}
    if isinstance(kept.get("task_info"), dict):
        kept["task_info"] = {name: value for name, value in kept["task_info"].items() if name not in COUNTERS}
    return {name: _unsigned(value) for name, value in kept.items()}


def _unsigned(value: Any) -> Any:
    if isinstance(value, list):
        return [_unsigned(item) for item in value]
    if isinstance(value, dict):
        return {name: _unsigned(item) for name, item in value.items()}
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return parts_of(value)._replace(query="", fragment="").geturl()
    return value


def differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The members in which two tasks differ, with both values; empty when they are equal."""
    names = [name for name in dict.fromkeys((*one, *other)) if one.get(name, MISSING) != other.get(name, MISSING)]
    return "; ".join(f"{n}: {_show(one.get(n, MISSING))} then {_show(other.get(n, MISSING))}"[:200] for n in names)


@judge("SL-20")
def reading_changes_nothing(view: View, _: Rule) -> Iterator[Check]:
    """Looks at queries that follow each other after the end, or while the account's clock stands still."""
    for task in view.tasks.values():
        for earlier, later in pairwise(task.reads):
            still = view.exact(later.event.seq, task.who) and earlier.event.earliest == later.event.ended_at
            young = later.event.ended_at < task.ended_after + view.contract.link_lifetime
            paced = task.probe.read_paced or task.noted(Topic.CANCELLED) is not None
            if earlier.before(later) and ((still and not paced) or (earlier.terminal and later.terminal and young)):
                difference = differing(masked(view, earlier.body), masked(view, later.body))
                yield check(not difference, "the same answer", difference, earlier, later)


@judge("SL-21")
def duration_said(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what tasks of the document's own model say of the video's duration, from the create to the end."""
    for task in view.tasks.values():
        if task.create is None or view.contract.other(task.create.sent) is not None:
            continue
        asked = task.create.asked(rule.params["field"])
        wanted = view.contract.duration_default if asked is MISSING else asked
        for sighting in task.sightings:
            info = object_in(sighting.body, "task_info")
            if "video_duration" in info:
                said = info["video_duration"]
                yield check(said == wanted, f"task_info.video_duration {quoted(wanted)}", quoted(said), sighting)


@judge("SL-22")
def cancelled_is_failed(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the end of tasks that the kit had cancelled before they were seen to be over."""
    code = rule.params["code"]
    for task in view.tasks.values():
        note = task.noted(Topic.CANCELLED)
        last = next((sighting for sighting in reversed(task.reads) if note and sighting.event.seq > note.seq), None)
        if last is not None and note is not None and not _over_before(task, note):
            seen = member(last.body, "error", "code")
            fine = last.status == "failed" and seen == code
            yield check(fine, f"failed with {code}", f"{last.status} {seen or ''}", note, last)


def _over_before(task: TaskRecord, note: Note) -> bool:
    """Whether the task was seen to be over when the kit asked for its end; then that is what it stays."""
    return task.end is not None and task.end.event.seq < note.seq


@judge("SL-23")
def one_schema(view: View, _: Rule) -> Iterator[Check]:
    """Looks at create answers, queries and callbacks of one task; what all of them have wrong alike is SS-01's."""
    for task in view.tasks.values():
        first: dict[str, Sighting] = {}
        for sighting in task.sightings:
            if sighting.full:
                first.setdefault(sighting.source, sighting)
        wrong = {source: _wrong(view, sighting) for source, sighting in first.items()}
        alike = set.intersection(*map(set, wrong.values())) if len(wrong) > 1 else set()
        for number, (source, sighting) in enumerate(first.items()):
            if number or source == "callback":
                missing = [f"no {name}" for name in view.contract.task_members if name not in sighting.body]
                seen = "; ".join([*missing, *(said for place, said in wrong[source].items() if place not in alike)])
                yield check(not seen, "the one task schema", seen, sighting)


def _wrong(view: View, sighting: Sighting) -> dict[tuple[str | int, ...], str]:
    """Where a task has a member of another type or value than the schema, and how."""
    flaws = [flaw for name in sighting.body for flaw in view.contract.member_flaws(name, sighting.body[name])]
    return {(*flaw.path, flaw.keyword): str(flaw) for flaw in flaws if flaw.keyword in ("type", "const", "enum")}
