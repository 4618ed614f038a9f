"""Verdicts, exit codes, reports and the command line."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import histories
import orjson
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console
from tape import BASE, BODY, CONTRACT, CREATE, KEY, OTHER, STRANGE, Tape, error

import kling_contract
import kling_openapi
from kling_contract.cli.main import cli
from kling_contract.history.events import jsonl
from kling_contract.history.labels import Topic
from kling_contract.judging import again, judge_history
from kling_contract.reports import terminal
from kling_contract.reports.documents import badge, junit, report
from kling_contract.reports.page import page
from kling_contract.reports.summary import markdown
from kling_contract.rules.rulebook import Level, Rule, rules
from kling_contract.rules.verdicts import Choice, Result, Run, SetupError, read_known

BOOK = rules(CONTRACT)


def broken() -> Tape:
    """A history that breaks SV-08 (MUST, D), SL-05 (MUST, I), SW-14 (SHOULD) and SW-21 (MAY)."""
    tape = Tape()
    tape.create({"duration": 2})
    task = tape.create()
    tape.advance(60)
    tape.read(tape.complete(task))
    tape.read({**task, "status": "failed", "error": {"code": "service_error", "message": "", "type": "task_error"}})
    tape.call("POST", "/v1/videos/generations", {**BODY, "quality": "4k"}, status=400, answer=error(400, "model"))
    tape.call("GET", "/v1/models", answer={"object": "list", "data": []})
    tape.number -= 1
    tape.read(task)
    return tape


def judged(tape: Tape, **choice: object) -> Run:
    """The run of *tape*."""
    return judge_history(tape.events, Choice(**choice), again("check", ["a b.jsonl"]))


def of(run: Run, rule_id: str) -> Result:
    """One rule's verdict."""
    return next(verdict.result for verdict in run.verdicts if verdict.rule.id == rule_id)


def test_levels_become_verdicts() -> None:
    """
    A broken MUST fails, a SHOULD warns, a MAY informs; what nothing shows is not run, with the reason.
    """
    run = judged(broken())

    assert [of(run, rule) for rule in ("SV-08", "SW-14", "SW-21", "SW-02", "SK-04")] == [
        Result.FAIL, Result.WARN, Result.INFO, Result.PASS, Result.NOT_RUN,
    ]  # fmt: skip
    assert run.exit == 1
    assert all(verdict.reason for verdict in run.verdicts if verdict.result is Result.NOT_RUN)


def test_first_cause_comes_first() -> None:
    """
    Broken rules stand in the order wire, validation, lifecycle, and what must be done before what should.
    """
    found = [verdict.rule.id for verdict in judged(broken()).having(Result.FAIL, Result.WARN)]

    assert found.index("SV-08") < found.index("SL-05") < found.index("SW-14")


def test_only_documented_rules_fail_the_real_service() -> None:
    """
    Against the real service a rule that nothing documents warns and says so; a documented one fails.
    """
    events = [
        replace(event, url=event.url.replace(BASE, "https://api.evolink.ai")) if hasattr(event, "url") else event
        for event in broken().events
    ]
    run = judge_history(events, Choice(), again("check", []))

    assert (of(run, "SV-08"), of(run, "SL-05")) == (Result.FAIL, Result.WARN)
    assert "differs from our model" in next(one.reason for one in run.verdicts if one.rule.id == "SL-05")


def test_known_and_stale() -> None:
    """
    A known failure does not fail the run; a known one that holds does, and one that could not be judged does neither.
    """
    known = judged(broken(), only=frozenset({"SV-08", "SW-02"}), known={"SV-08": "vendor bug"})
    stale = judged(broken(), only=frozenset({"SW-02"}), known={"SW-02": "was so once"})
    unseen = judged(broken(), known={"SK-04": "who knows"}, only=frozenset({"SK-04", "SW-02"}))

    assert (of(known, "SV-08"), known.exit) == (Result.KNOWN, 0)
    assert (of(stale, "SW-02"), stale.exit) == (Result.STALE, 1)
    assert (of(unseen, "SK-04"), unseen.exit) == (Result.NOT_RUN, 0)


def test_exit_codes() -> None:
    """
    0 good, 1 broken, 2 nothing judged or a broken kit, 3 stopped by a cap; strict counts warnings and doubts.
    """
    good, doubtful, stopped, failed = Tape(), Tape(), Tape(), Tape()
    for tape in (good, doubtful, stopped, failed):
        tape.refuse({**BODY, "duration": 2}, param="duration")
    doubtful.note(Topic.UNTESTABLE, rule="SK-04", reason="the clock would not move")
    stopped.note(Topic.STOPPED, reason="spent 0.20 of 0.20 USD")
    failed.note(Topic.KIT_ERROR, rule="SK-04", reason="the receiver died")

    assert [judged(tape).exit for tape in (good, doubtful, stopped, failed, Tape())] == [0, 0, 3, 2, 0]
    assert judged(doubtful, strict=True).exit == 1
    assert judged(broken(), only=frozenset({"SW-14"})).exit == 0
    assert judged(broken(), only=frozenset({"SW-14"}), strict=True).exit == 1
    assert judge_history([], Choice(), again("check", [])).exit == 2


def test_terminal_shows_the_calls_that_show_it() -> None:
    """
    A breach comes with its calls, what came back and when, and the command that repeats it; rules that were not run, by reason.
    """
    tape = broken()
    for rule in ("SC-06", "SC-07"):
        tape.note(Topic.NOT_RUN, rule=rule, reason="nobody listened")
    run = judge_history(
        tape.events, Choice(only=frozenset({"SL-05", "SC-06", "SC-07", "SK-04"})), again("check", ["a b"])
    )
    heard = io.StringIO()
    terminal.show(run, Console(file=heard, width=200))
    text = [line.rstrip() for line in heard.getvalue().splitlines()]

    assert text[0].startswith("FAIL       SL-05  A terminal status never changes again.")
    shown = next(index for index, line in enumerate(text) if "shown by" in line)
    assert re.fullmatch(r" +shown by #\d+ +GET /v1/tasks/…\w+ -> 200 completed 100%", text[shown])
    assert re.fullmatch(r" +#\d+ +GET /v1/tasks/…\w+ -> 200 failed 100%  \+\d\.\d\d s", text[shown + 1])
    assert text[shown + 2].split() == ["again", "kling-contract", "check", "'a", "b'", "--only", "SL-05"]
    assert "NOT-RUN    2 rules: nobody listened  SC-06 SC-07" in text
    assert "NOT-RUN    1 rule: nothing in this history shows it  SK-04" in text
    assert text[-1] == "1 rule is broken (exit 1)"


def test_badge_is_green_only_without_doubt() -> None:
    """
    Green when every judged MUST holds; yellow when something was untestable or is known; red when broken; else grey.
    """
    good, doubtful = Tape(), Tape()
    for tape in (good, doubtful):
        tape.refuse({**BODY, "duration": 2}, param="duration")
    doubtful.note(Topic.UNTESTABLE, rule="SK-04", reason="x")

    colours = [badge(judged(tape))["color"] for tape in (good, doubtful, broken())]
    assert colours == ["brightgreen", "yellow", "red"]
    assert badge(judge_history([], Choice(), again("check", [])))["color"] == "lightgrey"
    assert badge(judged(good))["label"].endswith(f"@{CONTRACT.version}")


def test_report_has_the_documented_shape() -> None:
    """
    report.json has the members of the interface, for every rule, and its totals add up.
    """
    found = report(judged(broken()))

    assert {"target", "mode", "contract", "seed", "exit", "totals", "rules"} <= set(found)
    assert sum(found["totals"].values()) == len(found["rules"]) == sum(not rule.for_clients for rule in BOOK.values())
    first = next(rule for rule in found["rules"] if rule["id"] == "SV-08")
    assert {"id", "verdict", "level", "sentence", "seen", "expected", "events", "rerun"} <= set(first)
    assert first["rerun"] == "kling-contract check 'a b.jsonl' --only SV-08"


def test_junit_has_a_testcase_a_rule() -> None:
    """
    One testcase a rule with level and grade; failures, errors and skips are counted; control characters do no harm.
    """
    tape = broken()
    tape.call("POST", CREATE, {**BODY, "quality": "a\x00b\x1b"}, answer=error(400))
    suites = ElementTree.fromstring(junit(judged(tape)))
    cases = suites.findall("testsuite/testcase")

    assert len(cases) == sum(not rule.for_clients for rule in BOOK.values())
    assert all({p.get("name") for p in case.findall("properties/property")} >= {"level", "grade"} for case in cases)
    counted = sum(int(suite.get("failures", 0)) for suite in suites)
    assert counted == len(suites.findall("testsuite/testcase/failure")) > 0


def test_junit_says_when_and_how_long() -> None:
    """
    A suite has the start of the run; times are those of the calls that were looked at, each second once.
    """
    suites = ElementTree.fromstring(junit(judged(broken())))

    assert {suite.get("timestamp") for suite in suites} == {"2025-09-06T14:42:23"}
    times = {case.get("name", "")[:5]: float(case.get("time", 0)) for case in suites.findall("testsuite/testcase")}
    assert times["SV-08"] == pytest.approx(0.01, abs=0.002)  # one call of a hundredth
    assert times["SL-22"] == 0.0  # nothing was looked at
    whole = float(suites.get("time", 0))
    assert 0 < max(float(suite.get("time", 0)) for suite in suites) <= whole < sum(times.values())


def test_junit_says_one_failure_once() -> None:
    """
    The same breach found again and again is one paragraph with a count.
    """
    tape = Tape()
    for _ in range(3):
        tape.create({"duration": 2})
    suites = ElementTree.fromstring(junit(judged(tape)))

    (text,) = [
        case.findtext("failure") or ""
        for case in suites.findall("testsuite/testcase")
        if "SV-08" in case.get("name", "")
    ]
    assert text.count("expected:") == text.count("seen:") == 1
    assert "found 3 times" in text
    html = page([judged(tape)])
    assert html.count("found 3 times") >= 1


def test_no_key_in_any_artefact() -> None:
    """
    No report holds a key, whichever way it was sent.
    """
    run = judge_history(histories.good(), Choice(), again("check", []))
    artefacts = [page([run]), markdown(run), junit(run).decode(), orjson.dumps(report(run)).decode()]

    for key in (KEY, OTHER, STRANGE):
        assert not [artefact for artefact in artefacts if key in artefact]


def test_page_stands_alone_and_escapes() -> None:
    """
    The page loads nothing, shows several runs side by side, and what a server sent cannot become markup.
    """
    tape = broken()
    tape.call("GET", "/v1/models", status=400, answer={"error": {"code": "<script>alert(1)</script>", "message": "x"}})
    one, two = judged(tape), judged(broken())
    html = page([one, two])

    assert "<script>alert" not in html
    assert "src=" not in html
    assert "@import" not in html
    assert "url(" not in html
    assert html.count('href="#SV-08"') == 3
    assert "<svg" in html
    assert "?sig=" not in html


def test_summary_names_what_is_broken() -> None:
    """
    The step summary is Markdown whose cells cannot break the table.
    """
    tape = broken()
    tape.call("POST", CREATE, {**BODY, "quality": "a|b\n<b>"}, answer=error(400))
    text = markdown(judged(tape))

    rows = [line for line in text.splitlines() if line.startswith("| S")]
    assert any(row.startswith("| SV-08 | fail |") for row in rows)
    assert "<b>" not in text


def test_same_history_same_artefacts() -> None:
    """
    The same history gives the same reports, byte for byte.
    """
    first, second = judged(broken()), judged(broken())

    assert page([first]) == page([second])
    assert orjson.dumps(report(first)) == orjson.dumps(report(second))
    assert junit(first) == junit(second)


@pytest.mark.parametrize(
    ("content", "words"),
    [("- a", "one line a rule"), ("SV-08:", "needs a reason"), ("a: [", "not YAML"), ("\x00", "not YAML")],
)
def test_known_failing_file_is_checked(tmp_path: Path, content: str, words: str) -> None:
    """
    A known-failing file needs a reason for each entry; anything else is one line.
    """
    path = tmp_path / "known.yaml"
    path.write_text(content)

    with pytest.raises(SetupError, match=words):
        read_known(path)


@pytest.mark.parametrize("rule", BOOK.values(), ids=lambda rule: rule.id)
def test_every_grade_has_its_place(rule: Rule) -> None:
    """
    D cites sentences of the document, S and C a section of the wire facts, and practice (I) cites nothing.
    """
    sentences = yaml.safe_load((Path(kling_openapi.__file__).parents[1] / "document.yaml").read_text(encoding="utf-8"))
    kinds = {"D": "doc:", "S": "wire:", "C": "wire:", "I": "none"}

    assert bool(rule.source) == (rule.grade != "I")
    assert all(place.startswith(kinds[rule.grade]) for place in rule.source)
    assert all(int(place[4:]) in sentences for place in rule.source if place.startswith("doc:"))


def test_practice_breaks_a_run_only_where_something_is_lost() -> None:
    """
    A MUST without a source is about money, secrets, or lost and false results; nothing about pace is one.
    """
    practice = {
        rule.id for rule in BOOK.values() if rule.for_clients and rule.grade == "I" and rule.level is Level.MUST
    }

    assert practice == {
        "CQ-02", "CQ-03", "CQ-04", "CQ-05", "CQ-07", "CQ-15", "CM-01", "CM-06", "CP-06", "CP-09", "CP-10", "CP-11", "CP-13",
        "CP-14", "CP-15", "CD-01", "CD-03", "CD-05", "CD-09", "CD-10", "CD-11", "CW-03", "CW-05",
    }  # fmt: skip


def test_rulebook_is_whole() -> None:
    """
    At least the 130 server rules and 68 client rules of the first edition; ids as they were.
    """
    first = [rule for rule in BOOK.values() if not rule.id.startswith("SS")]

    assert sum(rule.for_clients for rule in first) >= 68
    assert sum(not rule.for_clients for rule in first) >= 130
    assert {rule.grade for rule in first} <= set("DSCI")
    assert all(
        rule.sentence.endswith(".") and "{" not in rule.sentence.replace("{...}", "").replace('{"error": }', "")
        for rule in first
    )
    assert {rule.level for rule in first} == set(Level)


def test_sentences_follow_the_contract() -> None:
    """
    A number that changes in the contract changes in the sentences.
    """
    import copy

    from kling_contract.reading.contract import Contract

    document = copy.deepcopy(dict(CONTRACT.document))
    document["components"]["schemas"]["Duration"]["maximum"] = 20
    assert "duration 21 answers 400" in rules(Contract(document))["SV-09"].sentence


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    code = "from kling_contract.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def test_check_writes_the_report(tmp_path: Path) -> None:
    """
    `check` judges a file, writes every report, and its own history judges the same again.
    """
    path, folder = tmp_path / "run.jsonl", tmp_path / "report"
    path.write_bytes(jsonl(broken().events))
    done = run_cli("check", str(path), "--report", str(folder))
    names = {"report.json", "junit.xml", "report.html", "rules.html", "summary.md", "badge.json", "history.jsonl"}

    assert done.returncode == 1, done.stderr
    assert {found.name for found in folder.iterdir()} == names
    assert (folder / "history.jsonl").read_bytes() == path.read_bytes()
    assert "SV-08" in done.stdout
    assert "--only SV-08" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"], ["check", "/no/such/file"], ["check", "HERE", "--only", "XX-01"], ["check", "HERE", "--seed", "x"],
        ["check", "HERE", "--known-failing", "/no/such"], ["nonsense"], ["rules", "SV-99"], ["--nonsense"], [],
        ["check", "HERE", "--report", "/proc/nowhere/x"], ["check", "HERE", "--only", "SV-08", "--skip", "sv-08"],
    ],
)  # fmt: skip
def test_bad_usage_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    """
    Whatever is wrong with the command line is said without a traceback, and the exit code is 2.
    """
    path = tmp_path / "run.jsonl"
    path.write_bytes(jsonl(broken().events))
    done = run_cli(*[str(path) if word == "HERE" else word for word in arguments])

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or not arguments


def test_variables_stand_for_flags(tmp_path: Path) -> None:
    """
    Each option has its variable.
    """
    path = tmp_path / "run.jsonl"
    path.write_bytes(jsonl(broken().events))
    done = CliRunner().invoke(
        cli, ["check", str(path)], env={"KLING_CONTRACT_ONLY": "SW-02,SW-03"}, standalone_mode=False
    )

    assert done.return_value == 0
    assert "2 pass" in done.output


def test_rules_shows_book_group_and_rule() -> None:
    """
    `rules` lists everything, a group, or one rule in full.
    """
    everything, group, one = (CliRunner().invoke(cli, ["rules", *words]).output for words in ([], ["sk"], ["SC-08"]))

    assert "CW-13" in everything
    assert "SK-10" in group
    assert "SV-01" not in group
    assert "1, 2, 4 s" in one


def test_help_imports_no_judge() -> None:
    """
    `--help` is answered without importing the rest of the kit.
    """
    code = (
        "import sys; from kling_contract.cli.main import cli; cli.main(['--help'], standalone_mode=False);"
        "print([n for n in sys.modules if n.startswith(('kling_contract.rules', 'jinja2', 'jsonschema', 'hypothesis'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip().endswith("[]"), done.stdout
    assert Path(kling_contract.__file__).name == "__init__.py"


@pytest.mark.parametrize(("times", "more"), [(1, ""), (2, " (and 1 more)"), (3, " (and 2 more)")])
def test_a_verdict_shows_the_first_breach_and_counts_the_others(times: int, more: str) -> None:
    """
    One alone is not "and 0 more".
    """
    tape = Tape()
    for _ in range(times):
        tape.create({"duration": 2})
    (verdict,) = [one for one in judged(tape).verdicts if one.rule.id == "SV-08"]

    assert verdict.seen == verdict.findings[0].seen + more
