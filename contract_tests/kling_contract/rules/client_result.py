"""Judges of what a client gives its caller (CD)."""

from collections.abc import Iterator
from typing import Any

from kling_common.members import member
from kling_contract.reading.view import Attempt, Call, View
from kling_contract.rules.case_facts import SPELT
from kling_contract.rules.cases import Case, about, cases, completes, ending, got, outcome
from kling_contract.rules.client_polling import as_right, right, sound
from kling_contract.rules.judging import Check, check, implied, judge
from kling_contract.rules.rulebook import Rule

OUT = "video.mp4"
"""The final name in every case of the lab."""
GONE = (403, 404, 410)
"""How an expired link is answered."""


def saved(note: Any) -> dict[str, Any] | None:
    """The file under the final name, as it was left."""
    return next((file for file in note.data["files"] if file["name"] == OUT), None)


def seen_end(case: Case, status: str) -> Call | None:
    """The first read that showed the client *status*."""
    return next((call for call in case.polls if got(call) == 200 and call.body.get("status") == status), None)


def heard_end(case: Case, status: str) -> Attempt | None:
    """The first genuine callback that showed the client *status*."""
    return next((one for one in case.attempts if one.event.who and member(one.body, "status") == status), None)


@judge("CD-01")
def succeeds(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at completed tasks: success, and a file saved or every link named."""
    for case in about(view, "CD-01"):
        end = seen_end(case, "completed")
        if end is None:
            continue
        yield right(case, rule.id)
        if case.completes:
            results = all(link.partition("?")[0] in case.words for link in case.links) and bool(case.links)
            fine = saved(case.last) or results
            yield check(fine, "the video saved, or its links told", "neither file nor links", end, case.last)


@judge("CD-02")
def downloads_soon(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the first download after completion was seen: within the case's time, and while the link lives."""
    for case in cases(view):
        end = seen_end(case, "completed")
        if end is not None and case.downloads and case.flow == "once":
            first = case.downloads[0]
            age = first.at - end.event.at
            limit = min(view.contract.link_lifetime, case.facts.deadline or view.contract.link_lifetime)
            yield check(age <= limit, f"a download within {limit:g} s of completion", f"after {age:.1f} s", end, first)


@judge("CD-03")
def same_bytes(view: View, _: Rule) -> Iterator[Check]:
    """Compares saved files with what the link serves."""
    for case in about(view, "CD-03"):
        file = saved(case.last)
        if file is not None and case.served:
            fine = any(note.data["sha256"] == file["sha256"] for note in case.served)
            sizes = " or ".join(str(note.data["size"]) for note in case.served)
            yield check(fine, f"the {sizes} bytes served", f"{file['size']} bytes", *case.downloads[:2], case.last)


@judge("CD-04")
def no_half_file(view: View, _: Rule) -> Iterator[Check]:
    """Looks at cases in which a download was cut and none came whole."""
    for case in about(view, "CD-04"):
        cut = [download for download in case.downloads if download.lost]
        whole = [download for download in case.downloads if not download.lost and download.status in (200, 206)]
        if not cut:
            continue
        file = saved(case.last)
        fine = file is None or (whole and any(note.data["sha256"] == file["sha256"] for note in case.served))
        seen = f"{OUT} of {file['size']} bytes" if file else ""
        yield check(fine, f"no {OUT} that is not whole", seen, cut[0], case.last)


@judge("CD-05")
def resumes_download(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what follows a download that was cut once."""
    for case in about(view, "CD-05"):
        cut = [download for download in case.downloads if download.lost]
        if cut:
            more = [download for download in case.downloads if download.mono > cut[0].mono]
            yield check(more, "downloaded again", "never downloaded again", cut[0], case.last)
            made = case.accepted
            yield check(len(made) == 1, "no new create", f"{len(made)} creates", cut[0], *made)
            yield sound(case, rule.id, "the video in the end", cut[0])


@judge("CD-06")
def refreshes_link(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what follows a link that was refused as an expired one is."""
    for case in about(view, "CD-06"):
        gone = [download for download in case.downloads if download.status in GONE]
        if gone:
            fresh = [poll for poll in case.polls if poll.event.mono >= gone[0].mono]
            fine = 1 <= len(fresh) <= rule.params["reads"] * len(gone)
            yield check(fine, "a fresh read of the task", f"{len(fresh)} reads", gone[0], *fresh[:2])
            made = case.accepted
            yield check(len(made) == 1, "no new create", f"{len(made)} creates", gone[0], *made)
            yield sound(case, rule.id, case.facts.summary, gone[0])


@judge("CD-07")
def page_is_no_video(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at a link that serves a page."""
    for case in about(view, "CD-07"):
        if case.downloads:
            file = saved(case.last)
            seen = f"{OUT} of {file['size']} bytes" if file else ""
            yield check(file is None, f"no {OUT}", seen, case.downloads[0], case.last)
            yield sound(case, rule.id, "no success", case.downloads[0])


@judge("CD-08")
def download_is_bounded(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a link that never ends."""
    for case in about(view, "CD-08"):
        endless = [download for download in case.downloads if download.lost == "endless"]
        if endless:
            file = saved(case.last)
            seen = case.wrong or (f"{OUT} was left" if file else "")
            yield check(not seen, "an end by itself, without success", seen, endless[0], case.last)


judge("CD-09")(as_right)


@judge("CD-12")
def reason_is_passed_on(view: View, _: Rule) -> Iterator[Check]:
    """Looks for the service's code and message of a failed task in what the client says."""
    for case in about(view, "CD-12"):
        end = seen_end(case, "failed")
        if end is None or case.forced or outcome(case.last) == "gave_up":
            continue
        for name in ("code", "message"):
            value = str(end.error.get(name) or "")
            yield check(value in case.words, f"error.{name} passed on: {value}", ending(case.last), end, case.last)


@judge("CD-10")
def failure_is_told(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at failed tasks: no success."""
    for case in about(view, "CD-10"):
        end = seen_end(case, "failed") or heard_end(case, "failed")
        if end is not None and outcome(case.last) == "gave_up":
            yield implied("CP-08", ending(case.last), end, case.last)
        elif end is not None:
            yield sound(case, rule.id, "an end without success", end)


@judge("CD-11")
def tells_the_truth(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every word of a client against what the server saw and what was left on disk."""
    for case in cases(view):
        known = case.able and case.flow in ("once", "killed") and case.facts.base not in SPELT
        for note in case.results if known else ():
            if note.data["ended"] in ("on purpose", "deadline"):
                continue
            yield check(not note.data["broken"], "an adapter that keeps its word", note.data["broken"], note)
            yield from _agreement(case, note)


def _agreement(case: Case, note: Any) -> Iterator[Check]:
    """Where client and server can disagree: success, the task's id, the files."""
    data, said = note.data, note.data.get("said") or {}
    if outcome(note) and data.get("exit") is not None:
        same = (data["exit"] == 0) == (outcome(note) == "completed")
        yield check(same, "exit code and result agree", f"exit code {data['exit']}, outcome {outcome(note)}", note)
    failed = seen_end(case, "failed")
    if completes(note) and failed is not None and "CD-10" in case.facts.rules:
        yield implied("CD-10", ending(note), failed, note)
    elif completes(note) and not seen_end(case, "completed") and any(not one.event.who for one in case.attempts):
        yield implied("CW-08", ending(note), note)
    elif completes(note):
        end = seen_end(case, "completed") or heard_end(case, "completed")
        yield check(end, "success only for a task that completed", ending(note), *case.polls[-1:], note)
    ids = {str(call.got["id"]) for call in case.accepted}
    if said.get("task_id") and ids:
        yield check(said["task_id"] in ids, f"task_id {', '.join(sorted(ids))}", said["task_id"], *case.accepted, note)
    hashes = {file["sha256"] for file in data["files"]}
    for file in said.get("files") or ():
        if isinstance(file, dict) and file.get("sha256"):
            seen = f"sha256 {file['sha256'][:12]} is not there"
            yield check(file["sha256"] in hashes, "a file as it was reported", seen, note)
