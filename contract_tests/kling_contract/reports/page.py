"""The report as one self-contained HTML file, for one run or for several side by side."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kling_common.masking import TOKEN
from kling_contract.history.events import AnyEvent, Body, Callback, ClockMove, Download, Exchange, to_json
from kling_contract.reading.contract import shipped
from kling_contract.reports.drawing import timeline, tone
from kling_contract.reports.summary import headline
from kling_contract.rules import legend, pages
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.verdicts import ORDER, Result, Run, Verdict

LOUD = (Result.FAIL, Result.STALE, Result.KIT_ERROR, Result.UNTESTABLE, Result.WARN)
BODY_SHOWN = 4000
"""Characters of a body on the page; the whole stands in history.jsonl."""
PROOF = 3
"""Events shown for a rule that holds."""
BEFORE, AFTER = 5, 2
"""Events of the same task that are drawn before and after those that prove a breach."""
_SIGNED = re.compile(r"""(https?://[^\s"'?]{1,4000})\?([^\s"']{1,8000})""", re.IGNORECASE)
_SIGNING = ("sig", "token", "expires", "amz", "key")


@dataclass(frozen=True, slots=True)
class Cell:
    """One rule in one run, ready to be shown."""

    run: int
    verdict: Verdict
    events: tuple[AnyEvent, ...]
    drawing: Markup | None

    @property
    def open(self) -> bool:
        """Whether it is worth being seen without a click."""
        return self.verdict.result in (Result.FAIL, Result.STALE, Result.KIT_ERROR)


@dataclass(frozen=True, slots=True)
class Section:
    """One rule and its cell in each run that judged it."""

    rule: Rule
    cells: tuple[Cell, ...]

    @property
    def worst(self) -> Result:
        """The verdict that needs doing first."""
        return min((cell.verdict.result for cell in self.cells), key=ORDER.index)

    @property
    def blamed(self) -> list[int]:
        """The runs in which it needs doing."""
        return [cell.run for cell in self.cells if cell.verdict.result in LOUD]

    @property
    def rank(self) -> int:
        """The place of its worst verdict."""
        return ORDER.index(self.worst)


def page(runs: Sequence[Run], *, title: str = "Contract report") -> str:
    """The page for *runs*, whose rules are shown in the rulebook's order."""
    sections = _sections(runs)
    groups = list(dict.fromkeys(section.rule.group for section in sections))
    shown = {(cell.run, event.seq): event for section in sections for cell in section.cells for event in cell.events}
    template = _environment().get_template("page.html.j2")
    return template.render(
        title=title,
        runs=runs,
        groups=groups,
        sections=sections,
        events=sorted(shown.items(), key=lambda item: item[0]),
        order=[result for result in ORDER if any(str(result) in run.totals for run in runs)],
        loud=[section for section in sections if section.worst in LOUD],
        headline=headline,
        legend=legend,
        would_run=legend.would_run,
        why=pages.why,
    )


def rule_pages(runs: Sequence[Run]) -> str:
    """The page that each rule of *runs* links to: why it matters, a bad exchange, a good one, and its source."""
    book = {verdict.rule.id: verdict.rule for run in runs for verdict in run.verdicts}
    template = _environment().get_template("rules.html.j2")
    return template.render(rules=sorted(book.values(), key=lambda rule: rule.order), pages=pages, legend=legend)


def _sections(runs: Sequence[Run]) -> list[Section]:
    cells: dict[str, list[Cell]] = {}
    book: dict[str, Rule] = {}
    for number, run in enumerate(runs):
        by_seq = {event.seq: event for event in run.events}
        start = min((event.at for event in run.events if event.at), default=0.0)
        for verdict in run.verdicts:
            book.setdefault(verdict.rule.id, verdict.rule)
            cells.setdefault(verdict.rule.id, []).append(_cell(number, verdict, by_seq, start))
    ordered = sorted(book.values(), key=lambda rule: rule.order)
    return [Section(rule, tuple(cells[rule.id])) for rule in ordered]


def _cell(number: int, verdict: Verdict, by_seq: dict[int, AnyEvent], start: float) -> Cell:
    seqs = verdict.findings[0].events if verdict.findings else verdict.events[:PROOF]
    proof = tuple(by_seq[seq] for seq in sorted(seqs) if seq in by_seq)
    if not proof:
        return Cell(number, verdict, (), None)
    told = story(proof, by_seq) if verdict.findings else with_clock(proof, by_seq)
    return Cell(number, verdict, proof, timeline(told, frozenset(seqs), start))


def story(proof: Sequence[AnyEvent], by_seq: Mapping[int, AnyEvent]) -> list[AnyEvent]:
    """*proof* with what happened to the same task shortly before and after it, and the clock's moves in between."""
    first, last = proof[0].seq, proof[-1].seq
    ids = {task for event in proof for task in _tasks(event)}
    about = [event for event in by_seq.values() if ids & _tasks(event) and event not in proof] if len(ids) == 1 else []
    before = [event for event in about if event.seq < first][-BEFORE:]
    between = [event for event in about if first < event.seq < last]
    after = [event for event in about if event.seq > last][:AFTER]
    chosen = {event.seq: event for event in (*proof, *before, *between[:BEFORE], *after)}
    return with_clock(chosen.values(), by_seq)


def with_clock(events: Iterable[AnyEvent], by_seq: Mapping[int, AnyEvent]) -> list[AnyEvent]:
    """*events* in order, with the moves of their accounts' clocks in between."""
    chosen = {event.seq: event for event in events}
    whos = {"", *(event.who for event in chosen.values())}
    first, last = min(chosen), max(chosen)
    # A foreign recording numbers its events as it likes: what lies between two of them can be a million million numbers.
    span = range(first, last) if last - first < len(by_seq) else [seq for seq in by_seq if first <= seq < last]
    moves = (by_seq[seq] for seq in span if isinstance(by_seq.get(seq), ClockMove))
    clocks = {event.seq: event for event in moves if event.who in whos}
    return [event for _, event in sorted({**chosen, **clocks}.items())]


def _tasks(event: AnyEvent) -> set[str]:
    """The ids of tasks that an event speaks of."""
    texts = [getattr(event, "url", "")]
    if isinstance(event, Exchange | Callback):
        texts += [event.request.body.text or "", (event.answer.body.text or "") if event.answer else ""]
    return {found[0] for text in texts for found in shipped().id_in_text.finditer(text)}


@cache
def _environment() -> Environment:
    loader = PackageLoader("kling_contract.reports", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        curl=curl, pretty=pretty, name=name_of, document=_document, slug=_slug, unsigned=_unsigned
    )
    environment.globals.update(tone=tone)
    environment.tests.update(exchange=_is(Exchange), callback=_is(Callback), download=_is(Download))
    return environment


def _is(kind: type) -> Any:
    return lambda event: isinstance(event, kind)


def _document(event: AnyEvent) -> str:
    return orjson.dumps(to_json(event), option=orjson.OPT_INDENT_2).decode()


def _slug(verdict: str) -> str:
    return str(verdict).replace(" ", "-")


def _unsigned(text: str) -> str:
    """*text* without the query strings of signed links."""

    def cut(found: "re.Match[str]") -> str:
        signs = any(word in found[2].lower() for word in _SIGNING)
        return f"{found[1]}?…" if signs else found[0]

    return _SIGNED.sub(cut, text)


def name_of(event: AnyEvent) -> str:
    """An event in a line."""
    match event:
        case Exchange():
            return f"{event.method} {_unsigned(event.url)}"
        case Callback():
            return f"callback {event.method} {event.url}"
        case Download():
            return f"download {_unsigned(event.url)}"
        case _:
            return event.kind


def pretty(body: Body) -> str:
    """A body as people read it: JSON indented, long ones cut, links without their signatures."""
    if not body.size:
        return ""
    if body.base64 is not None:
        return f"{body.size} bytes that are no text"
    text = body.text or ""
    with suppress(orjson.JSONDecodeError):
        text = orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    text = _unsigned(text)
    return text if len(text) <= BODY_SHOWN else f"{text[:BODY_SHOWN]}\n… {body.size} bytes in all"


def curl(event: Exchange | Download) -> str:
    """The call as a curl command; the key comes from the environment."""
    if isinstance(event, Download):
        asked = ["-H", f"Range: {event.asked_range}"] if event.asked_range else []
        return " ".join(["curl", "-sS", "-D-", "-o", "video.mp4", *map(shlex.quote, [*asked, event.url])])
    words = ["curl", "-sS", "-i", "-X", shlex.quote(event.method), _quoted(event.url)]
    for header, value in event.request.headers:
        if header.lower() not in _OWN_HEADERS:
            words += ["-H", _quoted(f"{header}: {value}")]
    body = event.request.body
    if body.base64 is not None:
        return f"echo {body.base64} | base64 -d | " + " ".join([*words, "--data-binary", "@-"])
    if body.size:
        words += ["--data-binary", _quoted(body.text or "")]
    return " ".join(words) + (f"  # the body was {body.size} bytes long" if body.truncated else "")


_OWN_HEADERS = frozenset({"host", "content-length", "connection", "accept-encoding", "user-agent", "accept"})


def _quoted(text: str) -> str:
    """*text* for a shell, with any masked key read from the environment instead."""
    pieces = [shlex.quote(piece) if piece else "" for piece in TOKEN.split(text)]
    return '"$KLING_API_KEY"'.join(pieces) or "''"
