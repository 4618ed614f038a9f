"""A rule's evidence as a drawing: kit, server and receiver as lines, calls and callbacks as arrows, the clock between.

Inline SVG whose colours come from the page's style sheet, so that it follows light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kling_contract.history.events import AnyEvent, Callback, ClockMove, Download, Exchange
from kling_contract.reports.words import answered, duration, sent, short, status

KIT, SERVER, RECEIVER, WIDTH = 186, 540, 890, 960
TOP, ROW = 34, 34
MOST = 16
"""Rows drawn; of a longer one, its first events."""


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
    time = Markup('<text x="6" y="{}" class="time">{}</text>').format(
        y + 4, f"#{event.seq} {duration(event.at - start)}"
    )
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
    words = sent(event)
    match event:
        case Exchange():
            return _Row(KIT, SERVER, short(words, 32), tone(status(event)), answered(event))
        case Callback():
            return _Row(SERVER, RECEIVER, short(words, 44), tone(status(event)), answered(event))
        case Download():
            return _Row(KIT, SERVER, short(words, 44), tone(status(event)), answered(event))
        case ClockMove():
            return _Row(KIT, KIT, words, "clock")
        case _:
            return _Row(KIT, KIT, short(words, 90), "note")


def tone(code: int) -> str:
    """The colour class of an HTTP status; 0 when there was none."""
    return {2: "good", 3: "odd", 4: "refused", 5: "bad"}.get(code // 100, "bad")
