"""What `docs/kit.md` says a new rule costs, walked through with a throw-away rule: a row, a judge, a mutant, the evidence."""

from collections.abc import Iterator
from pathlib import Path

import histories
import pytest
import yaml
from faults import DROP, inner, mutated, read
from tape import CONTRACT

from kling_contract.mutants.messages import DROP as DROP_MEMBER
from kling_contract.mutants.mutant import broken
from kling_contract.mutants.serving import fake
from kling_contract.mutants.switches import setting, shows
from kling_contract.mutants.trial import try_mutant
from kling_contract.reading.view import View
from kling_contract.rules import judging, rulebook
from kling_contract.rules.judging import Check, check, judge
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Rule

ROW = {
    "id": "SW-99",
    "level": "SHOULD",
    "grade": "I",
    "where": ["F"],
    "sentence": "Every answer to a query says how long the video will be.",
}
DOCS = Path(__file__).parents[2] / "docs" / "kit.md"


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Rule]]:
    """The rulebook with one row more, and its judge; both are gone afterwards."""
    document = yaml.safe_load(rulebook.FILE.read_text(encoding="utf-8"))
    document["groups"][0]["rules"].append(ROW)
    file = tmp_path / "rulebook.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setattr(rulebook, "FILE", file)
    rulebook.rules.cache_clear()

    @judge("SW-99")
    def says_its_length(view: View, _: Rule) -> Iterator[Check]:
        """Looks at answered queries."""
        for call in view.calls:
            if call.name == "getTask" and call.status == 200:
                info = call.got.get("task_info")
                said = isinstance(info, dict) and "video_duration" in info
                yield check(said, "task_info.video_duration", "none", call)

    yield dict(rulebook.rules(CONTRACT))
    del judging.JUDGES["SW-99"]
    rulebook.rules.cache_clear()


def test_the_docs_say_what_it_costs() -> None:
    """
    One row, one judge, one mutant, and the evidence for the tests: said once, and nothing else is asked for.
    """
    text = " ".join(DOCS.read_text(encoding="utf-8").split())
    assert text.count("Adding a rule costs") == 1
    said = text.split("Adding a rule costs")[1].split("##")[0]
    for part in ("one row", "one judge", "one mutant", "the evidence"):
        assert part in said


def test_row_judge_and_evidence_are_enough(book: dict[str, Rule]) -> None:
    """
    The new rule holds in a correct history, and is named in one that breaks it.
    """
    rule = book["SW-99"]
    (held,) = judge_all(histories.good(), CONTRACT, [rule])
    assert held.looked
    assert not held.findings
    (named,) = judge_all(mutated(read("processing"), inner("task_info", video_duration=DROP)), CONTRACT, [rule])
    assert named.findings[0].expected == "task_info.video_duration"


@pytest.mark.e2e
def test_a_mutant_proves_it(book: dict[str, Rule]) -> None:
    """
    A correct server with one switch thrown is named by the new rule, first.
    """
    assert book["SW-99"]
    silent = broken("SW-99", "silent", "does not say how long", shows(setting(task_info__video_duration=DROP_MEMBER)))
    with fake() as correct:
        trial = try_mutant(silent, correct, 7_900)
    assert trial.problem == ""
    assert trial.first == "SW-99"
