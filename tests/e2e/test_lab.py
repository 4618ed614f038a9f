"""The lab with real processes: a fake, the reference client, an adapter over JSON lines, and clients that misbehave."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from kling_contract.cli.main import cli
from kling_contract.history.events import Recorder
from kling_contract.lab.pace import Pace
from kling_contract.lab.results import RunRequest, RunResult
from kling_contract.lab.run import run
from kling_contract.lab.stories import load
from kling_contract.reading.contract import shipped

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
ADAPTER = ROOT / "tests" / "kit" / "lab_adapter.py"
KLING = (
    sys.executable,
    "-m",
    "kling_client",
    "generate",
    "{image}",
    "--out",
    "{out}",
    "--min-poll",
    "0.2",
    "--deadline",
    "{deadline}",
)
Lab = Callable[..., tuple[int, str, dict[str, str]]]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Runs `kling-contract client`; gives exit code, output, and the verdicts by rule."""

    def go(*words: str) -> tuple[int, str, dict[str, str]]:
        command = [
            sys.executable,
            "-c",
            "from kling_contract.cli.main import main; main()",
            "client",
            "--report",
            str(tmp_path / "report"),
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT, check=False)
        report = tmp_path / "report" / "report.json"
        rules = orjson.loads(report.read_bytes())["rules"] if report.is_file() else []
        return done.returncode, done.stdout + done.stderr, {rule["id"]: rule["verdict"] for rule in rules}

    return go


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The same in this process, where it is the client that is judged, and not how the command ends: a start costs as much as a story."""

    def go(*words: str) -> tuple[int, str, dict[str, str]]:
        monkeypatch.chdir(ROOT)
        report = tmp_path / "report"
        result = CliRunner().invoke(cli, ["client", "--report", str(report), *words], standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        rules = orjson.loads((report / "report.json").read_bytes())["rules"]
        return int(result.return_value or 0), result.output, {rule["id"]: rule["verdict"] for rule in rules}

    return go


def stories(*names: str) -> list[str]:
    """The options that choose stories."""
    return [word for name in names for word in ("--story", name)]


def test_reference_client_passes(judged: Lab) -> None:
    """
    Stories of every kind, webhooks included: the reference client breaks nothing, and each story has shown its rules.
    """
    chosen = stories(
        "happy", "lost-reply", "killed", "read-429-date", "link-cut", "webhook-rubbish", "untrusted", "plain-http"
    )

    code, said, verdicts = judged("--min-poll", "0.2", *chosen, "--", *KLING, "--receive", "--linger", "0.5")

    assert code == 0, said
    shown = {rule for rule, verdict in verdicts.items() if verdict == "pass"}
    assert {"CQ-01", "CQ-06", "CQ-07", "CM-02", "CM-07", "CM-08", "CM-09", "CP-04", "CD-05", "CW-09", "CW-10"} <= shown
    assert not [rule for rule, verdict in verdicts.items() if verdict not in ("pass", "not-run")]


@pytest.mark.parametrize(
    ("more", "named"), [((), set()), pytest.param(("read-429",), {"CP-03"}, marks=pytest.mark.long)]
)
def test_naive_client_is_told_why(judged: Lab, more: tuple[str, ...], named: set[str]) -> None:
    """
    A client as one writes it in ten minutes breaks rules, each with its expected, its seen and a command to see it again.

    In the long story it asks for ever for a task without id, which the lab ends after two minutes.
    """
    naive = ROOT / "examples" / "naive.mjs"
    chosen = stories("happy", "lost-reply", "read-502", "link-error-page", "redirect-create", *more)

    code, said, verdicts = judged("--min-poll", "0.2", *chosen, "--", "node", str(naive), "{image}", "{out}")

    assert code == 1
    broken = {rule for rule, verdict in verdicts.items() if verdict in ("fail", "warn")}
    assert {"CP-05", "CD-07", "CQ-04", "CQ-05"} | named <= broken
    assert re.search(r"again +kling-contract client --min-poll 0.2 --story [a-z-]+ --only CQ-04 -- node", said)


def test_adapter_over_json_lines(judged: Lab) -> None:
    """
    A small adapter is driven through several cases at once, and what it declares not to do is not run.
    """
    chosen = stories("happy", "unknown-field", "failed", "webhook", "killed", "refused-ratio")

    code, said, verdicts = judged(
        "--adapter", "jsonl", "--min-poll", "0.2", *chosen, "--", sys.executable, str(ADAPTER), "real"
    )

    assert code == 0, said
    assert [verdicts[rule] for rule in ("CP-10", "CD-10", "CQ-10", "CW-01", "CM-08")] == [
        "pass", "pass", "warn", "not-run", "not-run",
    ]  # fmt: skip


def test_example_adapter_passes_all(judged: Lab) -> None:
    """
    The reference client in a single process passes every rule, webhooks and resuming included.
    """
    adapter = ROOT / "examples" / "jsonl_adapter.py"

    code, said, verdicts = judged("--adapter", "jsonl", "--min-poll", "0.1", "--", sys.executable, str(adapter))

    assert code == 0, said
    # Its messages have no place for a charge, and waits of 0.1 s cannot show whether several tasks are read in step.
    assert {rule for rule, verdict in verdicts.items() if verdict != "pass"} == {"CM-12", "CP-18"}


def test_adapter_with_built_in_hosts(judged: Lab) -> None:
    """
    An adapter is led to the fake as a command is: over HTTPS that it trusts, under the service's own name.
    """
    adapter = ROOT / "examples" / "jsonl_adapter.py"
    words = ("--adapter", "jsonl", "--impersonate", "--min-poll", "0.1", *stories("happy", "webhook", "plain-http"))

    code, said, verdicts = judged(*words, "--", sys.executable, str(adapter))

    assert code == 0, said
    assert [verdicts[rule] for rule in ("CQ-01", "CD-03", "CW-01", "CQ-06")] == ["pass", "pass", "pass", "not-run"]


JURY = ROOT / "tests" / "jury" / "clients" / "broken.py"


def test_a_client_without_its_key_is_named(judged: Lab) -> None:
    """
    Calls that are refused for want of the key are seen: that is CQ-01, not a client that never called.
    """
    for name, seen in (("no-key", "no Authorization"), ("other-scheme", "Token")):
        code, said, verdicts = judged("--", sys.executable, str(JURY), name)

        assert code == 1, said
        assert verdicts["CQ-01"] == "fail"
        assert seen in said
        assert {rule for rule, verdict in verdicts.items() if verdict not in ("pass", "not-run")} == {"CQ-01"}


def test_a_create_repeated_after_ten_seconds_is_named(judged: Lab) -> None:
    """
    The default run is long enough to see that money is paid twice.
    """
    chosen = stories("lost-reply", "create-503", "create-502-json")

    code, said, verdicts = judged(*chosen, "--", sys.executable, str(JURY), "repeats-lost")

    assert code == 1, said
    assert (verdicts["CM-02"], verdicts["CM-03"]) == ("fail", "fail")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no-such-client",), "no-such-client: there is no such command"),
        (
            (sys.executable, "-c", "raise SystemExit('I am broken')"),
            "never called the lab (exit code 1); it said: I am broken",
        ),
        ((sys.executable, "-c", "{imgae}"), "no such placeholder"),
        (("--report", "/dev/null/report", "--", "true"), "Invalid value for '--report'"),
        ((sys.executable, "-c", "while True: print('x' * 65536)"), "it flooded its output and was stopped"),
        ((), "name the client's command"),
    ],
)
def test_unusable_command_is_one_line(lab: Lab, words: tuple[str, ...], said: str) -> None:
    """
    A command that cannot be judged at all ends the run with exit code 2 and one line.
    """
    code, output, _ = lab("--min-poll", "0.2", *(() if "--" in words else ("--",)), *words)

    assert code == 2
    assert said in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("how", "options"),
    [
        (signal.SIGINT, ("--min-poll", "0.2", "--deadline", "120")),
        (signal.SIGTERM, ("--min-poll", "0.2", "--deadline", "120")),
        (signal.SIGTERM, ("--drawn", "10")),
    ],
)
def test_stopped_by_hand(tmp_path: Path, how: signal.Signals, options: tuple[str, ...]) -> None:
    """
    Ctrl-C, and a CI that is cancelled, end the kit at once, with its clients, whatever time they still have.
    """
    note = tmp_path / "pids"
    code = f"import os, time; open({str(note)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(200)"
    words = [sys.executable, "-c", "from kling_contract.cli.main import main; main()", "client", *options, "--"]
    kit = subprocess.Popen(
        [*words, sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    )
    for _ in range(1200):
        if kit.poll() is not None or note.is_file():
            break
        threading.Event().wait(0.1)

    kit.send_signal(how)
    said, _ = kit.communicate(timeout=60)

    assert (kit.returncode, said.strip()) == (2, "kling-contract: stopped by hand")
    assert not [pid for pid in note.read_text().split() if lives(int(pid))]


def lives(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class InProcess:
    """A client that is a function: it asks for nothing and says that all is well."""

    parallel = 4
    speaks = False
    min_poll = None
    takes = frozenset[str]()
    bounded = True

    def unable(self, story: Any) -> str:
        """It can do anything."""
        del story
        return ""

    def run(self, order: RunRequest) -> RunResult:
        """Create a task and lie about the rest."""
        import requests

        body = {"model": "kling-v3-turbo-image-to-video", **order.request}
        headers = {"Authorization": f"Bearer {order.api_key}"}
        task = requests.post(f"{order.base_url}/v1/videos/generations", json=body, headers=headers, timeout=60).json()
        return RunResult(said={"outcome": "completed", "task_id": task["id"]})

    def close(self) -> None:
        """Nothing to close."""


def test_function_as_client() -> None:
    """
    The seam for clients in this process: a function runs a story, and a lie is found out.
    """
    from kling_contract.judging import judge_history
    from kling_contract.rules.verdicts import Choice

    every, recorder = load(shipped()), Recorder()

    ended, _ = run([every["happy"]], shipped(), recorder, lambda *_: InProcess(), Pace(0.2, 0.2, 5.0))
    verdict = judge_history(recorder.events, Choice(only=frozenset({"CD-11"})), str).verdicts[0]

    assert ended[0].called
    assert verdict.result == "fail"
    assert "success only for a task that completed" in verdict.expected
