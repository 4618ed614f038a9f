"""The rulebook as tests: `pytest --pyargs kling_contract --kling-target URL --kling-api-key KEY`."""

import pytest

from kling_contract.rules.verdicts import Result, Verdict

_BROKEN = (Result.FAIL, Result.STALE, Result.KIT_ERROR)


def test_rule(kling_verdict: Verdict) -> None:
    """One rule holds; a SHOULD that does not is an expected failure, and what nothing could show is skipped."""
    verdict = kling_verdict
    said = f"{verdict.rule.id} {verdict.rule.sentence}\nexpected: {verdict.expected}\nseen: {verdict.seen}\nagain: {verdict.rerun}"
    if verdict.result in (Result.NOT_RUN, Result.UNTESTABLE):
        pytest.skip(f"{verdict.result}: {verdict.reason}")
    if verdict.result in (Result.WARN, Result.INFO, Result.KNOWN):
        pytest.xfail(said)
    assert verdict.result not in _BROKEN, said
