"""An event in a few words: what was sent, and what came back. For the drawing and for the terminal."""

from kling_common.bodies import json_or_none
from kling_common.masking import TOKEN
from kling_common.members import object_in
from kling_contract.history.events import AnyEvent, Balance, Body, Callback, ClockMove, Download, Exchange
from kling_contract.history.labels import Topic
from kling_contract.reading.addresses import parts_of
from kling_contract.reading.contract import shipped
from kling_contract.rules.cases import ending


def sent(event: AnyEvent) -> str:
    """What was sent, or what happened."""
    match event:
        case Exchange():
            return f"{event.method} {_path(event.url)}"
        case Callback():
            return f"{event.method} {_path(event.url)}{_told(event.request.body)}"
        case Download():
            return f"GET {_path(event.url)}"
        case ClockMove():
            moved = event.after - event.before
            return f"clock +{duration(moved)}" if moved else f"clock is {event.mode}"
        case Balance():
            return f"credits {event.remaining:g} ({event.when})"
        case _ if event.topic == Topic.TOLD:
            return f"the client ended: {ending(event)}"
        case _:
            return f"{event.topic}: {', '.join(f'{name} {value}' for name, value in event.data.items())}"


def answered(event: AnyEvent) -> str:
    """What came back: the status, with what the body tells in a word or two; else what became of it."""
    match event:
        case Exchange():
            told = _told(event.answer.body) if event.answer else ""
            return f"{status(event) or event.lost or 'lost'}{told}" + (
                f" ({event.lost})" if told and event.lost else ""
            )
        case Callback():
            return str(status(event) or event.ended)
        case Download():
            return str(event.status or event.lost)
        case _:
            return ""


def status(event: AnyEvent) -> int:
    """The HTTP status of what came back; 0 for none at all."""
    match event:
        case Exchange() | Callback():
            return event.answer.status if event.answer else 0
        case Download():
            return event.status or 0
        case _:
            return 0


def short(text: str, length: int) -> str:
    """*text* in at most *length* characters, its middle left out, without keys."""
    text = TOKEN.sub("key", text)
    return text if len(text) <= length else text[: length // 2] + "…" + text[-(length - length // 2 - 1) :]


def duration(seconds: float) -> str:
    """Seconds as people read them: 1.25 s, 2 min 5 s, 24 h."""
    sign, seconds = ("-" if seconds < -0.0005 else ""), abs(round(seconds, 3))
    if seconds < 120:
        return f"{sign}{seconds:g} s"
    units = [(int(seconds // 3600), "h"), (int(seconds % 3600 // 60), "min"), (round(seconds % 60, 2), "s")]
    return sign + " ".join(f"{amount:g} {unit}" for amount, unit in units if amount)


def _path(url: str) -> str:
    """The path, with the ids of tasks cut to their ends."""
    parts = parts_of(url)
    return shipped().id_in_text.sub(r"…\1", parts.path or "/") + ("?…" if parts.query else "")


def _told(body: Body) -> str:
    """What a body says of its task, or of what went wrong, in a word or two."""
    document = object_in(json_or_none(body.content))
    if "status" in document:
        return f" {str(document['status'])[:12]} {str(document.get('progress', ''))[:4]}%"
    error = document.get("error")
    return f" {str(error.get('param') or error.get('code'))[:20]}" if isinstance(error, dict) else ""
