"""Evidence: a run against the service itself, kept so that everybody can see what it showed and that it was not changed since."""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from kling_common.members import is_number, member, object_in
from kling_contract.history.events import jsonl, wall
from kling_contract.reading.contract import Contract
from kling_contract.reading.view import Call, View
from kling_contract.rules.verdicts import REAL, Result, Run, SetupError
from kling_openapi.evidence import CONFIRMS, CONTRADICTS, FILE, digest_of

Json = dict[str, Any]
_GRADES = ("S", "C", "O", "A")
_CLOSE = 1e-4


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run is kept with: its name, and the plan that it followed."""

    name: str
    plan: Json


def check_name(name: str) -> None:
    """Refuse a name that is no name of a folder.

    Raises:
        SetupError: it is not one.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", name):
        raise SetupError(f"--evidence {name!r}: a name has letters, digits, points and dashes")


def check_target(base: str, contract: Contract) -> None:
    """Refuse what can be no evidence.

    Raises:
        SetupError: *base* is not the contract's server.
    """
    servers = [str(server["url"]).rstrip("/") for server in contract.document["servers"]]
    if base.rstrip("/") not in servers:
        raise SetupError(
            f"--evidence: a run against {base} is no evidence of the service; only {' or '.join(servers)} is the service"
        )


def write(run: Run, kept: Kept, parent: Path, contract: Contract) -> Path:
    """Write `<date>-<name>` below *parent* and return it.

    Raises:
        SetupError: the run is no evidence, the folder is there already, or it cannot be written.
    """
    check_target(run.target, contract)
    if run.mode not in REAL:
        raise SetupError(f"--evidence: a run in mode {run.mode} is no evidence of the service")
    day = datetime.fromtimestamp(wall().at, UTC).date().isoformat()
    folder = parent / f"{day}-{kept.name}"
    try:
        folder.mkdir(parents=True)
        (folder / "history.jsonl").write_bytes(jsonl(run.events))
        (folder / "plan.json").write_bytes(_dumped(kept.plan))
        (folder / "verdicts.json").write_bytes(_dumped({one.rule.id: str(one.result) for one in run.verdicts}))
        files = {path.name: digest_of(path) for path in sorted(folder.iterdir())}
        (folder / FILE).write_bytes(_dumped({**_said(run, contract), "name": kept.name, "date": day, "files": files}))
    except FileExistsError as error:
        raise SetupError(f"--evidence: {folder} is there already; give the run another name") from error
    except OSError as error:
        raise SetupError(f"--evidence {folder}: {error.strerror}") from error
    return folder


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _said(run: Run, contract: Contract) -> Json:
    says = {True: CONFIRMS, False: CONTRADICTS}
    rules = {
        one.rule.id: says[one.result is Result.PASS]
        for one in run.verdicts
        if one.rule.grade in _GRADES and (one.result is Result.PASS or one.findings)
    }
    seen = settings_seen(View(run.events, contract), contract)
    known = {name: entry["schema"]["default"] for name, entry in contract.document["x-assumptions"].items()}
    settings = {
        name: {"seen": value, "says": says[_agrees(known[name], value)]}
        for name, value in seen.items()
        if name in known
    }
    return {
        "target": run.target, "mode": run.mode, "contract": run.contract, "kit": version("klingkit"), "python": platform.python_version(),
        "rules": rules, "settings": settings,
    }  # fmt: skip


def _agrees(default: Any, seen: Any) -> bool:
    if isinstance(seen, Mapping):
        return all(name in default and _agrees(default[name], value) for name, value in seen.items())
    if is_number(seen):
        return isinstance(default, int | float) and abs(default - seen) <= _CLOSE * max(abs(default), 1.0)
    return bool(default == seen)


def settings_seen(view: View, contract: Contract) -> Json:
    """The settings whose value a history shows, with that value."""
    found: Json = {}
    for call in view.calls:
        for name, value in (*_of_errors(call), *_of_task(call, contract)):
            found.setdefault(name, value)
    return found


def _of_errors(call: Call) -> Iterator[tuple[str, Any]]:
    code = call.error.get("code")
    if call.core and call.status >= 400 and code is not None:
        yield "error_codes", "legacy" if code == call.status else "current"
    if call.core and call.flaws and {flaw.keyword for flaw in call.flaws} == {"additionalProperties"}:
        yield "unknown_fields", "refuse" if call.status == 400 else "ignore"


def _of_task(call: Call, contract: Contract) -> Iterator[tuple[str, Any]]:
    if call.name not in ("createVideo", "getTask") or not call.accepted:
        return
    info = member(call.got, "task_info")
    if isinstance(info, dict):
        yield "cancel_field", "can_cancel" in info
        if call.name == "createVideo" and isinstance(info.get("estimated_time"), int):
            yield "estimated_seconds", info["estimated_time"]
    if call.body.get("status") == "completed":
        yield "result_data", "result_data" in call.body
        cost = object_in(call.got, "usage", "cost")
        if cost.get("credits") and "usd" in cost:
            yield "usd_per_credit", cost["usd"] / cost["credits"]
    if call.name == "createVideo":
        yield from _of_price(call, contract)


def _of_price(call: Call, contract: Contract) -> Iterator[tuple[str, Any]]:
    """The price of a second where the least charge does not hide it, else the least charge."""
    reserved, seconds = member(call.got, "usage", "credits_reserved"), call.asked("duration")
    quality = call.asked("quality")
    if not is_number(reserved) or not isinstance(seconds, int) or not isinstance(quality, str):
        return
    if seconds == contract.duration_min:
        yield "minimum_credits", reserved
    else:
        yield "credits_per_second", {quality: reserved / seconds}
