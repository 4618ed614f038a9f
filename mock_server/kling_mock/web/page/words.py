"""How the page writes times, spans, bodies, and a request as a curl command."""

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from kling_common.masking import TOKEN
from kling_mock.store.journal import Entry, as_json

_PLAIN = frozenset({"host", "content-length", "connection", "accept-encoding", "user-agent", "accept"})


def moment(at: float | None) -> str:
    """A time of a clock as date and time in UTC; as seconds where no calendar reaches."""
    try:
        return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f} s"


def of_day(at: float | None, since: float | None = None) -> str:
    """The time alone; with the date where it is another day than *since*."""
    shown = moment(at)
    date, _, time = shown.rpartition(" ")
    return shown if since is not None and date != moment(since).rpartition(" ")[0] else time


def reason(entry: Entry) -> str:
    """Why a request was refused: the field at fault and the sentence."""
    try:
        error = orjson.loads(entry.body)["error"]
        param, message = error.get("param"), str(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""
    return message if param is None or param in message else f"{param}: {message}"


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = timedelta(seconds=int(seconds))
    left = whole.seconds
    parts = [(whole.days, "d"), (left // 3600, "h"), (left // 60 % 60, "min"), (left % 60, "s")]
    told = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(told[:2]) or "0 s"


def pretty(value: Any) -> str:
    """A body for people: JSON is indented, text stays as it is."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def curl(entry: Entry, origin: str) -> str:
    """The request as a command for a shell; the key comes from the shell's own variable, since the journal does not keep it."""
    shown = as_json(entry)["request"]
    parts = ["curl", "-sS"] + ([] if shown["method"] == "GET" else ["-X", shown["method"]])
    command = [shlex.join([*parts, shown["url"] if "://" in shown["url"] else f"{origin}{shown['url']}"])]
    for name, value in shown["headers"].items():
        if name == "authorization":
            command.append('-H "Authorization: Bearer $KLING_API_KEY"')
        elif name not in _PLAIN and TOKEN.search(value) is None:
            command.append(shlex.join(["-H", f"{name}: {value}"]))
    if entry.request_body:
        text = entry.request_body.decode("utf-8", "replace")
        command.append(shlex.join(["--data-raw", text]))
    return " \\\n  ".join(command)
