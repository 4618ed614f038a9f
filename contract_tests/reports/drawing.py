"""A rule's evidence as a drawing: kit, server and receiver as lines, calls and callbacks as arrows, the clock between.

Inline SVG whose colours come from the page's style sheet, so that it follows light and dark.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from markupsafe import Markup

from contract_tests.addresses import parts_of
from contract_tests.history import AnyEvent, Balance, Body, Callback, ClockMove, Download, Exchange, Note
from contract_tests.masking import TOKEN

KIT, SERVER, RECEIVER, WIDTH = 186, 540, 890, 960
TOP, ROW = 34, 34
MOST = 16
"""Rows drawn; a longer story is told by its first events."""


_TASK = re.compile(r"task-unified-[A-Za-z0-9]+-([A-Za-z0-9]+)")


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the drawing: from and to in pixels (equal for what is no arrow), words, and how it is coloured."""

    start: int
    end: int
    words: str
    tone: str
    answer: str = ""


def timeline(events: Sequence[AnyEvent], marked: frozenset[int], start: float) -> Markup:
    """The drawing of *events*; those in *marked* stand out. Times are seconds of the account's clock after *start*."""
    shown = list(events)[:MOST]
    height = TOP + ROW * len(shown) + 16
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="timeline" class="drawing">').format(WIDTH, height),
        *(_lane(x, name, height) for x, name in ((KIT, "client"), (SERVER, "server"), (RECEIVER, "receiver"))),
    ]
    for index, event in enumerate(shown):
        parts.append(_draw(event, TOP + ROW * index + ROW // 2 + 6, start, marked=event.seq in marked))
    return Markup("").join([*parts, Markup("</svg>")])


def _lane(x: int, name: str, height: int) -> Markup:
    return Markup(
        '<line x1="{x}" y1="24" x2="{x}" y2="{end}" class="lane"/><text x="{x}" y="15" class="lane-name">{name}</text>'
    ).format(x=x, end=height - 6, name=name)


def _draw(event: AnyEvent, y: int, start: float, *, marked: bool) -> Markup:
    row = _row(event)
    mark = (
        Markup('<rect x="0" y="{}" width="{}" height="{}" class="marked"/>').format(y - 20, WIDTH, ROW)
        if marked
        else ""
    )
    time = Markup('<text x="6" y="{}" class="time">{}</text>').format(y + 4, f"#{event.seq} {_clock(event.at - start)}")
    if isinstance(event, ClockMove):
        line = Markup('<line x1="{}" y1="{y}" x2="{}" y2="{y}" class="clock"/>').format(KIT, RECEIVER, y=y)
        words = Markup('<text x="{}" y="{}" class="word tone-clock middle">{}</text>')
        return Markup("").join([mark, time, line, words.format((KIT + RECEIVER) // 2, y - 5, row.words)])
    if row.start == row.end:
        words = Markup('<text x="{}" y="{}" class="word tone-note">{}</text>')
        return Markup("").join([mark, time, words.format(KIT + 10, y + 4, row.words)])
    return Markup("").join([mark, time, _arrow(row, y)])


def _arrow(row: _Row, y: int) -> Markup:
    forward = 1 if row.end > row.start else -1
    head = f"{row.end - 7 * forward},{y - 4} {row.end - forward},{y} {row.end - 7 * forward},{y + 4}"
    return Markup(
        '<line x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" class="arrow tone-{tone}"/>'
        '<polygon points="{head}" class="head tone-{tone}"/>'
        '<text x="{left}" y="{up}" class="word">{words}</text>'
        '<text x="{right}" y="{up}" class="word answer tone-{tone}">{answer}</text>'
    ).format(
        x1=row.start,
        x2=row.end - 4 * forward,
        y=y,
        up=y - 5,
        tone=row.tone,
        head=head,
        left=min(row.start, row.end) + 10,
        right=max(row.start, row.end) - 10,
        words=row.words,
        answer=row.answer,
    )


def _row(event: AnyEvent) -> _Row:
    match event:
        case Exchange():
            status = event.answer.status if event.answer else 0
            words = _short(f"{event.method} {_path(event.url)}", 32)
            told = _told(event.answer.body) if event.answer else ""
            return _Row(KIT, SERVER, words, tone(status), f"{status or event.lost or 'lost'}{told}")
        case Callback():
            status = event.answer.status if event.answer else 0
            words = _short(f"{event.method} {_path(event.url)}{_told(event.request.body)}", 44)
            return _Row(SERVER, RECEIVER, words, tone(status), str(status or event.ended))
        case Download():
            words = _short(f"GET {_path(event.url)}", 44)
            return _Row(KIT, SERVER, words, tone(event.status or 0), str(event.status or event.lost))
        case ClockMove():
            moved = event.after - event.before
            words = f"clock +{_clock(moved)}" if moved else f"clock is {event.mode}"
            return _Row(KIT, KIT, words, "clock")
        case Balance():
            return _Row(KIT, KIT, f"credits {event.remaining:g} ({event.when})", "note")
        case Note():
            said = ", ".join(f"{name} {value}" for name, value in event.data.items())
            return _Row(KIT, KIT, _short(f"{event.topic}: {said}", 90), "note")


def tone(status: int) -> str:
    """The colour class of an HTTP status; 0 is none at all."""
    return {2: "good", 3: "odd", 4: "refused", 5: "bad"}.get(status // 100, "bad")


def _path(url: str) -> str:
    """The path, with the ids of tasks cut to their ends."""
    parts = parts_of(url)
    return _TASK.sub(r"…\1", parts.path or "/") + ("?…" if parts.query else "")


def _told(body: Body) -> str:
    """What a body says of its task, or of what went wrong, in a word or two."""
    try:
        document = orjson.loads(body.content)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(document, dict):
        return ""
    if "status" in document:
        return f" {str(document['status'])[:12]} {str(document.get('progress', ''))[:4]}%"
    error = document.get("error")
    return f" {str(error.get('param') or error.get('code'))[:20]}" if isinstance(error, dict) else ""


def _short(text: str, length: int) -> str:
    text = TOKEN.sub("key", text)
    return text if len(text) <= length else text[: length // 2] + "…" + text[-(length - length // 2 - 1) :]


def _clock(seconds: float) -> str:
    """Seconds as people read them: 1.25 s, 2 min 5 s, 24 h."""
    sign, seconds = ("-" if seconds < -0.0005 else ""), abs(round(seconds, 3))
    if seconds < 120:
        return f"{sign}{seconds:g} s"
    units = [(int(seconds // 3600), "h"), (int(seconds % 3600 // 60), "min"), (round(seconds % 60, 2), "s")]
    return sign + " ".join(f"{amount:g} {unit}" for amount, unit in units if amount)
