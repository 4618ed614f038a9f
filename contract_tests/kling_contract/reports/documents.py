"""Reports for machines: report.json, JUnit, the badge."""

import re
from typing import Any
from xml.etree import ElementTree

from kling_contract.reports.times import Clock
from kling_contract.rules.rulebook import Level
from kling_contract.rules.verdicts import Result, Run, Verdict

PROOF = 20
"""Events named for a rule that holds; those of a breach are all named."""


def report(run: Run) -> dict[str, Any]:
    """`report.json`: the run and each rule's verdict, in the rulebook's order."""
    probes = run.probes
    return {
        "target": run.target,
        "mode": run.mode,
        "contract": run.contract,
        "seed": run.seed,
        "exit": run.exit,
        "totals": run.totals,
        "rules": [{**_rule(verdict), "probes": probes[verdict.rule.id]} for verdict in run.verdicts],
    }


def _rule(verdict: Verdict) -> dict[str, Any]:
    findings = verdict.findings
    return {
        "id": verdict.rule.id,
        "verdict": str(verdict.result),
        "level": str(verdict.rule.level),
        "grade": verdict.rule.grade,
        "group": verdict.rule.group,
        "sentence": verdict.rule.sentence,
        "seen": verdict.seen,
        "expected": verdict.expected,
        "reason": verdict.reason,
        "looked": verdict.looked,
        "events": list(findings[0].events if findings else verdict.events[:PROOF]),
        "findings": [{"seen": f.seen, "expected": f.expected, "events": list(f.events)} for f in findings],
        "rerun": verdict.rerun,
    }


_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FAILURES = (Result.FAIL, Result.STALE)
_ERRORS = (Result.UNTESTABLE, Result.KIT_ERROR)
_SKIPS = (Result.NOT_RUN, Result.KNOWN)


def junit(run: Run) -> bytes:
    """JUnit XML with a testcase for each rule; what could not be tested is an error, what was not run is skipped.

    A time is that of the calls that were looked at, each second counted once; a suite's is that of all its rules.
    """
    probes, clock = run.probes, Clock(run)
    suites = ElementTree.Element("testsuites", name="kling-contract", time=clock.spent(None))
    for group in dict.fromkeys(verdict.rule.group for verdict in run.verdicts):
        members = [verdict for verdict in run.verdicts if verdict.rule.group == group]
        suite = ElementTree.SubElement(suites, "testsuite", name=group, tests=str(len(members)))
        for name, results in (("failures", _FAILURES), ("errors", _ERRORS), ("skipped", _SKIPS)):
            suite.set(name, str(sum(verdict.result in results for verdict in members)))
        suite.set("time", clock.spent({seq for verdict in members for seq in verdict.events}))
        suite.set("timestamp", clock.began)
        for verdict in members:
            suite.append(_testcase(verdict, probes[verdict.rule.id], clock))
    ElementTree.indent(suites)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites) + b"\n"


def _testcase(verdict: Verdict, probes: int, clock: Clock) -> ElementTree.Element:
    rule = verdict.rule
    name = xml_text(f"{rule.id} {rule.sentence}")
    time = clock.spent(set(verdict.events))
    case = ElementTree.Element("testcase", classname=f"kling-contract.{rule.group}", name=name, time=time)
    properties = ElementTree.SubElement(case, "properties")
    told = (("level", rule.level), ("grade", rule.grade), ("verdict", verdict.result), ("probes", probes))
    for key, value in told:
        ElementTree.SubElement(properties, "property", name=key, value=str(value))
    text = xml_text("\n".join(_lines(verdict)))
    if verdict.result in _FAILURES:
        element = ElementTree.SubElement(case, "failure", type=str(verdict.result), message=xml_text(verdict.seen))
        element.text = text
    elif verdict.result in _ERRORS:
        ElementTree.SubElement(case, "error", type=str(verdict.result), message=xml_text(verdict.reason))
    elif verdict.result in _SKIPS:
        ElementTree.SubElement(case, "skipped", message=xml_text(verdict.reason))
    elif verdict.findings:
        ElementTree.SubElement(case, "system-out").text = text
    return case


def _lines(verdict: Verdict) -> list[str]:
    """What is said of a breach: each kind of it once, with the events of the first and how often it was found."""
    lines = [verdict.reason] if verdict.reason else []
    for finding, times in verdict.kinds:
        events = ", ".join(map(str, finding.events))
        often = f" (found {times} times)" if times > 1 else ""
        lines += [f"expected: {finding.expected}", f"seen: {finding.seen}{often}", f"events: {events}", ""]
    return [*lines, f"again: {verdict.rerun}"]


def xml_text(text: str) -> str:
    """*text* without the control characters that XML cannot hold."""
    return _UNWRITABLE.sub("\ufffd", text)


def badge(run: Run) -> dict[str, Any]:
    """A Shields endpoint: MUST rules that hold of those that were judged; never green when something was untestable."""
    musts = [verdict for verdict in run.verdicts if verdict.rule.level is Level.MUST]
    judged = [verdict for verdict in musts if verdict.result is not Result.NOT_RUN]
    held = sum(verdict.result is Result.PASS for verdict in judged)
    doubt = run.having(Result.UNTESTABLE, Result.KIT_ERROR)
    colour = "yellow" if doubt or run.stopped or run.having(Result.KNOWN) else "brightgreen"
    if run.having(*_FAILURES):
        colour = "red"
    elif not judged:
        colour = "lightgrey"
    message = f"{held}/{len(judged)} MUST"
    return {"schemaVersion": 1, "label": f"contract kling-v3-turbo@{run.contract}", "message": message, "color": colour}
