"""What differs between two histories: each difference once, however many steps show it, with the rules that it breaks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kling_contract.comparing.shapes import MONEY, Leaf, Response
from kling_contract.comparing.steps import Step, steps_of
from kling_contract.history.events import AnyEvent
from kling_contract.reading.contract import Contract
from kling_contract.reading.view import View
from kling_contract.rules.judging import Finding, Judgement
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.rulebook import rules as rulebook
from kling_contract.rules.verdicts import run_facts

ABSENT = "absent"
_PROMPT, _SLOW = 5.0, 30.0
"""Seconds: a response within the first is prompt, within the second slow, else very slow."""
_TIED = ("error", "price")


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. kind: `status`, `member`, `type`, `value`, `header`, `price`, `error`, `timing`, `outcome`, `rule`.

    id: its name in an allow file. where: a pointer, a header, or what was asked. a, b: what each side showed. steps: which steps show
    it. rules: what it breaks on one side. verdict: `fake wrong`, `document wrong`, `changed since`, `allowed`; reason: why that.
    """

    id: str
    kind: str
    where: str
    a: str
    b: str
    steps: tuple[str, ...]
    rules: tuple[str, ...] = ()
    verdict: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two histories held against each other. single: steps that only one of them has, and which."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    compared: int
    single: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    """Allowances that no difference needs."""

    @property
    def number(self) -> int:
        """How many differences are not allowed."""
        return sum(difference.verdict != "allowed" for difference in self.differences)

    @property
    def exit(self) -> int:
        """0 equal, 1 different or an allowance that is not needed."""
        return 1 if self.number or self.stale else 0


@dataclass(frozen=True, slots=True)
class Side:
    """One history: its name, its steps, its judgements."""

    name: str
    events: tuple[AnyEvent, ...]
    steps: Mapping[str, Step]
    judged: Mapping[str, Judgement]
    view: View


def side_of(name: str, events: Iterable[AnyEvent], contract: Contract) -> Side:
    """A history, read for comparing."""
    kept = tuple(events)
    book = [rule for rule in rulebook(contract).values() if not rule.for_clients]
    judged = {judgement.rule.id: judgement for judgement in judge_all(kept, contract, book)}
    return Side(name, kept, steps_of(kept, contract), judged, View(kept, contract))


def compare(a: Side, b: Side, contract: Contract, allowed: Mapping[str, str]) -> Comparison:
    """Hold *b* against *a*; *allowed* maps the ids of differences to the reasons why they may be."""
    common = [name for name in a.steps if name in b.steps]
    found = _merged(difference for name in common for difference in _of_step(a.steps[name], b.steps[name]))
    found += list(_of_tasks(a, b, contract))
    found = _with_verdicts(found, a, b, contract)
    same = _target(a) == _target(b)
    classed = [_classed(difference, allowed, contract, b, same=same) for difference in found]
    single = [name for name in (*a.steps, *b.steps) if (name in a.steps) != (name in b.steps)]
    lone = tuple(name for name in single if not (a.steps.get(name) or b.steps[name]).live)
    stale = tuple(sorted(set(allowed) - {difference.id for difference in found}))
    return Comparison(a.name, b.name, tuple(classed), len(common), lone, stale)


def _target(side: Side) -> str:
    return str(run_facts(side.events).get("target", side.name))


def _of_step(a: Step, b: Step) -> Iterator[Difference]:
    """What one step shows."""
    one, other = a.response, b.response
    if one.status != other.status:
        said = (str(one.status or "no answer"), str(other.status or "no answer"))
        yield Difference(f"status:{a.topic}:{'-'.join(said).replace(' ', '')}", "status", a.topic, *said, (a.name,))
        return
    yield from _of_headers(a, one, other)
    if a.flawed and one.status < 300:
        return  # both take what must be refused: what they make of it is no promise of anybody's
    yield from _of_bodies(a, one, other)
    pace = (_pace(one.seconds), _pace(other.seconds))
    if pace[0] != pace[1]:
        yield Difference(f"timing:{a.operation}", "timing", a.operation, *pace, (a.name,))


def _pace(seconds: float) -> str:
    if seconds < _PROMPT:
        return f"under {_PROMPT:g} s"
    return f"under {_SLOW:g} s" if seconds < _SLOW else f"over {_SLOW:g} s"


def _of_headers(step: Step, one: Response, other: Response) -> Iterator[Difference]:
    for name in dict.fromkeys((*one.headers, *other.headers)):
        a, b = one.headers.get(name, ABSENT), other.headers.get(name, ABSENT)
        if a != b:
            yield Difference(
                f"header:{name}:{a}-{b}" if "..." not in (a, b) else f"header:{name}",
                "header",
                name,
                a,
                b,
                (step.name,),
            )


def _of_bodies(step: Step, one: Response, other: Response) -> Iterator[Difference]:
    for pointer in dict.fromkeys((*one.leaves, *other.leaves)):
        parent = pointer.rpartition("/")[0]
        a, b = one.leaves.get(pointer), other.leaves.get(pointer)
        if a is None or b is None:
            if _has_parent(parent, one, other) and not _empty_list(pointer, one, other):
                seen = ("present", ABSENT) if b is None else (ABSENT, "present")
                yield Difference(f"member:{pointer}:{seen[1]}", "member", pointer, *seen, (step.name,))
        elif _kind(a) != _kind(b):
            tied = _tied(pointer, other.status, a, b)
            yield Difference(
                tied or f"type:{pointer}:{a.type}-{b.type}",
                "error" if tied else "type",
                pointer,
                a.type,
                b.type,
                (step.name,),
            )
        elif a.value != b.value:
            yield _of_values(step, pointer, a, b)


def _has_parent(parent: str, one: Response, other: Response) -> bool:
    """Whether both sides have what a member stands in, and it is of one type; else that is the difference."""
    holders = [side.leaves.get(parent) for side in (one, other)]
    return all(holder is not None for holder in holders) and holders[0].type == holders[1].type  # type: ignore[union-attr]


def _kind(leaf: Leaf) -> str:
    return "number" if leaf.type in ("integer", "number") else leaf.type


def _tied(pointer: str, status: int, a: Leaf, b: Leaf) -> str:
    """The id of the dialect of errors: a code that is the status on one side alone."""
    numbers = [leaf.raw for leaf in (a, b) if leaf.type == "integer"]
    return "error:dialect" if pointer == "/error/code" and numbers == [status] else ""


def _empty_list(pointer: str, one: Response, other: Response) -> bool:
    """Whether one side's list is empty, so that nothing can be said of its rows."""
    head, _, last = pointer.rpartition("/")
    if last != "0":
        return False
    lists = [side.leaves[head].raw for side in (one, other) if head in side.leaves]
    return head.endswith("/data") and any(not rows for rows in lists)


def _of_values(step: Step, pointer: str, a: Leaf, b: Leaf) -> Difference:
    name = pointer.rpartition("/")[2]
    shown = (repr(a.value), repr(b.value))
    if name in MONEY and _kind(a) == "number":
        what = "dollars" if name in ("usd", "cny") else "credits"
        return Difference(f"price:{what}", "price", pointer, *shown, (step.name,))
    return Difference(f"value:{pointer}:{a.value}-{b.value}", "value", pointer, *shown, (step.name,))


def _merged(found: Iterable[Difference]) -> list[Difference]:
    """Each difference once, with all the steps that show it; what comes with another is left to that one."""
    by_id: dict[str, Difference] = {}
    for difference in found:
        known = by_id.get(difference.id)
        if known is None:
            by_id[difference.id] = difference
        elif difference.steps[0] not in known.steps:
            by_id[difference.id] = replace(known, steps=known.steps + difference.steps)
    if "error:dialect" in by_id:
        by_id = {name: one for name, one in by_id.items() if not name.startswith("value:/error/type:")}
    if "price:credits" in by_id and "price:dollars" in by_id and _in_step(by_id):
        del by_id["price:dollars"]
    return list(by_id.values())


def _in_step(by_id: Mapping[str, Difference]) -> bool:
    """Whether the dollars differ only because the credits do."""
    credits_, dollars = by_id["price:credits"], by_id["price:dollars"]
    try:
        ratios = [float(one.b) / float(one.a) for one in (credits_, dollars)]
    except ZeroDivisionError:
        return False
    return abs(ratios[0] - ratios[1]) < 0.01 * abs(ratios[0])


def _of_tasks(a: Side, b: Side, contract: Contract) -> Iterator[Difference]:
    """How the tasks ended, and in which class of time."""
    ends = [_ends(side, contract) for side in (a, b)]
    if not all(ends):
        return
    one, other = ends
    if one["outcome"] != other["outcome"]:
        yield Difference("outcome:task", "outcome", "the task", one["outcome"], other["outcome"], ("the task",))
    elif one["time"] != other["time"]:
        yield Difference("timing:task", "timing", "the task", one["time"], other["time"], ("the task",))


def _ends(side: Side, contract: Contract) -> dict[str, str]:
    """Outcome and time of the first task that a right create made; empty without one."""
    made = [story for story in side.view.tasks.values() if story.create is not None and not story.create.flaws]
    if not made:
        return {}
    story = made[0]
    if story.end is None or story.create is None:
        return {"outcome": "not over", "time": ""}
    seconds = story.ended_by - story.create.event.ended_at
    limit = f"{contract.give_up:g} s"
    return {
        "outcome": str(story.end.status),
        "time": f"within {limit}" if seconds <= contract.give_up else f"over {limit}",
    }


# Rules


def _with_verdicts(found: list[Difference], a: Side, b: Side, contract: Contract) -> list[Difference]:
    """*found*, each with the rules that it breaks, and a difference for every broken rule that none of them explains."""
    book = rulebook(contract)
    for rule_id, rule in book.items():
        one, other = a.judged.get(rule_id), b.judged.get(rule_id)
        if one is None or other is None or bool(one.findings) == bool(other.findings):
            continue
        side, judgement = (a, one) if one.findings else (b, other)
        owner = _explained(found, side, judgement.findings, rule)
        if owner is not None:
            found[owner] = replace(found[owner], rules=(*found[owner].rules, rule_id))
            continue
        finding = judgement.findings[0]
        said = ("holds", f"broken: {finding.seen}") if side is b else (f"broken: {finding.seen}", "holds")
        found.append(Difference(f"rule:{rule_id}", "rule", rule.sentence, *said, (), (rule_id,)))
    return found


def _explained(found: list[Difference], side: Side, findings: tuple[Finding, ...], rule: Rule) -> int | None:
    """The place of the difference that breaks *rule*: shown by the same events, and named in the finding."""
    seqs = {seq for finding in findings for seq in finding.events}
    text = " ".join([rule.sentence, *(f"{finding.expected} {finding.seen}" for finding in findings)]).lower()
    undocumented = "documented error" in text
    for number, difference in enumerate(found):
        shown = {seq for name in difference.steps if name in side.steps for seq in side.steps[name].response.events}
        everywhere = difference.kind in ("member", "type", "value", "header", "price", "error")
        if difference.kind == "status" and shown & seqs:
            return number
        if everywhere and any(word in text for word in _words(difference)) and (shown & seqs or _task_wide(difference)):
            return number
        if undocumented and difference.where.startswith("/error") and shown & seqs:
            return number
        if difference.kind == "outcome" and rule.id in ("SL-17", "SL-10", "SK-02"):
            return number
    return None


def _task_wide(difference: Difference) -> bool:
    """Whether it shows in every sighting of a task, of which a step keeps the first."""
    return any("the task" in name or "create" in name for name in difference.steps)


def _words(difference: Difference) -> list[str]:
    """What a finding calls a difference."""
    name = next(
        (part for part in reversed(difference.where.split("/")) if not part.isdigit()), difference.where
    ).lower()
    if difference.kind == "price":
        return ["credits", "charge", "cost", "balance"]
    if difference.kind == "error":
        return ["code", "type", "dialect"]
    if difference.where == "x-request-id":
        return ["request id", "x-request-id"]
    return [name] if name else [""]


def _classed(
    difference: Difference, allowed: Mapping[str, str], contract: Contract, b: Side, *, same: bool
) -> Difference:
    """*difference* with what it means for who has to change something."""
    if difference.id in allowed:
        return replace(difference, verdict="allowed", reason=allowed[difference.id])
    if same:
        return replace(difference, verdict="changed since")
    book = rulebook(contract)
    documented = [name for name in difference.rules if book[name].grade == "D" and b.judged[name].findings]
    return replace(difference, verdict="document wrong" if documented else "fake wrong")


def event_json(difference: Difference) -> dict[str, Any]:
    """A difference as JSON."""
    return {
        "id": difference.id, "kind": difference.kind, "where": difference.where, "a": difference.a, "b": difference.b,
        "steps": list(difference.steps), "rules": list(difference.rules), "class": difference.verdict,
        **({"reason": difference.reason} if difference.reason else {}),
    }  # fmt: skip
