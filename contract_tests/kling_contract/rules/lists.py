"""Judges of lists (ST): order, filters, pages, rows, and several tasks at once."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

from kling_common.members import is_whole, object_in
from kling_contract.history.labels import Topic
from kling_contract.reading.addresses import parts_of
from kling_contract.reading.view import Call, Sighting, TaskRecord, View, once
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule

CANCELLED = "cancelled"
"""A filter, not a status: tasks that were cancelled are shown as failed."""
_FILTERS = frozenset({"status", "type", "model"})
_NOT_THERE = frozenset({0, 401, 403, 404, 405, 429, 501})
"""Answers that say nothing of a list: a server need not have it."""


def _asked(call: Call) -> dict[str, str]:
    """The query of a list, each name once."""
    return {name: values[-1] for name, values in parse_qs(parts_of(call.event.url).query).items()}


@once
def _lists(view: View) -> Iterator[Call]:
    return (call for call in view.calls if call.name == "listTasks" and not call.faulty)


def _created(view: View, row: dict[str, Any]) -> int | None:
    """When the task of a row was made, as the row says, else as its create did."""
    task = view.tasks.get(row["id"])
    made = task.create.body.get("created") if task and task.create else None
    return next((value for value in (row.get("created_at"), row.get("created"), made) if is_whole(value)), None)


@judge("ST-01")
def newest_first(view: View, _: Rule) -> Iterator[Check]:
    """Looks at neighbours in accepted lists; of a query that the contract does not name, nothing is known."""
    for call in _lists(view):
        known = call.accepted and not set(_asked(call)) - _FILTERS - {"page", "page_size"}
        for one, other in pairwise(call.rows if known else []):
            newer, older = _created(view, one), _created(view, other)
            if newer is not None and older is not None:
                yield check(newer >= older, f"created at {newer} or before", str(older), call)


def _fits(view: View, row: dict[str, Any], name: str, wanted: str) -> bool:
    """Whether a row is one that the filter *name* lists."""
    if name != "status":
        return row.get(name) in (wanted, None)
    status = row["status"]
    if wanted == CANCELLED:
        task = view.tasks.get(row["id"])
        ended = task is not None and task.end is not None and task.noted(Topic.CANCELLED) is None
        return status == CANCELLED or (status == "failed" and not ended)
    return status in view.contract.live if wanted == "processing" else status == wanted


@judge("ST-02")
def filters_filter(view: View, _: Rule) -> Iterator[Check]:
    """Looks at lists that the kit narrowed, and at the whole list that it read just before."""
    whole: dict[str, Call] = {}
    for call in _lists(view):
        asked = _asked(call)
        filters = {name: value for name, value in asked.items() if name in _FILTERS}
        if not call.probe.group or call.status in _NOT_THERE:
            continue
        if not filters:
            whole.setdefault(call.probe.group, call)
            continue
        said = ", ".join(f"{name} {value}" for name, value in filters.items())
        if not call.accepted:
            yield check(False, f"200 for {said}", call.status, call)
            continue
        wrong = [row for row in call.rows for name, value in filters.items() if not _fits(view, row, name, value)]
        seen = ", ".join(f"{row['id']} ({quoted(row['status'])})" for row in wrong[:3])
        yield check(not wrong, f"nothing but {said}", seen, call)
        if call.probe.group in whole and CANCELLED not in filters.values():
            yield from _complete(view, whole[call.probe.group], call, filters)


def _complete(view: View, whole: Call, call: Call, filters: dict[str, str]) -> Iterator[Check]:
    """Whether a narrowed list has every row of the whole one that fits, which it shares a moment and a page with."""
    if not view.exact(call.event.seq, call.event.who) or whole.event.earliest != call.event.ended_at:
        return
    listed = {row["id"] for row in call.rows}
    fitting = [row for row in whole.rows if all(_fits(view, row, name, value) for name, value in filters.items())]
    missing = [row["id"] for row in fitting if row["id"] not in listed]
    yield check(not missing, "every task that fits", f"without {', '.join(missing[:3])}", whole, call)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


@judge("ST-03")
def pages_add_up(view: View, _: Rule) -> Iterator[Check]:
    """Looks at pages of a list of the kit's, and at the whole list that it read just before."""
    whole: dict[str, Call] = {}
    for call in _lists(view):
        asked = _asked(call)
        page, size = _number(asked.get("page")), _number(asked.get("page_size"))
        if not call.probe.group or call.status in _NOT_THERE or asked.keys() & _FILTERS:
            continue
        if page is None or size is None:
            whole.setdefault(call.probe.group, call)
            total, rows = _total(call), len(call.rows)
            if total is not None and call.accepted:
                yield check(total >= rows, f"a total of {rows} or more", str(total), call)
                if rows < (_echoed(call, "page_size") or 0) and _echoed(call, "page") == 1:
                    yield check(total == rows, f"a total of {rows}, on a page that is not full", str(total), call)
        elif call.probe.group in whole:
            yield from _one_page(whole[call.probe.group], call, page, size)


def _one_page(whole: Call, call: Call, page: int, size: int) -> Iterator[Check]:
    if not call.accepted:
        yield check(False, f"200 for page {page} of {size}", call.status, call)
        return
    ids, got = [row["id"] for row in whole.rows], [row["id"] for row in call.rows]
    wanted = ids[(page - 1) * size : page * size]
    known = page * size <= len(ids) or _total(whole) == len(ids)
    seen = f"{', '.join(got[:3]) or 'no rows'} ({len(got)})"
    if known:
        yield check(
            got == wanted, f"page {page}: {', '.join(wanted[:3]) or 'no rows'} ({len(wanted)})", seen, whole, call
        )
    yield check(len(got) <= size, f"at most {size} rows", seen, call)
    if _total(whole) is not None and _total(call) is not None:
        yield check(_total(call) == _total(whole), f"a total of {_total(whole)}", str(_total(call)), whole, call)
    for name, asked in (("page", page), ("page_size", size)):
        echoed = call.body.get(name)
        if echoed is not None:
            yield check(echoed == asked, f"{name} {asked}", quoted(echoed), call)


def _echoed(call: Call, name: str) -> int | None:
    """A number that a list says of itself."""
    said = call.body.get(name)
    return said if is_whole(said) else None


def _total(call: Call) -> int | None:
    return _echoed(call, "total")


@judge("ST-04")
def rows_have_no_links(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every row of a list."""
    for call in _lists(view):
        for row in call.rows if call.accepted else []:
            links = row.get("results") or row.get("result_data")
            yield check(not links, "no links", quoted(links), call)


@judge("ST-05")
def rows_agree(view: View, _: Rule) -> Iterator[Check]:
    """Looks at rows and at queries of the same task at a moment of a clock that stands still, or after its end."""
    for task in view.tasks.values():
        for row in (s for s in task.sightings if s.source == "list" and s.event.case):
            read = next((s for s in task.reads if _same_moment(view, task, row, s)), None)
            if read is not None:
                difference = "; ".join(_differing(row.body, read.body))
                yield check(not difference, "what a query says", difference, row, read)


def _same_moment(view: View, task: TaskRecord, row: Sighting, read: Sighting) -> bool:
    if row.terminal and read.terminal:
        return True
    still = view.exact(read.event.seq, task.who) and view.exact(row.event.seq, task.who)
    moments = {row.event.earliest, row.event.ended_at, read.event.earliest, read.event.ended_at}
    return still and len(moments) == 1 and task.noted(Topic.CANCELLED) is None and not task.probe.read_paced


def _differing(row: dict[str, Any], body: dict[str, Any]) -> Iterator[str]:
    """Where a row and a task differ in what both say."""
    usage = object_in(body, "usage")
    facts = {
        **{name: body.get(name) for name in ("status", "type", "model", "progress")},
        "created_at": body.get("created"),
        "has_results": bool(body.get("results")),
        "has_error": bool(body.get("error")),
        **({"credits_used": usage["credits_used"]} if "credits_used" in usage else {}),
    }
    for name, value in facts.items():
        if name in row and value is not None and row[name] != value:
            yield f"{name} {quoted(row[name])}, and {quoted(value)}"


@once
def _batches(view: View) -> Iterator[tuple[Call, list[str]]]:
    """The batches of the kit, and the ids that they ask for; a refusal says nothing where none was ever answered."""
    there = any(call.accepted for call in view.calls if call.name == "batchTasks")
    silent = _NOT_THERE - {403, 404} if there else _NOT_THERE
    for call in view.calls:
        ids = call.asked("task_ids") if call.name == "batchTasks" and call.by_kit else None
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            continue
        if call.event.who and not call.faulty and call.status not in silent:
            yield call, list(ids)


@judge("ST-06")
def batch_has_its_tasks(view: View, _: Rule) -> Iterator[Check]:
    """Looks at batches within the limit: the account's own tasks, each once, and nothing that was not asked for."""
    for call, ids in _batches(view):
        if not ids or len(ids) > view.contract.batch_max:
            continue
        if not call.accepted:
            yield check(False, f"200 for {len(ids)} ids", call.status, call)
            continue
        got = [row["id"] for row in call.rows]
        own = [each for each in dict.fromkeys(ids) if _is_own(view, call, each)]
        missing = [each for each in own if each not in got]
        extra = [each for number, each in enumerate(got) if each not in ids or each in got[:number]]
        seen = "; ".join(
            f"{word} {', '.join(found[:3])}" for word, found in (("without", missing), ("and also", extra)) if found
        )
        yield check(not seen, f"{len(own)} tasks, each once", seen, call)


def _is_own(view: View, call: Call, task_id: str) -> bool:
    """Whether a task is surely the account's and surely still there."""
    task = view.tasks.get(task_id)
    if task is None or task.create is None or task.who != call.event.who:
        return False
    made = task.create.event
    return made.ended_mono <= call.event.mono and call.event.ended_at - made.earliest < view.contract.link_lifetime


@judge("ST-07")
def batch_has_a_limit(view: View, _: Rule) -> Iterator[Check]:
    """Looks at batches of more ids than the limit."""
    for call, ids in _batches(view):
        if len(ids) > view.contract.batch_max:
            yield check(call.status == 400, f"400 for {len(ids)} ids", call.status, call)
