"""Events as text that people read without a browser: what was sent, what came back, and when. For the pages of rules."""

from collections.abc import Iterable, Iterator

import orjson

from kling_common.masking import TOKEN
from kling_contract.history.events import AnyEvent, Body, Callback, Download, Exchange, Message, Note, Span
from kling_contract.history.labels import Topic
from kling_contract.reports.words import sent

MOST = 4
"""Events that are shown."""
_LONGEST = 600
"""Characters of a body; its middle is left out."""
_WORDS = ("leaks", "files", "places", "said", "children")
"""What the lab noted of a client's end, where there is any of it."""


def as_text(events: Iterable[AnyEvent]) -> str:
    """Return *events* as text: the first in full, later ones with the seconds since it; keys are replaced by KEY."""
    shown = list(events)
    chosen = shown if len(shown) <= MOST else [*shown[: MOST - 1], shown[-1]]
    began = next((event.at for event in chosen if event.at), 0.0)
    parts = []
    for event in chosen:
        later = event.at - began if event.at and began else 0.0
        clock = [f"({later:+g} s)"] if round(later, 3) else []
        parts.append("\n".join([*clock, *_lines(event)]))
        if event is chosen[-2:][0] and len(chosen) < len(shown):
            parts.append(f"(and {len(shown) - len(chosen)} more)")
    return TOKEN.sub("KEY", "\n\n".join(parts))


def _lines(event: AnyEvent) -> Iterator[str]:
    match event:
        case Exchange() | Callback():
            yield f"> {'callback ' if isinstance(event, Callback) else ''}{event.method} {_cut(event.url)}"
            yield from _message(event.request, "> ")
            lost = event.lost if isinstance(event, Exchange) else event.ended
            yield (f"< {event.answer.status}" if event.answer else f"< no response: {lost}") + _took(event)
            if event.answer:
                yield from _message(event.answer, "< ")
        case Download():
            yield f"> GET {_cut(event.url)}{f'  Range: {event.asked_range}' if event.asked_range else ''}"
            if event.who:
                yield f"> Authorization: Bearer {event.who}"
            yield f"< {event.status or event.lost}"
            yield from (f"< {name}: {value}" for name, value in event.headers)
            yield f"< {event.size} bytes{f', sha256 {event.sha256[:8]}…' if event.sha256 else ''}{_video(event)}"
        case Note(topic=Topic.TOLD):
            yield f"  {sent(event)}"
            yield from (
                f"  {name.replace('_', ' ')}: {_cut(_plain(event.data[name]))}"
                for name in _WORDS
                if event.data.get(name)
            )
        case _:
            yield f"  {sent(event)}"


def _message(message: Message, mark: str) -> Iterator[str]:
    yield from (f"{mark}{name}: {_cut(value)}" for name, value in message.headers)
    text = _body(message.body)
    if text:
        yield f"{mark}{_cut(text)}"


def _body(body: Body) -> str:
    if body.base64 is not None:
        return f"({body.size} bytes that are no text)"
    try:
        return orjson.dumps(orjson.loads(body.content)).decode() if body.size else ""
    except orjson.JSONDecodeError:
        return " ".join((body.text or "").split())


def _took(event: Span) -> str:
    """How long a response took, where that is a second or more of the account's clock or the machine's."""
    seconds = round(max(event.ended_at - event.at, event.ended_mono - event.mono), 2)
    return f"  (after {seconds:g} s)" if seconds >= 1 else ""


def _plain(value: object) -> str:
    return orjson.dumps(value, default=str).decode()


def _video(event: Download) -> str:
    if event.video is None:
        return ""
    video = event.video
    return f", {video.error or f'{video.duration:g} s, {video.width}x{video.height}'}"


def _cut(text: str) -> str:
    """*text* on one line, its middle left out where it is long, ids of tasks as they are."""
    line = text.replace("\n", "\\n").replace("\r", "\\r")
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"
