"""Judges of the links (SK): that they work, for how long, and what they give.

When a task was completed is known only between its last living sighting and the first one of its end, so a link must
work until the lifetime after the former and must be dead after the latter.
"""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

from kling_common.masking import header
from kling_common.members import is_number
from kling_contract.history.events import Download
from kling_contract.reading.addresses import is_loopback, parts_of, split
from kling_contract.reading.records import media_type
from kling_contract.reading.view import MISSING, Sighting, TaskRecord, View, links_of, once
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule

HALF = 0.5
"""From this share of its life on, a link's age is what SK-04 is about; before, SK-02."""


@once
def fetched(view: View) -> Iterator[tuple[TaskRecord, Download]]:
    """Every download of a result link and its task."""
    return ((task, download) for task in view.tasks.values() for download in task.downloads)


def least_age(task: TaskRecord, download: Download) -> float:
    """Seconds (account's clock) that the link was old at the least."""
    return download.earliest - task.ended_by


def greatest_age(task: TaskRecord, download: Download) -> float:
    """Seconds (account's clock) that the link was old at the most."""
    return download.ended_at - task.ended_after


def alive(view: View, task: TaskRecord, download: Download, margin: float = 1.0) -> bool:
    """Whether the link must still work, with *margin* seconds to spare."""
    return greatest_age(task, download) <= view.contract.link_lifetime - margin + 1e-6


def dead(view: View, task: TaskRecord, download: Download, grace: float) -> bool:
    """Whether the link must be dead; a real clock has *grace*."""
    exact = view.exact(download.seq, task.who)
    return least_age(task, download) >= view.contract.link_lifetime + (0 if exact else grace) - 1e-6


def whole(download: Download) -> bool:
    """Whether it was asked for in full and arrived in full."""
    return not download.asked_range and not download.lost and download.status is not None


def _outcome(download: Download) -> str:
    return download.lost or f"{download.status} {header(download.headers, 'content-type') or ''}"


@judge("SK-01")
def absolute_https(view: View, _: Rule) -> Iterator[Check]:
    """Looks at each entry of results once a sighting of completion."""
    for _task, sighting in view.sightings:
        results = sighting.body.get("results")
        for link in results if sighting.status == "completed" and isinstance(results, list) else ():
            parts = split(link) if isinstance(link, str) else None
            host = parts.hostname if parts else None
            fine = parts and host and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
            yield check(fine, "an absolute https URL", quoted(link), sighting)


_NOT_WHOLE = frozenset({None, 0, 206, 304})


@judge("SK-02")
def link_gives_video(view: View, _: Rule) -> Iterator[Check]:
    """Looks at whole downloads in the first half of a link's life; a 401 is SK-03's.

    What a recording shows of an aborted download, of a part, or of what the client had already, says nothing of the link.
    """
    for task, download in fetched(view):
        if not download.case and (download.lost or download.status in _NOT_WHOLE):
            continue
        young = least_age(task, download) < HALF * view.contract.link_lifetime
        if young and alive(view, task, download) and not download.asked_range and download.status != 401:
            kind = media_type(download.headers)
            if whole(download) and download.status == 200 and not download.headers:
                continue
            fine = whole(download) and download.status == 200 and kind == view.contract.link_type
            yield check(fine, f"200 {view.contract.link_type}", _outcome(download), download)
            if fine and download.video is not None:
                yield check(not download.video.error, "a video that a decoder opens", download.video.error, download)


@judge("SK-03")
def link_needs_no_key(view: View, _: Rule) -> Iterator[Check]:
    """Looks at downloads without a key in the first half of a link's life."""
    for task, download in fetched(view):
        young = least_age(task, download) < HALF * view.contract.link_lifetime
        if not download.who and not download.lost and young and alive(view, task, download):
            yield check(download.status not in (401, 403), "no key asked for", _outcome(download), download)


@judge("SK-04")
def link_lives(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at downloads late in a link's life, up to a second before its end; one that always asks for a key is SK-03's."""
    for task, download in fetched(view):
        old = least_age(task, download) >= HALF * view.contract.link_lifetime
        if old and not _locked(view, task, download) and alive(view, task, download, rule.params["seconds"]):
            fine = download.status in (200, 206) and not download.lost
            seen = f"{_outcome(download)} after {greatest_age(task, download):.0f} s"
            yield check(fine, "200", seen, task.end, download)


def _locked(view: View, task: TaskRecord, download: Download) -> bool:
    """Whether a 401 is the answer that the link gave from its first half of life on."""
    young = (
        d for d in task.downloads if d.url == download.url and least_age(task, d) < HALF * view.contract.link_lifetime
    )
    return download.status == 401 and any(each.status == 401 for each in young)


@judge("SK-05")
def link_dies(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at downloads after a link's end."""
    for task, download in fetched(view):
        if dead(view, task, download, rule.params["grace"]) and download.status is not None:
            seen = f"{_outcome(download)} after {least_age(task, download):.0f} s"
            yield check(not 200 <= download.status < 300, "no longer 200", seen, task.end, download)


@judge("SK-06")
def expired_answer(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at how a dead link answers; that it still gives the video itself is SK-05's."""
    for task, download in fetched(view):
        if not dead(view, task, download, rule.params["grace"]):
            continue
        known = [each.sha256 for each in task.downloads if alive(view, task, each) and each.status == 200]
        if download.status == 200 and download.sha256 in known:
            continue
        fine = download.status in rule.params["statuses"]
        yield check(fine, f"one of {rule.params['statuses']}", _outcome(download), task.end, download)


@judge("SK-07")
def task_outlives_link(view: View, _: Rule) -> Iterator[Check]:
    """Looks at queries of completed tasks after their links' end."""
    for task in view.tasks.values():
        if task.end is None or task.end.status != "completed":
            continue
        for call in task.queries:
            late = call.event.earliest >= task.ended_by + view.contract.link_lifetime
            if late and call.status not in (0, 429) and not call.faulty:
                yield check(call.status == 200, 200, call.status, task.end, call)


@judge("SK-08")
def range_or_none(view: View, _: Rule) -> Iterator[Check]:
    """Looks at downloads that asked for a range while the link lives."""
    for task, download in fetched(view):
        if download.asked_range and alive(view, task, download) and not download.lost:
            partial = download.status == 206 and header(download.headers, "content-range")
            if download.status == 416:
                continue  # no such range: a range is understood
            refused = (header(download.headers, "accept-ranges") or "").strip().lower() == "none"
            accept = header(download.headers, "accept-ranges") or "unsaid"
            seen = f"{download.status}, Accept-Ranges {accept}"
            yield check(partial or refused, "206 with Content-Range, or Accept-Ranges: none", seen, download)


@judge("SK-09")
def same_bytes(view: View, _: Rule) -> Iterator[Check]:
    """Looks at whole downloads of one link while it lives; needs two."""
    first: dict[str, Download] = {}
    for task, download in fetched(view):
        if whole(download) and download.status == 200 and download.sha256 and alive(view, task, download):
            earlier = first.setdefault(download.url, download)
            if earlier is not download:
                seen = f"sha256 {download.sha256[:12]}"
                same = download.sha256 == earlier.sha256
                yield check(same, f"sha256 {earlier.sha256[:12]}", seen, earlier, download)


@judge("SK-10")
def video_as_asked(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at decoded videos of the document's own model, of tasks whose create is known."""
    for task in view.tasks.values():
        sent = task.create.sent if task.create else None
        if not isinstance(sent, dict) or view.contract.other(sent) is not None:
            continue
        seconds = sent.get(rule.params["length"], view.contract.duration_default)
        quality = sent.get(rule.params["tier"], view.contract.quality_default)
        side = view.contract.qualities.get(quality) if isinstance(quality, str) else None
        for download, video in task.videos:
            near = isinstance(seconds, int | float) and abs(video.duration - seconds) <= rule.params["seconds"]
            short = min(video.width, video.height)
            expected, seen = f"{seconds} s, {side} px on the short side", f"{video.duration:g} s, {short} px"
            yield check(near and short == side, expected, seen, task.create, download)


@judge("SK-11")
def links_agree(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the links that callbacks and queries of one task showed, and at what those gave that were fetched."""
    for task in view.tasks.values():
        shown = [s for s in task.sightings if s.source in ("callback", "read") and s.status == "completed"]
        young = [s for s in shown if s.event.ended_at < task.ended_after + view.contract.link_lifetime]
        first = next((s for s in young if links_of(s.body)), None)
        for later in (s for s in young if first is not None and s is not first):
            yield from _agreeing(view, task, first, later)


def _agreeing(view: View, task: TaskRecord, first: Sighting | None, later: Sighting) -> Iterator[Check]:
    """A check for the number of links of two sightings, and one for each pair of them of which both were fetched."""
    assert first is not None
    one, other = links_of(first.body), links_of(later.body)
    if len(one) != len(other):
        yield check(False, f"{len(one)} links", f"{len(other)} links", first, later)
        return
    for link, again in zip(one, other, strict=True):
        before, after = _given(view, task, link), _given(view, task, again)
        if before is not None and after is not None:
            same = before.sha256 == after.sha256
            expected, seen = f"sha256 {before.sha256[:12]}", f"sha256 {after.sha256[:12]}"
            yield check(same, expected, seen, first, before, later, after)


def _given(view: View, task: TaskRecord, link: str) -> Download | None:
    """The first whole download of a living link."""
    mine = (each for each in task.downloads if each.url == link and whole(each) and each.status == 200)
    return next((each for each in mine if each.sha256 and alive(view, task, each)), None)


@judge("SK-12")
def signature_counts(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at downloads of signed links whose query the driver left out or changed; any other query may mean anything."""
    signed = re.compile(rule.params["signs"], re.IGNORECASE)
    for task in view.tasks.values():
        for link in task.links:
            parts = parts_of(link)
            if not any(signed.search(name) for name, _ in parse_qsl(parts.query)):
                continue
            for download in view.downloads:
                same = parts_of(download.url)[:3] == parts[:3] and download.url not in task.links
                if same and download.case and not download.lost and alive(view, task, download):
                    fine = download.status is not None and not 200 <= download.status < 300
                    yield check(fine, "no video", _outcome(download), download)


_PART = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@judge("SK-13")
def part_is_the_part(view: View, _: Rule) -> Iterator[Check]:
    """Looks at answers of 206: what they say they are, how long they are, and the bytes where all were asked for."""
    for task, download in fetched(view):
        if not download.asked_range or download.status != 206 or download.lost or not alive(view, task, download):
            continue
        said = header(download.headers, "content-range") or ""
        found = _PART.fullmatch(said.strip())
        if found is None:
            if download.case and not said:
                yield check(False, "Content-Range with a 206", "none", download)
            continue
        first, last = int(found[1]), int(found[2])
        asked = download.asked_range.removeprefix("bytes=").partition("-")
        fits = str(first) == asked[0] and (not asked[2] or last <= int(asked[2])) and last - first + 1 == download.size
        whole_one = _given(view, task, download.url)
        right = whole_one is None or found[3] in ("*", str(whole_one.size))
        seen = f"{said}, {download.size} bytes"
        yield check(fits and right, f"the part {download.asked_range}", seen, whole_one, download)
        if whole_one is not None and fits and right and download.size == whole_one.size:
            same = download.sha256 == whole_one.sha256
            yield check(same, "the bytes of the whole", "other bytes", whole_one, download)


@judge("SK-14")
def result_data_agrees(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at completed tasks that name their videos twice."""
    for task, sighting in view.sightings:
        rows = sighting.body.get("result_data")
        links = [parts_of(link)[:3] for link in links_of(sighting.body)]
        if sighting.status != "completed" or not isinstance(rows, list) or not links:
            continue
        asked = task.create.asked(rule.params["length"]) if task.create else MISSING
        for row in (row for row in rows if isinstance(row, dict)):
            for name in rule.params["links"]:
                if isinstance(row.get(name), str):
                    same = parts_of(row[name])[:3] in links
                    yield check(same, f"a {name} that is in results", quoted(row[name]), sighting)
            seconds = row.get(rule.params["seconds"])
            if is_number(asked) and is_number(seconds):
                near = abs(seconds - asked) <= HALF
                yield check(near, f"{asked:g} s in result_data", f"{seconds:g} s", task.create, sighting)
