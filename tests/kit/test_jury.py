"""The jury's list is whole, and its counting is right."""

from tests.jury.__main__ import flips, problems
from tests.jury.playing import HERE, Member, Played, members

from kling_contract.lab.stories import load
from kling_contract.mutants.trial import COSTLY, every_usual_case
from kling_contract.reading.contract import shipped
from kling_contract.rules.rulebook import rules

MEMBER = Member(name="x", run=("python", "right.py", "plain"), kind="client", right=True)
BROKEN = Member(name="y", run=("python", "broken.py", "no-pause"), kind="client", right=False, names=("CP-01",))


def played(member: Member, **verdicts: str) -> Played:
    """A run with these verdicts."""
    found = {rule.replace("_", "-"): verdict for rule, verdict in verdicts.items()}
    book = rules(shipped())
    return Played(member, found, {rule: str(book[rule].level) for rule in found}, dict.fromkeys(found, "seen"))


def test_the_list_is_whole() -> None:
    """
    At least twenty right clients and fifteen with a defect, in three languages; files, stories and rules exist.
    """
    jury, book, stories = members("client"), rules(shipped()), load(shipped())

    assert sum(member.right for member in jury) >= 20
    assert sum(not member.right for member in jury) >= 15
    assert {member.run[0] for member in jury} == {"python", "node", "sh"}
    assert all((HERE / "clients" / member.run[1]).is_file() for member in jury)
    assert {story for member in jury for story in (*member.stories, *member.timing)} <= set(stories)
    assert {rule for member in jury for rule in member.names} <= set(book)
    assert all(bool(member.names) != member.right for member in jury)


def test_the_list_of_servers_is_whole() -> None:
    """
    At least six right servers and as many with a defect; files, scripts and rules exist, and every right one has what it is about.
    """
    jury, book = members("server"), rules(shipped())
    scripts = {script.name for script in every_usual_case()} | COSTLY | {"images"}

    assert sum(member.right for member in jury) >= 6
    assert sum(not member.right for member in jury) >= 6
    assert all((HERE / "servers" / member.run[1]).is_file() for member in jury)
    assert {story for member in jury for story in member.stories} <= scripts
    assert {rule for member in jury for rule in member.names} <= set(book)
    assert all(bool(member.names) != member.right and member.stories for member in jury)


def test_a_must_against_a_right_client_is_a_problem() -> None:
    """
    A warning is none.
    """
    assert list(problems(MEMBER, [played(MEMBER, CM_02="warn")], timing=False)) == []
    assert list(problems(MEMBER, [played(MEMBER, CM_02="fail")], timing=False)) == ["x: CM-02: seen"]


def test_a_flip_of_a_must_is_a_problem() -> None:
    """
    A MUST that fails in one run and passes in another; a SHOULD may.
    """
    runs = [played(BROKEN, CM_02="fail", CP_01="warn"), played(BROKEN, CM_02="pass", CP_01="pass")]

    assert flips(runs) == ["CM-02"]


def test_a_timing_defect_may_be_missed_once_in_twenty() -> None:
    """
    Nineteen of twenty are enough under load, all are needed without.
    """
    runs = [played(BROKEN, CP_01="warn")] * 19 + [played(BROKEN, CP_01="pass")]

    assert list(problems(BROKEN, runs, timing=True)) == []
    assert list(problems(BROKEN, runs, timing=False)) == ["y: CP-01 named in 95% of 20"]
