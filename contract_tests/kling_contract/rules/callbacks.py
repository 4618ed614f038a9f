"""Judges of the callback (SC): whether it comes, when (no retry early: SC-08, `retries_not_early`), how often, with what body."""

from collections.abc import Iterable, Iterator

from kling_common.masking import TOKEN, header
from kling_contract.history.labels import Receiver, Topic, When
from kling_contract.reading.addresses import parts_of
from kling_contract.reading.ledger import readings
from kling_contract.reading.records import media_type
from kling_contract.reading.view import MISSING, Attempt, Call, TaskRecord, View, is_task
from kling_contract.rules.attempts import (
    called,
    doubtful,
    ended,
    ended_earliest,
    following,
    gaps,
    owed,
    succeeded,
    timed_out,
    timeout,
    took,
)
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.lifecycle import differing, masked
from kling_contract.rules.rulebook import Rule

HALF = 0.5
"""A receiver that took this share of the timeout was slow enough to show whether it is waited for."""


def _told(tasks: Iterable[TaskRecord]) -> Iterator[Check]:
    """A check for each of *tasks*, but for receivers that only fail, and for those not there at first (SC-22)."""
    for task in tasks:
        if task.probe.receiver is Receiver.REFUSED_FIRST:
            continue
        willing = not task.attempts or any(attempt.delivered for attempt in task.attempts)
        if willing:
            shown = [*task.attempts[:1], task.end]
            yield check(task.attempts, "one delivered callback", f"{len(task.attempts)} attempts", task.create, *shown)


def _cancelled(task: TaskRecord) -> bool:
    return task.noted(Topic.CANCELLED) is not None


def _ended(task: TaskRecord, status: str) -> bool:
    return task.end is not None and task.end.status == status


@judge("SC-01")
def told_of_completion(view: View, _: Rule) -> Iterator[Check]:
    """Looks at completed tasks that were watched."""
    yield from _told(task for task in owed(view) if _ended(task, "completed"))


@judge("SC-02")
def told_of_failure(view: View, _: Rule) -> Iterator[Check]:
    """Looks at failed tasks that were watched."""
    yield from _told(task for task in owed(view) if _ended(task, "failed") and not _cancelled(task))


@judge("SC-03")
def not_before_end(view: View, _: Rule) -> Iterator[Check]:
    """Looks at each callback's own status, and at queries that began after it arrived."""
    for task, attempt in called(view):
        if is_task(attempt.body):
            status = attempt.body["status"]
            yield check(status in view.contract.terminal, "the status of an end", quoted(status), attempt)
        later = next((read for read in task.reads if read.event.mono > attempt.event.mono), None)
        if later is not None:
            yield check(later.terminal, "a query that shows the end", f"{later.status} after it", attempt, later)


@judge("SC-04")
def posted_as_json(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every attempt."""
    for attempt in view.callbacks:
        if not attempt.event.request.headers:
            continue
        kind = media_type(attempt.event.request.headers)
        fine = attempt.event.method == "POST" and kind == "application/json"
        yield check(fine, "POST, application/json", f"{attempt.event.method}, {kind or 'no Content-Type'}", attempt)


@judge("SC-05")
def body_is_the_task(view: View, _: Rule) -> Iterator[Check]:
    """Looks at each task's callbacks and the first query after them, while links live."""
    for task, attempt in called(view):
        later = next((read for read in task.reads if read.event.mono > attempt.event.mono), None)
        if later is None or later.event.ended_at >= task.ended_after + view.contract.link_lifetime:
            continue
        if attempt.event.request.body.unseen:
            continue
        if not isinstance(attempt.body, dict):
            yield check(False, "the task's JSON", "no JSON object", attempt)
            continue
        difference = differing(masked(view, attempt.body), masked(view, later.body))
        yield check(not difference, "the body of a query after it", difference, attempt, later)


@judge("SC-06")
def once_delivered_is_over(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what follows an attempt that was answered 200."""
    for task, attempt, after in following(view):
        if attempt.answered == 200 and _surely(view, task, attempt, after):
            yield check(not after, "nothing after a 200", f"{len(after)} more", attempt, *after[:1])


def _surely(view: View, task: TaskRecord, attempt: Attempt, after: list[Attempt]) -> bool:
    """Whether the attempt surely succeeded and it is known what followed."""
    known = bool(after) or task.settled
    return known and succeeded(view, task, attempt) and not doubtful(view, task, attempt)


@judge("SC-07")
def retries_are_bounded(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks whose first attempt failed."""
    most = len(view.contract.retry_delays)
    for task, attempt, after in following(view):
        if attempt is task.attempts[0] and not succeeded(view, task, attempt) and (after or task.settled):
            extra = after[most : most + 1]
            yield check(len(after) <= most, f"at most {most} more attempts", f"{len(after)} more", attempt, *extra)


@judge("SC-08")
def retries_not_early(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the longest that each wait may have been, less a rounding; a timed-out attempt has its noise besides."""
    for task, earlier, later, delay in gaps(view):
        longest = later.event.at - ended_earliest(view, earlier)
        exact = view.exact(later.event.seq, task.who)
        slack = 1e-6 if exact else rule.params["seconds"] * view.rate(later.event.seq, task.who)
        if timed_out(view, task, earlier):
            slack += view.noise(later.event.seq, task.who)
        yield check(longest >= delay - slack, f"{delay:g} s or more", f"{longest:.3f} s", earlier, later)


@judge("SC-09")
def retries_not_late(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the shortest that each wait may have been; a real clock's machine may have been busy, so it has a second besides."""
    for task, earlier, later, delay in gaps(view):
        busy = 0.0 if view.exact(later.event.seq, task.who) else rule.params["busy"]
        spare = view.noise(later.event.seq, task.who) + busy * view.rate(later.event.seq, task.who)
        most = rule.params["times"] * delay + spare
        shortest = later.earliest - ended(view, earlier)
        yield check(shortest <= most + 1e-6, f"{most:g} s or less", f"{shortest:.3f} s", earlier, later)


@judge("SC-24")
def retries_exactly_on_time(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the shortest that each wait may have been where the clock stood still; timeouts are real time."""
    for task, earlier, later, delay in gaps(view):
        if view.exact(later.event.seq, task.who) and not timed_out(view, task, earlier):
            shortest = later.earliest - ended(view, earlier)
            yield check(shortest <= delay + 1e-6, f"{delay:g} s, no more", f"{shortest:.3f} s", earlier, later)


@judge("SC-10")
def slow_receiver_waited_for(view: View, _: Rule) -> Iterator[Check]:
    """Looks at attempts answered 2xx in the second half of the timeout, and at senders that left within it."""
    for task, attempt, after in following(view):
        limit = timeout(view, task, attempt)
        if doubtful(view, task, attempt) or timed_out(view, task, attempt):
            continue
        if attempt.event.ended == "gone" and is_task(attempt.body):
            yield check(False, f"{limit:g} s of patience", f"gone after {took(attempt):.2f} s", attempt)
        elif took(attempt) >= HALF * limit and attempt.delivered and (after or task.settled):
            seen = f"{len(after)} more attempts"
            yield check(not after, f"an answer after {took(attempt):.2f} s counts", seen, attempt, *after[:1])


@judge("SC-11")
def too_slow_is_failure(view: View, _: Rule) -> Iterator[Check]:
    """Looks at attempts that took longer than the timeout, while retries are left."""
    for task, attempt, after in following(view):
        if timed_out(view, task, attempt) and not doubtful(view, task, attempt) and _may_retry(view, task, attempt):
            yield check(after, "another attempt", f"none after {took(attempt):.2f} s", attempt, *after[:1])


def _may_retry(view: View, task: TaskRecord, attempt: Attempt) -> bool:
    place = task.attempts.index(attempt) + (task.probe.receiver is Receiver.REFUSED_FIRST)
    return task.settled and place < len(view.contract.retry_delays)


@judge("SC-12")
def redirects_not_followed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at whether anything arrived where a redirect pointed."""
    every = [attempt.event for attempt in (*view.callbacks, *view.followed)]
    for task, attempt in called(view):
        location = header(attempt.event.answer.headers, "location") if attempt.event.answer else None
        if location and 300 <= attempt.answered < 400:
            target = parts_of(location)
            followed = [event for event in every if _same(event.url, target.path, target.query)]
            if followed or task.settled:
                yield check(
                    not followed, "no request to the new place", f"{len(followed)} there", attempt, *followed[:1]
                )


def _same(url: str, path: str, query: str) -> bool:
    parts = parts_of(url)
    return (parts.path or "/", parts.query) == (path or "/", query)


@judge("SC-13")
def attempts_alike(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks with several attempts; the JSON counts, not its spelling."""
    for task in view.tasks.values():
        first = task.attempts[0] if task.attempts else None
        for attempt in task.attempts[1:]:
            if first is not None and isinstance(first.body, dict) and isinstance(attempt.body, dict):
                difference = differing(masked(view, first.body), masked(view, attempt.body))
                yield check(not difference, "the same body", difference, first, attempt)
            elif first is not None and not (first.event.request.body.unseen or attempt.event.request.body.unseen):
                same = first.event.request.body.sha256 == attempt.event.request.body.sha256
                yield check(same, "the same body", "other bytes", first, attempt)


@judge("SC-14")
def no_key_in_callback(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every attempt's headers, URL and body."""
    keys = set(view.whos)
    for attempt in view.callbacks:
        request = attempt.event.request
        authorization = header(request.headers, "authorization")
        everything = " ".join((attempt.event.url, request.body.text or "", *(value for _, value in request.headers)))
        leaked = [token for token in TOKEN.findall(everything) if token in keys]
        seen = f"Authorization: {authorization}" if authorization else ", ".join(leaked)
        yield check(not authorization and not leaked, "no key and no Authorization", seen, attempt)


@judge("SC-15")
def url_as_given(view: View, _: Rule) -> Iterator[Check]:
    """Looks at attempts for tasks whose registered URL is known; relays change the origin, so path and query count."""
    for task, attempt in called(view):
        if task.callback_url:
            wanted, got = parts_of(task.callback_url), parts_of(attempt.event.url)
            same = _same(attempt.event.url, wanted.path, wanted.query)
            same &= wanted.hostname != got.hostname or _port(task.callback_url) == _port(attempt.event.url)
            yield check(same, task.callback_url, attempt.event.url, task.create, attempt)


def _port(url: str) -> int:
    parts = parts_of(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


@judge("SC-16")
def rebound_name_not_called(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks whose callback host leads to a private address at delivery time."""
    for task in view.tasks.values():
        if task.probe.receiver is Receiver.REBINDS and (task.settled or task.uncalled_for):
            seen = f"{len(task.uncalled_for)} attempts"
            yield check(not task.uncalled_for, "no attempt", seen, task.create, *task.uncalled_for[:1])


@judge("SC-17")
def no_callback_unasked(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks made without callback_url."""
    for task in view.tasks.values():
        asked = task.create.asked("callback_url") if task.create else None
        if asked is MISSING and (task.settled or task.attempts):
            seen = f"{len(task.attempts)} attempts"
            yield check(not task.attempts, "no outgoing request", seen, task.create, *task.attempts[:1])


@judge("SC-18")
def failing_receiver_changes_nothing(view: View, _: Rule) -> Iterator[Check]:
    """Looks at queries after a failed attempt: status and usage are those of the end before it."""
    for task in view.tasks.values():
        failed = next((attempt for attempt in task.attempts if not succeeded(view, task, attempt)), None)
        if failed is None or not is_task(failed.body):
            continue
        earlier = next((r for r in task.reads if r.terminal and r.event.ended_mono <= failed.event.mono), None)
        body = earlier.body if earlier else failed.body
        for later in task.reads:
            if later.event.mono > failed.event.ended_mono:
                seen = differing(_fate(body), _fate(later.body))
                yield check(not seen, "the same status and usage", seen, earlier, failed, later)


def _fate(body: dict[str, object]) -> dict[str, object]:
    return {name: body.get(name) for name in ("status", "usage")}


@judge("SC-19")
def settled_before_told(view: View, _: Rule) -> Iterator[Check]:
    """Looks at credits read while a callback was being received, and at the next reading that nothing can have moved."""
    everything = readings(view)
    for reading in (reading for reading in everything if reading.when is When.ON_RECEIPT):
        after = [r for r in everything if r.who == reading.who and r.began >= reading.ended and r.seq != reading.seq]
        known = [r for r in after if not _others_move(view, reading.who, reading.task_id, reading.began, r.ended)]
        if known:
            final = known[-1]
            expected = f"{final.remaining:g} credits"
            yield check(final.remaining == reading.remaining, expected, f"{reading.remaining:g}", reading, final)


def _others_move(view: View, who: str, task_id: str, began: float, ended_mono: float) -> bool:
    """Whether another task of the account was made or was under way in that stretch of wall seconds."""
    return any(
        task.create is not None
        and task.create.event.mono < ended_mono
        and (task.end is None or task.end.event.ended_mono > began)
        for task in view.tasks.values()
        if task.who == who and task.id != task_id
    )


@judge("SC-20")
def told_of_cancel(view: View, _: Rule) -> Iterator[Check]:
    """Looks at cancelled tasks that were watched."""
    yield from _told(task for task in owed(view) if _cancelled(task))


@judge("SC-21")
def every_2xx_counts(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what follows an attempt that was answered with another 2xx than 200."""
    for task, attempt, after in following(view):
        if attempt.answered != 200 and _surely(view, task, attempt, after):
            seen = f"{len(after)} more"
            yield check(not after, f"nothing after a {attempt.answered}", seen, attempt, *after[:1])


@judge("SC-22")
def failures_are_retried(view: View, _: Rule) -> Iterator[Check]:
    """Looks at attempts that failed in time, while retries are left; a refused first attempt shows by a second one."""
    for task, attempt, after in following(view):
        failed = not attempt.delivered and not timed_out(view, task, attempt)
        if failed and _may_retry(view, task, attempt):
            what = f"{attempt.answered}" if attempt.answered else f"a connection that was {attempt.event.ended}"
            yield check(after, f"another attempt after {what}", "none", attempt, *after[:1])
    for task in owed(view):
        if task.probe.receiver is Receiver.REFUSED_FIRST:
            seen = f"{len(task.attempts)} attempts"
            yield check(task.attempts, "an attempt after a refused one", seen, task.create, *task.attempts[:1])


@judge("SC-23")
def silence_after_last(view: View, _: Rule) -> Iterator[Check]:
    """Looks at tasks with as many failures as there may be attempts, and at the next query of each."""
    most = len(view.contract.retry_delays) + 1
    for task, attempt, after in following(view):
        first = task.attempts[:most]
        if len(first) < most or attempt is not first[-1] or any(succeeded(view, task, each) for each in first):
            continue
        yield check(not after, f"nothing after {most} failures", f"{len(after)} more", attempt, *after[:1])
        read = next((call for call in task.queries if _after(call, attempt)), None)
        if read is not None:
            yield check(read.status == 200, "the task can be queried", read.status, attempt, read)


def _after(call: Call, attempt: Attempt) -> bool:
    """Whether *call* was answered and began after *attempt* was over."""
    return call.status != 0 and call.event.mono > attempt.event.ended_mono
