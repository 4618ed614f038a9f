"""Reports for machines: report.json, JUnit, the badge."""

import re
from typing import Any
from xml.etree import ElementTree

from kling_contract.rules.rulebook import Level
from kling_contract.rules.verdicts import Outcome, Run, Verdict

PROOF = 20
"""Events named for a rule that holds; those of a breach are all named."""


def report(run: Run) -> dict[str, Any]:
    """`report.json`: the run and each rule's verdict, in the rulebook's order."""
    return {
        "target": run.target,
        "mode": run.mode,
        "contract": run.contract,
        "seed": run.seed,
        "exit": run.exit,
        "totals": run.totals,
        "rules": [_rule(outcome) for outcome in run.outcomes],
    }


def _rule(outcome: Outcome) -> dict[str, Any]:
    findings = outcome.findings
    return {
        "id": outcome.rule.id,
        "verdict": str(outcome.verdict),
        "level": str(outcome.rule.level),
        "grade": outcome.rule.grade,
        "group": outcome.rule.group,
        "sentence": outcome.rule.sentence,
        "seen": outcome.seen,
        "expected": outcome.expected,
        "reason": outcome.reason,
        "events": list(findings[0].events if findings else outcome.events[:PROOF]),
        "findings": [{"seen": f.seen, "expected": f.expected, "events": list(f.events)} for f in findings],
        "rerun": outcome.rerun,
    }


_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FAILURES = (Verdict.FAIL, Verdict.STALE)
_ERRORS = (Verdict.UNTESTABLE, Verdict.KIT_ERROR)
_SKIPS = (Verdict.NOT_RUN, Verdict.KNOWN)


def junit(run: Run) -> bytes:
    """JUnit XML with a testcase for each rule; what could not be tested is an error, what was not run is skipped."""
    suites = ElementTree.Element("testsuites", name="kling-contract")
    for group in dict.fromkeys(outcome.rule.group for outcome in run.outcomes):
        members = [outcome for outcome in run.outcomes if outcome.rule.group == group]
        suite = ElementTree.SubElement(suites, "testsuite", name=group, tests=str(len(members)))
        for name, verdicts in (("failures", _FAILURES), ("errors", _ERRORS), ("skipped", _SKIPS)):
            suite.set(name, str(sum(outcome.verdict in verdicts for outcome in members)))
        for outcome in members:
            suite.append(_testcase(outcome))
    ElementTree.indent(suites)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites) + b"\n"


def _testcase(outcome: Outcome) -> ElementTree.Element:
    rule = outcome.rule
    name = xml_text(f"{rule.id} {rule.sentence}")
    case = ElementTree.Element("testcase", classname=f"kling-contract.{rule.group}", name=name, time="0")
    properties = ElementTree.SubElement(case, "properties")
    for key, value in (("level", rule.level), ("grade", rule.grade), ("verdict", outcome.verdict)):
        ElementTree.SubElement(properties, "property", name=key, value=str(value))
    text = xml_text("\n".join(_lines(outcome)))
    if outcome.verdict in _FAILURES:
        element = ElementTree.SubElement(case, "failure", type=str(outcome.verdict), message=xml_text(outcome.seen))
        element.text = text
    elif outcome.verdict in _ERRORS:
        ElementTree.SubElement(case, "error", type=str(outcome.verdict), message=xml_text(outcome.reason))
    elif outcome.verdict in _SKIPS:
        ElementTree.SubElement(case, "skipped", message=xml_text(outcome.reason))
    elif outcome.findings:
        ElementTree.SubElement(case, "system-out").text = text
    return case


def _lines(outcome: Outcome) -> list[str]:
    lines = [outcome.reason] if outcome.reason else []
    for finding in outcome.findings:
        events = ", ".join(map(str, finding.events))
        lines += [f"expected: {finding.expected}", f"seen: {finding.seen}", f"events: {events}", ""]
    return [*lines, f"again: {outcome.rerun}"]


def xml_text(text: str) -> str:
    """*text* without the control characters that XML cannot hold."""
    return _UNWRITABLE.sub("\ufffd", text)


def badge(run: Run) -> dict[str, Any]:
    """A Shields endpoint: MUST rules that hold of those that were judged; never green when something was untestable."""
    musts = [outcome for outcome in run.outcomes if outcome.rule.level is Level.MUST]
    judged = [outcome for outcome in musts if outcome.verdict is not Verdict.NOT_RUN]
    held = sum(outcome.verdict is Verdict.PASS for outcome in judged)
    doubt = run.having(Verdict.UNTESTABLE, Verdict.KIT_ERROR)
    colour = "yellow" if doubt or run.stopped or run.having(Verdict.KNOWN) else "brightgreen"
    if run.having(*_FAILURES):
        colour = "red"
    elif not judged:
        colour = "lightgrey"
    message = f"{held}/{len(judged)} MUST"
    return {"schemaVersion": 1, "label": f"contract kling-v3-turbo@{run.contract}", "message": message, "color": colour}
