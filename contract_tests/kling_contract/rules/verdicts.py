"""From judgements to verdicts: what each broken rule means for this run, and for its exit code."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kling_common.documents import BadYaml, load
from kling_contract.history.events import AnyEvent, Exchange, Note
from kling_contract.history.labels import Topic
from kling_contract.reading.contract import Contract
from kling_contract.rules.judging import Finding, Judgement
from kling_contract.rules.rulebook import Level, Rule, rules

REAL = ("readonly", "refusals", "paid")
"""Modes in which the target is taken for the real service."""
SPENDING = ("refusals", "paid")
"""Those of them that may cost something."""
DRIVEN = ("fake", *REAL)
"""Modes in which the kit itself was the client."""
CLIENT = "client"
"""The mode of a history of the client lab."""


class SetupError(Exception):
    """The run cannot begin: one line for the user, exit code 2."""


class Result(StrEnum):
    """What became of a rule: the word in reports. `info` is a MAY that is not met; it weighs nothing."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WARN = "warn"
    INFO = "info"
    KNOWN = "known"
    STALE = "stale"
    NOT_RUN = "not-run"
    UNTESTABLE = "untestable"
    KIT_ERROR = "kit-error"


BROKEN = {Level.MUST: Result.FAIL, Level.SHOULD: Result.WARN, Level.MAY: Result.INFO}
ORDER = (
    Result.FAIL, Result.STALE, Result.KIT_ERROR, Result.UNTESTABLE, Result.WARN, Result.INFO, Result.KNOWN,
    Result.NOT_RUN, Result.PASS,
)  # fmt: skip
"""How reports sort verdicts by result: what needs doing first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's verdict. `reason` says why it was not run, is known, or could not be tested; `rerun` repeats just it."""

    rule: Rule
    result: Result
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    events: tuple[int, ...] = ()
    looked: int = 0
    rerun: str = ""

    @property
    def kinds(self) -> list[tuple[Finding, int]]:
        """The first of each kind of breach, and how often it was found."""
        found: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            found.setdefault((finding.expected, finding.seen), []).append(finding)
        return [(same[0], len(same)) for same in found.values()]

    @property
    def expected(self) -> str:
        """What the first breach should have been; empty where there is none."""
        return self.findings[0].expected if self.findings else ""

    @property
    def seen(self) -> str:
        """What the first breach was, and how many more there are; the reason where there is none."""
        if not self.findings:
            return self.reason
        more = len(self.findings) - 1
        return self.findings[0].seen + (f" (and {more} more)" if more else "")


@dataclass(frozen=True, slots=True)
class Run:
    """One judged history: what was judged, the verdicts in the rulebook's order, and the history itself."""

    target: str
    mode: str
    contract: str
    verdicts: tuple[Verdict, ...]
    events: tuple[AnyEvent, ...] = ()
    seed: int | None = None
    strict: bool = False
    stopped: str = ""
    features: tuple[str, ...] = ()
    said_exit: int | None = None
    """The exit code, where the run is read from a report that names it."""

    @property
    def totals(self) -> dict[str, int]:
        """How many rules have each result; results that no rule has are left out."""
        counts = {result: sum(verdict.result is result for verdict in self.verdicts) for result in ORDER}
        return {str(result): count for result, count in counts.items() if count}

    @property
    def probes(self) -> Counter[str]:
        """How many exchanges the kit sent for each rule, by the labels of its drivers: what reached the wire, not what was planned."""
        sent = (event for event in self.events if isinstance(event, Exchange) and event.probe is not None)
        return Counter(rule for event in sent if event.probe for rule in event.probe.rules)

    def having(self, *results: Result) -> list[Verdict]:
        """The verdicts with one of *results*, the first cause first."""
        found = [verdict for verdict in self.verdicts if verdict.result in results]
        return sorted(found, key=lambda verdict: (ORDER.index(verdict.result), verdict.rule.order))

    def story(self, finding: Finding) -> str:
        """The story of the client lab in which something was found; empty where it was in none, or in several."""
        cases = {event.case for event in self.events if event.seq in finding.events}
        notes = (event for event in self.events if isinstance(event, Note) and event.topic == Topic.CASE)
        lab = {note.case: str(note.data.get("story") or note.case) for note in notes}
        return next((lab[case] for case in cases if case in lab), "") if len(cases) == 1 else ""

    @property
    def exit(self) -> int:
        """0 good; 1 newly broken or stale; 2 nothing judged, or the kit broke; 3 stopped by a cap."""
        if self.said_exit is not None:
            return self.said_exit
        bad = {Result.FAIL, Result.STALE}
        if self.strict:
            bad |= {Result.WARN, Result.UNTESTABLE}
        if self.having(*bad):
            return 1
        if self.stopped:
            return 3
        judged = [verdict for verdict in self.verdicts if verdict.looked]
        return 2 if self.having(Result.KIT_ERROR) or not judged else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the user chose for a run: rules by id, known failures with their reasons, and how strict to be."""

    only: frozenset[str] = frozenset()
    skip: frozenset[str] = frozenset()
    known: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False

    def book(self, contract: Contract) -> list[Rule]:
        """The chosen rules of the contract's rulebook, in order.

        Raises:
            SetupError: an id is not in the rulebook, or nothing is left.
        """
        every = rules(contract)
        unknown = sorted((self.only | self.skip | set(self.known)) - set(every))
        if unknown:
            raise SetupError(f"no such rule: {', '.join(unknown)}; `kling-contract rules` lists them")
        chosen = [
            rule for rule in every.values() if (rule.id in self.only or not self.only) and rule.id not in self.skip
        ]
        if not chosen:
            raise SetupError("--only and --skip leave no rule")
        return chosen


def read_known(path: Path) -> dict[str, str]:
    """The known-failing file: a YAML mapping of rule id to the reason why it may fail; raises as `read_reasons` does."""
    return read_reasons(path, "write one line a rule, `SV-08: why it may fail`")


def read_yaml(path: Path) -> Any:
    """The value of the one document of a YAML file.

    Raises:
        SetupError: it cannot be read, or is no YAML.
    """
    try:
        return load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    except (BadYaml, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: {' '.join(str(error).split())}") from error


def read_reasons(path: Path, form: str) -> dict[str, str]:
    """A YAML mapping of names to the reasons why they may be; *form* says how to write one.

    Raises:
        SetupError: it cannot be read, is no such mapping, or an entry has no reason.
    """
    document = read_yaml(path) or {}
    if not isinstance(document, dict):
        raise SetupError(f"{path}: {form}")
    for name, reason in document.items():
        if not isinstance(name, str) or not isinstance(reason, str) or not reason.strip():
            raise SetupError(f"{path}: {name} needs a reason")
    return {name: reason.strip() for name, reason in document.items()}


def run_facts(events: Iterable[AnyEvent]) -> dict[str, Any]:
    """What the history's run note says of target, mode, seed and features; empty without one."""
    return next((dict(e.data) for e in events if isinstance(e, Note) and e.topic == Topic.RUN), {})


def is_real(events: Iterable[AnyEvent], mode: str, contract: Contract) -> bool:
    """Whether the history is one of the real service: by its mode, or by the host that was called."""
    hosts = tuple(f"{server['url'].rstrip('/')}/" for server in contract.document["servers"])
    return mode in REAL or any(isinstance(event, Exchange) and event.url.startswith(hosts) for event in events)


def decide(
    events: tuple[AnyEvent, ...],
    judgements: Iterable[Judgement],
    contract: Contract,
    choice: Choice,
    rerun: Callable[[str], str],
) -> Run:
    """The run that *judgements* of *events* amount to; *rerun* gives the command that repeats one rule."""
    facts = run_facts(events)
    mode = str(facts.get("mode", "recorded"))
    real = is_real(events, mode, contract)
    noted = {topic: _noted(events, topic) for topic in (Topic.NOT_RUN, Topic.UNTESTABLE, Topic.KIT_ERROR)}
    verdicts = [
        _verdict_of(judgement, noted, choice, mode, real=real, rerun=rerun(judgement.rule.id))
        for judgement in judgements
    ]
    stopped = next((str(e.data.get("reason")) for e in events if isinstance(e, Note) and e.topic == Topic.STOPPED), "")
    return Run(
        target=str(facts.get("target", "")),
        mode=mode,
        contract=contract.version,
        verdicts=tuple(verdicts),
        events=events,
        seed=facts.get("seed"),
        strict=choice.strict,
        stopped=stopped,
        features=tuple(facts.get("features") or ()),
    )


def _noted(events: Iterable[AnyEvent], topic: Topic) -> dict[str, str]:
    found = (event.data for event in events if isinstance(event, Note) and event.topic == topic)
    return {str(data.get("rule", "")): str(data.get("reason", "")) for data in found}


def _verdict_of(
    judgement: Judgement, noted: Mapping[Topic, Mapping[str, str]], choice: Choice, mode: str, *, real: bool, rerun: str
) -> Verdict:
    rule = judgement.rule
    result, reason = _result_of(judgement, noted, mode, real=real)
    known = choice.known.get(rule.id)
    if known is not None and judgement.findings:
        result, reason = Result.KNOWN, known
    elif known is not None and result is Result.PASS:
        result, reason = Result.STALE, f"listed as known to fail ({known}), but it holds"
    return Verdict(rule, result, reason, judgement.findings, judgement.events, judgement.looked, rerun)


def _result_of(
    judgement: Judgement, noted: Mapping[Topic, Mapping[str, str]], mode: str, *, real: bool
) -> tuple[Result, str]:
    rule = judgement.rule
    if judgement.broken or rule.id in noted[Topic.KIT_ERROR]:
        return Result.KIT_ERROR, judgement.broken or noted[Topic.KIT_ERROR][rule.id]
    if judgement.unconfirmed:
        return (Result.WARN if rule.level is Level.MUST else Result.UNTESTABLE), judgement.unconfirmed
    if judgement.findings:
        if real and not rule.for_clients and rule.grade != "D" and BROKEN[rule.level] is Result.FAIL:
            return Result.WARN, "differs from our model of the service, which nothing documents"
        return BROKEN[rule.level], ""
    if rule.id in noted[Topic.UNTESTABLE]:
        return Result.UNTESTABLE, noted[Topic.UNTESTABLE][rule.id]
    if judgement.looked:
        return Result.PASS, ""
    if judgement.implied:
        return Result.NOT_RUN, f"implied by {'; '.join(judgement.implied)}"
    return Result.NOT_RUN, noted[Topic.NOT_RUN].get(rule.id) or _why_not(rule, mode)


def _why_not(rule: Rule, mode: str) -> str:
    if rule.for_clients and mode != CLIENT:
        return "needs the client lab"
    if mode in REAL:
        return _why_not_real(rule, mode)
    return "nothing in this history shows it"


def _why_not_real(rule: Rule, mode: str) -> str:
    if not {"R0", "R$", "H"} & set(rule.where):
        return "needs a fake with the control protocol"
    if mode != "paid" and "R0" not in rule.where:
        return "needs a task that is billed: --mode paid"
    if mode != "refusals" and "R0" in rule.where:
        return "needs creates with the key that must be refused: --mode refusals"
    return "nothing in this history shows it"
