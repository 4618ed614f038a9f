"""The catalogue's files: what is refused, on which line, in which words; and that nothing else ever comes out."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kling_common.documents import BadYaml, parse
from kling_mock.cli import scenario_page
from kling_mock.config import BadSetting
from kling_mock.contract import Contract
from kling_mock.core.notation import TAG, parse_choice
from kling_mock.service.catalogue import SHIPPED, Catalogue, NoScenario

CONTRACT = Contract()
Told = Callable[..., Catalogue]

INTERFACE = """\
name: rate-limited-twice
summary: two 429 with Retry-After on create, then a normal task
when: {create: [1, 2]}            # the account's 1st and 2nd create
answer: {status: 429, headers: {Retry-After: "2"}, error: rate_limit_exceeded}
---
name: failed
summary: accepted, then fails while it runs
params: {code: content_policy_violation, at: 40}
pace: {by: time, queued: 5s, runs: 60s}      # or {by: polls, pending: 1, processing: 2}
outcome: {status: failed, code: "{code}", progress: "{at}"}
"""


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """`told("name: ...", ...)`: a catalogue with a folder of these files."""

    def tell(*texts: str | bytes) -> Catalogue:
        for number, text in enumerate(texts):
            data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
            (tmp_path / f"{number}.yaml").write_bytes(data)
        return Catalogue(CONTRACT.task_errors, CONTRACT.errors, tmp_path)

    return tell


@pytest.fixture
def told_alone(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """As `told`, without the shipped scenarios."""
    monkeypatch.setattr("kling_mock.service.catalogue.SHIPPED", tmp_path / "none")
    return told


def test_the_forms_of_the_interface_are_taken(told: Told) -> None:
    """A folder's scenario takes the place of the shipped one."""
    catalogue = told(INTERFACE)

    assert catalogue.behaviour("failed").pace.runs == (60.0, 60.0)
    assert catalogue.behaviour("failed code=service_error at=7").outcome.progress == 7
    assert catalogue.behaviour("rate-limited-twice").acts[0].when == {"create": ((1.0, 1.0), (2.0, 2.0))}
    assert catalogue.scenarios["instant"].summary


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: x\nsummary: s\ncolour: red", 3, "colour: there is no 'colour' here; there are name, summary, pace"),
        ("name: x\nsummary: s\npace:\n  by: time\n  sped: 2s", 5, "pace.sped: there is no 'sped' here; there are by, queued"),
        ("name: x\nsummary: s\npace:\n  by: tme", 4, "pace.by: should be 'time' or 'polls', not 'tme'"),
        ("name: x\nsummary: s\npace: {queued: soon}", 3, "'soon' is not a duration; write it like 5s, 250ms"),
        ("name: x\nsummary: s\npace: {runs: 9s..1s}", 3, "'9s..1s' runs backwards"),
        ("name: x\nsummary: s\npace: fast", 3, "pace: 'fast' is no mapping; it takes by, queued, runs"),
        ("name: x\nsummary: s\noutcome: {status: failed, code: oops}", 3, "outcome.code: 'oops' is no task error code; there are"),
        ("name: x\nsummary: s\nwhen: {create: first}\nanswer: {status: 500}", 3, "'first' does not count calls; write 1, 2..4"),
        ("name: x\nsummary: s\nwhen: {create: 1}\nanswer:\n  error: oops", 5, "answer.error: 'oops' is no documented error; there are"),
        ("name: x\nsummary: s\nwhen: {delete: 1}\nanswer: {status: 500}", 3, "should be 'create', 'query', 'link' or 'callback'"),
        ("name: x\nsummary: s\nwhen: {create: 1}", 1, "exactly one of answer, wire, edit"),
        ("name: x\nsummary: s\nacts:\n- when: {create: 1}\n  wire: {cut: now}", 5, "acts.0.wire.cut: should be 'before' or 'after'"),
        ("name: x\nsummary: s\nouter: " + "[" * 50, 3, "nested more than 40 deep"),
        ("name: x\nsummary: s\nwhen: {link: 1}\nanswer: {status: 500}\nacts: [{when: {link: 2}, wire: {}}]", 5, "acts.0.wire: a"),
        ("name: x\nsummary: s\nwhen: {create: 1}\nacts: {a: '{b}'}", 4, "acts.a: {b} is no param"),
        ("name: x\nsummary: s\nacts: 3", 3, "acts: should be a list, not 3"),
        ("name: x\nsummary: s\nparams: {at: 3}", 3, "params.at: the param is never used; write {at} where it counts"),
        ("name: x\nsummary: s\npace: {queued: '{at}s'}", 3, "pace.queued: {at} is no param of it; its params are none"),
        ("name: x\nsummary: s\nparams: {At: 3}", 3, "params.At: should be small letters, with underscores between words, not 'At'"),
        ("name: x\nsummary: s\nparams: {at: [1]}", 3, "params.at"),
        ("name: X y\nsummary: s", 1, "name: should be at most 60 small letters and digits, with hyphens between words, not 'X y'"),
        ("name: x", 1, "summary: is missing"),
        ("- a\n- b", 1, "a scenario is a mapping with name, summary and what happens"),
        ("name: x\nsummary: s\n---\nname: x\nsummary: t", 4, "name: 'x' is told already, in 0.yaml:1"),
        ("name: x\nsummary: s\nmixture: {nothing: 1}", 3, "mixture.nothing: no scenario 'nothing'; there are"),
        ("name: x\nsummary: s\nmixture:\n  failed: 1\n  chaos: 1", 5, "mixture.chaos: chaos is a mixture itself"),
        ("name: x\nsummary: s\nmixture: {x: 1}", 3, "mixture.x: x is a mixture itself"),
        ("name: x\nsummary: s\nmixture: {'': 1}", 3, "no scenario ''"),
        ("name: x\nsummary: s\nmixture: {failed code=a: 1}", 3, "'a' is no task error code"),
        ("name: x\nsummary: s\nmixture: {failed: 0}", 3, "greater than 0"),
        ("name: x\nname: y\nsummary: s", 2, "the key 'name' appears twice"),
        ("name: &a x\nsummary: *a", 1, "anchors and aliases are not accepted"),
        ("a: &a [*a]", 1, "anchors and aliases are not accepted"),
        ("name: [x", 2, "not YAML"),
        ("name: x\nsummary: !!python/name:os.system s", 2, "not YAML: could not determine a constructor"),
        ("name: x\nsummary: s\nmixture: !!float often", 1, "not YAML"),
        (b"name: x\nsummary: \xff", 2, "not UTF-8"),
        ("name: x\nsummary: \x07", 2, "not YAML"),
        ("#" * (1 << 20) + "\n", 1, "larger than"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_told_stops_the_start(told: Told, text: str | bytes, line: int, words: str) -> None:
    """One line: the file, the line in it, what is wrong and what is allowed."""
    with pytest.raises(BadSetting) as caught:
        told(text)

    message = str(caught.value)
    assert f"0.yaml:{line}: " in message
    assert words in message
    assert "\n" not in message


def test_a_name_may_stand_in_one_file_only(told: Told) -> None:
    """The message says where it stood first."""
    with pytest.raises(BadSetting, match=r"1\.yaml:2: name: 'x' is told already, in 0\.yaml:1"):
        told("name: x\nsummary: s", "\nname: x\nsummary: s")


def test_what_is_no_file_or_no_folder_is_refused(tmp_path: Path) -> None:
    """In one line too."""
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(BadSetting, match="Is a directory"):
        Catalogue(CONTRACT.task_errors, CONTRACT.errors, tmp_path)
    with pytest.raises(BadSetting, match="not a folder"):
        Catalogue(CONTRACT.task_errors, CONTRACT.errors, tmp_path / "none")


def test_words_are_words(told: Told) -> None:
    """`on`, `no` and dates are no truths and no times, as in YAML 1.2."""
    catalogue = told(
        "name: x\nsummary: s\nparams: {on: no}\nwhen: {query: 1}\nedit: {set: {a: '{on}', day: 2026-01-01, yes: true}}"
    )

    edit = catalogue.behaviour("x").acts[0].edit
    assert edit is not None
    assert edit.set == {"a": "no", "day": "2026-01-01", "yes": True}


def test_every_shipped_scenario_can_be_paced_by_reads() -> None:
    """So that a client lab needs no time; except where the task has to end at once."""
    catalogue = Catalogue(CONTRACT.task_errors, CONTRACT.errors)

    for name in catalogue.scenarios:
        if name != "callback-before-reply":
            assert catalogue.behaviour(f"{name} by=polls pending=0 processing=1").pace.by in ("polls", "time")
    with pytest.raises(NoScenario, match="ends at once"):
        catalogue.behaviour("callback-before-reply by=polls")


def test_a_choice_is_told_once() -> None:
    """However its params are ordered."""
    catalogue = Catalogue(CONTRACT.task_errors, CONTRACT.errors)

    one = catalogue.choose("failed", {"code": "service_error", "at": 3})
    assert one == catalogue.choose("failed", {"at": 3, "code": "service_error"}) == "failed at=3 code=service_error"
    assert catalogue.behaviour(one) is catalogue.behaviour(one)
    with pytest.raises(NoScenario, match="without blanks"):
        catalogue.choose("failed", {"code": "a b"})
    with pytest.raises(BadSetting, match="--scenario: no scenario"):
        catalogue.default("faild")


WORDS = sorted({word for path in SHIPPED.glob("*.yaml") for word in path.read_text(encoding="utf-8").split()})
NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
MEMBERS = [
    "params",
    "when",
    "times",
    "answer",
    "wire",
    "edit",
    "pace",
    "outcome",
    "acts",
    "callbacks",
    "links",
    "mixture",
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.dictionaries(st.sampled_from(MEMBERS), NODES, max_size=4))
def test_any_data_is_told_or_refused(told_alone: Told, members: dict[str, Any]) -> None:
    """Nothing but BadSetting comes out, and what is taken can be told."""
    try:
        catalogue = told_alone(yaml.safe_dump({"name": "x", "summary": "s", **members}))
    except BadSetting as refused:
        message = str(refused)
    else:
        message = f"0.yaml:1: {catalogue.behaviour('x').name}"
    assert re.search(r"0\.yaml:\d+: ", message)


@settings(max_examples=500, deadline=None)
@given(
    text=st.lists(
        st.sampled_from([*WORDS, "\n", "\n  ", "- ", ": ", "&a", "*a", "!!int", "? ", "|", ">", "<<"]), max_size=20
    ).map("".join)
    | st.text(max_size=60)
)
@example("[" * 100_000)
@example("a: 2026-99-99")
@example("!!timestamp 2026-99-99")
@example("!!int ''")
@example("- !!binary x")
@example("? [1]\n: 2")
@example("{" * 5_000)
@example("\ud800")
@example("9" * 5_000)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but BadYaml comes out, with a line of the text."""
    try:
        documents = parse(text)
    except BadYaml as refused:
        line = refused.line
    else:
        line = max((document.line(["a", 0, "b"]) for document in documents), default=1)
    assert 1 <= line <= len(re.split("[\n\r\x85\u2028\u2029]", text)) + 1


def test_the_page_of_scenarios_is_up_to_date(tmp_path: Path) -> None:
    """docs/scenarios.md is what the files say; one that is not is complained about."""
    docs = Path(__file__).parents[2] / "docs"
    run = CliRunner().invoke

    assert run(scenario_page.main, [str(docs), "--check"]).output == ""
    assert run(scenario_page.main, [str(tmp_path)]).exit_code == 0
    (tmp_path / "scenarios.md").write_text("old", encoding="utf-8")
    stale = run(scenario_page.main, [str(tmp_path), "--check"])
    assert (stale.exit_code, "stale; run scripts/scenarios" in stale.output) == (1, True)


def test_every_ask_of_the_page_can_be_made() -> None:
    """Header, tag, key and queue of each row name its scenario, and can be told."""
    catalogue = Catalogue(CONTRACT.task_errors, CONTRACT.errors)
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (`X-Mock-Scenario: .*) \|$", scenario_page.page(), re.MULTILINE)

    assert {name for name, _ in rows} == set(catalogue.scenarios)
    for name, asks in rows:
        header, tag, key, queue = (ask.strip("`") for ask in asks.split("<br>"))
        found = TAG.search(tag)
        assert found is not None
        for choice in (header.removeprefix("X-Mock-Scenario: "), found[1] + found[2], json.loads(queue)["name"]):
            assert catalogue.choose(*parse_choice(choice)).split()[0] == name
        assert key == f"sk-mock-{name}-1"
