"""What stands on the page of each rule: why, a bad exchange and a good one, the source; and that reports lead there."""

import re
from pathlib import Path

import exchanges
import histories
import pytest
from click.testing import CliRunner

from kling_contract.cli.commands.rules import command
from kling_contract.judging import again, judge_history
from kling_contract.reports import files
from kling_contract.rules import pages
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import Choice

BOOK = rules(exchanges.CONTRACT)


def test_every_rule_says_why_and_no_rule_that_is_gone() -> None:
    """A sentence or two for each rule; write it in rules/why.yaml."""
    assert set(pages._why()) == set(BOOK)
    for rule_id, text in pages._why().items():
        assert text.endswith("."), rule_id
        assert 30 < len(text) < 240, rule_id


def test_the_exchanges_are_those_of_the_judges_tests() -> None:
    """The file is as scripts/exchanges writes it: run that after a rule, or what its judge is tested with, has changed."""
    assert exchanges.text() == pages.EXCHANGES.read_text(encoding="utf-8"), "run scripts/exchanges"


@pytest.mark.parametrize("rule_id", sorted(BOOK))
def test_a_rule_shows_both_exchanges(rule_id: str) -> None:
    """What is bad and what is good, with what was expected and seen; no key, and nothing endless."""
    shown = pages.example(rule_id)
    assert shown.bad.strip()
    assert shown.good.strip()
    assert shown.expected
    assert shown.seen
    assert not re.search(r"\bsk-[a-z]", shown.bad + shown.good)
    assert len(shown.bad) + len(shown.good) < 10_000
    assert pages.sources(BOOK[rule_id])


def test_the_command_prints_it() -> None:
    """`kling-contract rules ID` has all of it, without a network and without the docs."""
    done = CliRunner().invoke(command, ["sv-09"], standalone_mode=False)
    assert done.exception is None
    text = " ".join(done.output.split())
    for part in (pages.why("SV-09"), "A bad exchange", '"duration":16', "A good exchange", "document.txt"):
        assert part in text


def test_a_report_leads_to_the_pages_of_its_rules(tmp_path: Path) -> None:
    """Each rule of report.html links to its place in rules.html beside it, which has the why and both exchanges."""
    run = judge_history(histories.good(), Choice(), again("check", ["run.jsonl"]))
    files.write(run, tmp_path)
    report, page = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "rules.html"))
    linked = set(re.findall(r'href="rules\.html#([A-Z0-9-]+)"', report))
    assert (
        linked == {verdict.rule.id for verdict in run.verdicts} == set(re.findall(r'<article id="([A-Z0-9-]+)"', page))
    )
    assert page.count("A bad exchange") == page.count("A good exchange") == len(linked)
    assert "src=" not in page
    assert 'href="http' not in page
