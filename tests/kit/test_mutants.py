"""The broken servers: their table is whole, a handful of every group is named, and correct servers are let alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kling_contract.driving.sender import Sender
from kling_contract.mutants.messages import CallbackPost, ReceiverResponse, Request, Response, with_header
from kling_contract.mutants.mutant import Mutant, Switch, broken, by_name
from kling_contract.mutants.proxy import Proxy
from kling_contract.mutants.selftest import Row, bare, server_rules
from kling_contract.mutants.servers import BY_NAME, SERVERS
from kling_contract.mutants.serving import fake, patched, served
from kling_contract.mutants.table import listed, page
from kling_contract.mutants.trial import COSTLY, EVERYDAY, WIDE, cases_of, every_usual_case, try_mutant
from kling_contract.reading.contract import Contract, shipped
from kling_contract.rules.rulebook import rules

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"
QUICK = (
    "no-allow", "duration-one-longer", "gif-as-frame", "twice-the-price", "never-upright",
    "moody-refusals", "not-the-end", "own-task-error", "told-twice", "only-200-counts",
    "links-need-the-key", "one-account-for-all", "strict-bearer", "hidden-deduplication", "negative-estimate",
)  # fmt: skip
"""A handful of every group, of each level and of each kind of switch."""


@pytest.fixture(scope="module")
def correct() -> Iterator[str]:
    """A fake that the mutants of this module share."""
    with fake() as url:
        yield url


def test_every_server_rule_has_a_mutant() -> None:
    """
    No rule about servers is left without proof that it can fail, and no mutant is about anything else.
    """
    assert {mutant.rule for mutant in SERVERS} == {rule.id for rule in server_rules()}


def test_names_are_unique_and_in_the_rulebooks_order() -> None:
    """
    A name means one mutant, and the tables follow the rulebook.
    """
    order = [rules(shipped())[mutant.rule].order for mutant in SERVERS]

    assert len(BY_NAME) == len(SERVERS)
    assert order == sorted(order)


def test_two_of_one_name_are_refused() -> None:
    """
    A second mutant of the same name would hide the first.
    """
    with pytest.raises(ValueError, match="two mutants are called twin"):
        by_name([broken("SW-01", "twin", "one"), broken("SW-02", "twin", "another")])


@pytest.mark.parametrize("mutant", SERVERS, ids=lambda mutant: mutant.name)
def test_mutant_is_written_out(mutant: Mutant) -> None:
    """
    Each has switches and a story, names rules that there are and cases that there are.
    """
    book = rules(shipped())

    assert mutant.switches
    assert mutant.story[0].islower()
    assert not mutant.story.endswith(".")
    assert mutant.masked_by in ("", *book)
    assert mutant.masked_by != mutant.rule
    assert cases_of(mutant) <= {case.name for case in every_usual_case(mutant.model)} | COSTLY


def test_everyday_cases_exist() -> None:
    """
    Whatever runs beside a mutant's own cases is a case of the scripted run.
    """
    assert {case.name for case in every_usual_case()} > WIDE > EVERYDAY


@pytest.mark.parametrize(
    "mutant", [m for m in SERVERS if any(s.patch for s in m.switches)], ids=lambda mutant: mutant.name
)
def test_patch_changes_the_contract_a_little(mutant: Mutant) -> None:
    """
    A patched contract differs from the shipped one, and is still one that the kit can read.
    """
    document = yaml.safe_load(patched(switch.patch for switch in mutant.switches if switch.patch))

    assert document != shipped().document
    assert Contract(document).model == shipped().model


# CI has the self-test name every mutant; without it three show the way, one of each kind of switch.
@pytest.mark.e2e
@pytest.mark.parametrize("name", [*QUICK[:3], *(pytest.param(name, marks=pytest.mark.long) for name in QUICK[3:])])
def test_mutant_is_named(name: str, correct: str) -> None:
    """
    The kit names the mutant's rule, first where it is the first cause.
    """
    trial = try_mutant(BY_NAME[name], correct, 7_000 + QUICK.index(name))

    assert trial.problem == ""
    assert trial.first == (BY_NAME[name].masked_by or BY_NAME[name].rule)


@pytest.mark.e2e
def test_mutant_without_a_switch_is_no_proof(correct: str) -> None:
    """
    A mutant that breaks nothing fails the self-test, and says why.
    """
    harmless = broken("SL-19", "harmless", "changes nothing", Switch(), scripts=("lifecycle",))

    trial = try_mutant(harmless, correct, 7_100)

    assert "SL-19 is pass" in trial.problem
    assert "named: nothing" in trial.problem


@pytest.mark.e2e
def test_mutant_of_another_rule_is_no_proof(correct: str) -> None:
    """
    A mutant whose rule is named, but behind another that nobody expects, fails the self-test.
    """
    both = broken("SS-01", "both", "names another model", *BY_NAME["type-image"].switches, scripts=("lifecycle",))

    trial = try_mutant(both, correct, 7_101)

    assert "SW-07 is named before SS-01" in trial.problem


def test_fake_that_does_not_start_is_told_in_a_line(correct: str) -> None:
    """
    A patch that the fake refuses is a problem of that one trial.
    """
    odd = broken("SV-08", "odd", "serves nonsense", Switch(settings={"clock": "sideways"}))

    trial = try_mutant(odd, correct, 7_102)

    assert trial.problem.startswith("could not be tried: kling-mock did not start")
    assert "\n" not in trial.problem


def test_rule_without_proof_is_found() -> None:
    """
    A rule is bare when no mutant is about it, and when the only one proves nothing.
    """
    book = server_rules({"SW-01", "SW-02", "SW-03"})
    rows = [
        Row(kind="server", rule="SW-01", name="a", story="a"),
        Row(kind="server", rule="SW-02", name="b", story="b", problem="not named"),
    ]

    assert [rule.id for rule in bare(rows, book)] == ["SW-02", "SW-03"]


def test_published_page_lists_every_mutant() -> None:
    """
    docs/mutants.md names the mutants that there are, with their rules and stories.
    """
    mine = {(mutant.rule, mutant.name, mutant.story) for mutant in SERVERS}
    about_servers = {rule.id for rule in server_rules()}

    published = {entry for entry in listed(PAGE.read_text(encoding="utf-8")) if entry[0] in about_servers}

    assert published == mine, "write it anew: kling-contract selftest --write docs/mutants.md"


def test_page_is_read_back() -> None:
    """
    What the page lists is what it was made of.
    """
    rows = [Row(kind="server", rule=m.rule, name=m.name, story=m.story, masked_by=m.masked_by) for m in SERVERS]

    assert listed(page(rows)) == {(mutant.rule, mutant.name, mutant.story) for mutant in SERVERS}


@pytest.mark.e2e
def test_proxy_hides_nothing(correct: str) -> None:
    """
    Through a proxy without switches, an answer is what the correct server gives, whatever was asked.
    """
    wire, auth = Sender(), [("Authorization", "Bearer sk-proxy-test")]
    with Proxy(correct) as proxy:
        for method, path in (
            ("GET", "/v1/credits"),
            ("DELETE", "/v1/credits"),
            ("GET", "/nowhere"),
            ("GET", "/v1/tasks/task"),
        ):
            direct = wire.send(method, correct + path, auth, None)
            through = wire.send(method, proxy.url + path, auth, None)
            assert (through.status, through.body) == (direct.status, direct.body)


@pytest.mark.e2e
def test_served_mutant_can_be_tried_by_hand(correct: str) -> None:
    """
    A served mutant answers as its story says.
    """
    with served(BY_NAME["json-as-html"], correct) as there:
        reply = Sender().send(
            "GET", f"{there.url}/v1/tasks/task-unified-1-aaaaaaaa", [("Authorization", "Bearer sk-by-hand")], None
        )

    assert reply.status == 404


def test_reply_says_what_came() -> None:
    """
    A receiver's bytes have a status, a yes or no and a redirect in them, or nothing.
    """
    moved = ReceiverResponse(b"HTTP/1.1 302 Found\r\nLocation: https://x.example.com/a\r\n\r\n")

    assert (moved.status, moved.delivered, moved.location) == (302, False, "https://x.example.com/a")
    assert (ReceiverResponse().status, ReceiverResponse().delivered, ReceiverResponse().location) == (0, False, "")
    assert ReceiverResponse.of(204).delivered


def test_messages_change_by_giving_new_ones() -> None:
    """
    A changed request, answer or attempt leaves the first one as it was, and fits its new body.
    """
    ask = Request("POST", "/v1/videos/generations?x=1", (("Authorization", "bearer sk-a"),), b'{"a":1}')
    telling = CallbackPost("POST", "/hook", (("Content-Length", "2"),), b"{}").becomes({"id": "t", "status": "failed"})

    assert (ask.name, ask.key, ask.path, ask.sent) == ("createVideo", "sk-a", "/v1/videos/generations", {"a": 1})
    assert ask.keyed("sk-b").key == "sk-b"
    assert ask.key == "sk-a"
    assert Response(200).becomes([]).json == []
    assert telling.task == {"id": "t", "status": "failed"}
    assert ("Content-Length", str(len(telling.body))) in telling.headers
    assert with_header((("a", "1"),), "A", "2") == (("A", "2"),)
