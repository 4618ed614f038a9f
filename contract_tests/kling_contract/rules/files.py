"""Judges of uploaded files (SF): what is taken, what is said of it, where it is listed, and whose it is."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from kling_contract.reading.addresses import parts_of
from kling_contract.reading.uploads import (
    SPELLINGS,
    UPLOADS,
    data_of,
    done,
    file_calls,
    file_id,
    file_limits,
    place_of,
    refused,
    rows_of,
    sent_bytes,
)
from kling_contract.reading.view import MISSING, Call, View
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule

_SILENT = frozenset({0, 401, 403, 404, 405, 429})
"""Answers that say nothing of an upload: a server need not have each way of it, nor let every key upload."""
_PLAIN = re.compile(r"[\w/-]+(\.\w+)?", re.ASCII)
"""Names and folders that no server has a reason to change."""


def _looked_at(call: Call) -> bool:
    """Whether an upload was looked at, and answered."""
    return call.status not in _SILENT and call.status < 500


def _code(call: Call) -> Any:
    return call.got.get("code") if isinstance(call.got, dict) else None


def _said(call: Call) -> str:
    return f"{call.status} {quoted(call.got) if call.got is not MISSING else 'no JSON'}"[:160]


@judge("SF-01")
def images_are_taken(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the kit's right uploads; what is full, or cannot be fetched from where the server is, is no refusal of the image."""
    codes = file_limits(view.contract).codes
    for call in file_calls(view, *UPLOADS):
        if rule.id in call.probe.rules and _looked_at(call) and _code(call) not in (codes["quota"], codes["download"]):
            yield check(call.status == 200 and done(call), f"200 for {call.probe.value}", _said(call), call)


@judge("SF-02")
def answers_have_their_members(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every answered call of the files API."""
    for call in file_calls(view):
        if call.status == 200 and done(call) and call.shown and (call.by_kit or call.got is not MISSING):
            flaws = view.contract.answer_flaws(call.operation, 200, None if call.got is MISSING else call.got)
            yield check(not flaws, f"the contract's {call.name} 200", "; ".join(map(str, flaws)), call)


@judge("SF-03")
def entry_describes_the_file(view: View, _: Rule) -> Iterator[Check]:
    """Looks at uploads whose bytes the history holds, or the driver knows."""
    for call in file_calls(view, *UPLOADS):
        data, facts, content = data_of(call), call.probe.image, sent_bytes(call)
        size = facts.size if facts else len(content) if content else 0
        if done(call) and size and "file_size" in data:
            yield check(data["file_size"] == size, f"file_size {size}", quoted(data["file_size"]), call)
        if done(call) and facts and facts.format and "mime_type" in data:
            right = f"image/{facts.format}"
            yield check(data["mime_type"] == right, f"mime_type {right}", quoted(data["mime_type"]), call)


@judge("SF-04")
def both_spellings(view: View, _: Rule) -> Iterator[Check]:
    """Looks at plain names and folders in uploads; a server may add to a name, and put a folder into another one."""
    for call in file_calls(view, *UPLOADS):
        for name, other in SPELLINGS.items() if done(call) else ():
            given = [(each, call.asked(each)) for each in (name, other) if isinstance(call.asked(each), str)]
            said = data_of(call).get(name)
            if len(given) == 1 and isinstance(said, str) and _PLAIN.fullmatch(given[0][1]):
                wanted = given[0][1].rpartition(".")[0] or given[0][1].strip("/")
                yield check(wanted in said, f"{name} with {wanted}, as {given[0][0]} asks", quoted(said), call)


@judge("SF-05")
def same_name_replaces(view: View, _: Rule) -> Iterator[Check]:
    """Looks at two uploads of one account with the same name and folder, and at the next list of its files."""
    last: dict[tuple[str, str, str], Call] = {}
    twice: dict[str, tuple[Call, Call]] = {}
    for call in file_calls(view):
        who = call.event.who
        if call.name in UPLOADS and done(call) and file_id(call):
            key = (who, *place_of(call))
            if key in last and key[1]:
                twice[who] = (last[key], call)
            last[key] = call
        elif call.name == "listFiles" and done(call) and who in twice:
            pair = twice.pop(who)
            ids = {file_id(one) for one in pair}
            listed = [each for each in rows_of(call) if each in ids]
            yield check(len(listed) <= 1, f"one {place_of(pair[0])[0]}", ", ".join(listed), *pair, call)


@judge("SF-06")
def other_types_refused(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the kit's uploads of what is no image."""
    types = ", ".join(file_limits(view.contract).types)
    for call in file_calls(view, *UPLOADS):
        if rule.id in call.probe.rules and _looked_at(call):
            yield check(refused(call), f"a refusal: it is none of {types}", _said(call), call)


@judge("SF-07")
def errors_have_their_members(view: View, _: Rule) -> Iterator[Check]:
    """Looks at refusals of the files API. A path that is not served has no errors of its own."""
    for call in file_calls(view):
        absent = call.status in (404, 405) and call.name != "deleteFile" and "success" not in _members(call)
        gateway = call.got is MISSING and (call.status >= 500 or call.status in (413, 429))
        if not refused(call) or not call.shown or absent or gateway:
            continue
        flaws = view.contract.flaws("FileError", None if call.got is MISSING else call.got)
        known = {call.status, *file_limits(view.contract).codes.values()}
        if call.accepted and call.operation is not None:
            known |= {int(status) for status in call.operation.statuses if status.isdigit()}
        right = not flaws and _code(call) in known
        yield check(right, "{success: false, code, msg} with a documented code", _said(call), call)


def _members(call: Call) -> set[str]:
    return set(call.got) if isinstance(call.got, dict) else set()


@judge("SF-08")
def code_says_why(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the kit's uploads that are refused for a reason that has a code of its own."""
    codes = file_limits(view.contract).codes
    for call in file_calls(view, *UPLOADS):
        wanted = codes.get(str(call.probe.value)) if rule.id in call.probe.rules else None
        if wanted is not None and refused(call) and _looked_at(call) and isinstance(_code(call), int):
            yield check(_code(call) == wanted, f"code {wanted} ({call.probe.value})", _code(call), call)


@judge("SF-09")
def quota_adds_up(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every quota by itself, and at how it changed with the kit's own uploads and deletions."""
    held: dict[str, dict[tuple[str, str], str]] = {}
    before: dict[str, tuple[int, Call]] = {}
    for call in file_calls(view):
        files = held.setdefault(call.event.who, {})
        if call.name in UPLOADS and (call.status == 0 or call.status >= 500):
            before.pop(call.event.who, None)  # nothing says whether the file is there
        if call.name in UPLOADS and done(call) and file_id(call):
            files[place_of(call)] = file_id(call)
        elif call.name == "deleteFile" and done(call):
            files = {place: each for place, each in files.items() if each != file_id(call)}
            held[call.event.who] = files
        elif call.name == "getFileQuota" and done(call):
            data = data_of(call)
            used, most, left = data.get("used_files"), data.get("max_files"), data.get("remain_files")
            if not isinstance(used, int) or not isinstance(most, int) or not isinstance(left, int):
                continue
            yield check(used + left == most, f"used and remaining files are {most} together", f"{used} + {left}", call)
            others = used - len(files)
            if call.by_kit and call.event.who in before:
                known, first = before[call.event.who]
                yield check(others == known, f"{known + len(files)} used files", used, first, call)
            before.setdefault(call.event.who, (others, call))


@judge("SF-10")
def pages_of_files(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the length of every page, and at pages that the kit read one after the other."""
    limits = file_limits(view.contract)
    groups: dict[str, tuple[Call, set[str]]] = {}
    for call in file_calls(view, "listFiles"):
        asked = {name: values[-1] for name, values in parse_qs(parts_of(call.event.url).query).items()}
        size = asked.get("pageSize", str(limits.rows))
        if not done(call) or not size.isascii() or not size.isdigit() or not int(size):
            continue
        ids = rows_of(call)
        most = min(int(size), limits.most_rows)
        yield check(len(ids) <= most, f"at most {most} rows", len(ids), call)
        group = call.probe.group
        if group and group in groups:
            first, seen = groups[group]
            again = [each for each in ids if each in seen]
            yield check(not again, "no file on two pages", ", ".join(again), first, call)
            total = data_of(first).get("total")
            yield check(
                data_of(call).get("total") == total, f"a total of {total}", data_of(call).get("total"), first, call
            )
            full = len(seen) == most and isinstance(total, int) and total > len(seen)
            yield check(ids or not full, f"more of {total} files", "none", first, call)
        elif group:
            groups[group] = (call, set(ids))


@judge("SF-11")
def deleted_is_gone(view: View, _: Rule) -> Iterator[Check]:
    """Looks at lists of an account after it deleted a file of its own."""
    gone: dict[str, Call] = {}
    own: set[tuple[str, str]] = set()
    for call in file_calls(view):
        who = call.event.who
        if call.name in UPLOADS and done(call):
            own.add((who, file_id(call)))
            gone.pop(file_id(call), None)
        elif call.name == "deleteFile" and done(call) and (who, file_id(call)) in own:
            gone[file_id(call)] = call
        elif call.name == "listFiles" and done(call):
            for each, deleted in gone.items():
                if deleted.event.who == who and deleted.event.ended_mono <= call.event.mono:
                    yield check(each not in rows_of(call), f"no {each}", "it is listed", deleted, call)


@judge("SF-12")
def files_live_so_long(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the two moments in the answer of an upload."""
    lifetime = timedelta(seconds=view.contract.file_lifetime)
    for call in file_calls(view, *UPLOADS):
        born, ends = (_moment(data_of(call).get(name)) for name in ("upload_time", "expires_at"))
        if not done(call) or born is None or ends is None or (born.tzinfo is None) != (ends.tzinfo is None):
            continue
        near = abs(ends - born - lifetime) <= timedelta(seconds=rule.params["seconds"])
        yield check(near, f"expires_at {lifetime} after upload_time", str(ends - born), call)


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


@judge("SF-13")
def files_belong_to_accounts(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what another account's key gets of a file that was uploaded here; a deletion that does nothing may be answered 200."""
    owner: dict[str, str] = {}
    taken: dict[str, Call] = {}
    for call in file_calls(view):
        who, named = call.event.who, file_id(call)
        if not call.by_kit or not who:
            continue
        if call.name in UPLOADS and done(call):
            owner[named] = who
        elif call.name == "deleteFile" and named in owner and who == owner[named]:
            owner.pop(named)
            taken.pop(named, None)
        elif call.name == "deleteFile" and named in owner and done(call):
            taken[named] = call
        elif call.name == "listFiles" and done(call):
            yield from _in_the_list(call, owner, taken)


def _in_the_list(call: Call, owner: dict[str, str], taken: dict[str, Call]) -> Iterator[Check]:
    """Whether an account's list has no file of another one, and still has its own that another one deleted."""
    who, listed = call.event.who, rows_of(call)
    theirs = [each for each in listed if owner.get(each, who) != who]
    yield check(not theirs, "no file of another account", ", ".join(theirs[:3]), call)
    for each in [each for each in taken if owner[each] == who]:
        yield check(each in listed, f"{each}, which another account deleted", "it is gone", taken.pop(each), call)


@judge("SF-14")
def no_files_without_a_key(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the kit's calls without a key."""
    for call in file_calls(view):
        if call.by_kit and call.sent_header("authorization") is None and call.status not in (0, 404, 405, 429):
            yield check(refused(call), "401 without a key", _said(call), call)
