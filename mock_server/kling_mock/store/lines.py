"""A journal entry in one line, for the terminal of a server and for `kling-mock journal`: what was asked, how it ended, and why."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_OUTCOMES = {"2xx": "delivered"}


@dataclass(frozen=True, slots=True)
class Line:
    """What one entry says. `good` is None where nothing was asked of anybody, as for a clock that was moved."""

    at: float
    kind: str
    what: str
    status: str
    task_id: str
    why: str
    good: bool | None
    seconds: float | None

    def text(self) -> str:
        """Return the line as people read it, without the time and without colour."""
        return "  ".join(part for part in self.columns() if part)

    def columns(self) -> tuple[str, str, str, str]:
        """Return what was asked, how it ended, the task, and why; printable, since what a client sends must not steer a terminal."""
        return printable(self.what), printable(self.status), printable(self.task_id), printable(self.why)

    def as_json(self) -> dict[str, Any]:
        """Return the line for programs; members without a value are left out."""
        shown = {name: getattr(self, name) for name in ("at", "kind", "what", "status", "task_id", "why", "seconds")}
        return {name: value for name, value in shown.items() if value not in ("", None)}


def lines(entry: dict[str, Any]) -> list[Line]:
    """Return the lines for one entry of the journal, given as the control protocol shows it: one, or two where a video was rendered."""
    found = [_line(entry)]
    rendered = entry.get("rendered_seconds")
    if rendered is not None:
        task = entry.get("task_id", "")
        found.insert(0, Line(entry["at"], "render", "rendered a video", "", task, f"{rendered:.1f} s", True, rendered))
    return found


def printable(text: str) -> str:
    """Return *text* without characters that would steer a terminal: what a client sends must not."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def time_of(at: float) -> str:
    """Return the time of day in UTC; seconds where no calendar reaches."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f} s"


def _line(entry: dict[str, Any]) -> Line:
    kind, request, response = entry["kind"], entry.get("request"), entry.get("response")
    task, at = entry.get("task_id") or "", entry["at"]
    if request is None:
        return Line(at, kind, _moved(entry) if kind == "clock" else kind, "", task, "", None, None)
    path = request["url"].partition("?")[0]
    if kind == "attempt":
        outcome = entry["outcome"] if response is None else f"{response['status']}"
        what = f"-> {request['method']} {path} attempt {entry['attempt']}"
        why = entry.get("detail") or ("" if response else _OUTCOMES.get(entry["outcome"], ""))
        return Line(at, kind, what, outcome, task, _with_fault(why, entry), entry["outcome"] == "2xx", entry["seconds"])
    status = 0 if response is None else response["status"]
    why = _with_fault(_reason(response) if response and status >= 400 else "", entry)
    what = f"{request['method']} {path}"
    return Line(at, kind, what, str(status or "-"), task, why, 0 < status < 400, entry["seconds"])


def _moved(entry: dict[str, Any]) -> str:
    """Return what was done to a clock."""
    if entry.get("seconds") is not None and "mode" in entry:
        return f"clock advanced {entry['seconds']:g} s"
    rate = f" x{entry['rate']:g}" if entry.get("mode") == "scaled" else ""
    return f"clock {entry.get('mode', '')}{rate}"


def _reason(response: dict[str, Any]) -> str:
    """Return why a request was refused: the field at fault and the sentence; the body itself where it is short text."""
    body = response["body"]
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        param, message = body["error"].get("param"), str(body["error"].get("message", ""))
        return message if param is None or message.startswith(str(param)) else f"{param}: {message}"
    if isinstance(body, str) and "<" not in body:
        return body.strip().partition("\n")[0][:200]
    return ""


def _with_fault(why: str, entry: dict[str, Any]) -> str:
    """Return *why*, and the fault that a scenario caused."""
    fault = entry.get("fault")
    scenario = f"scenario {entry['scenario']}: {fault}" if fault and entry.get("scenario") else fault or ""
    return "; ".join(part for part in (why, scenario) if part)
