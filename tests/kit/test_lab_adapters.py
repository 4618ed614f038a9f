"""Adapters: commands that behave and commands that do not, and the protocol of JSON lines."""

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kling_contract.history.events import wall
from kling_contract.lab.adapters.command import CommandAdapter, rooted
from kling_contract.lab.adapters.jsonl import JsonlAdapter
from kling_contract.lab.environment import environment
from kling_contract.lab.results import RunRequest, RunResult, described, found_in, small_texts
from kling_contract.lab.run import NEED_A_WORD
from kling_contract.lab.stories import load
from kling_contract.reading.contract import shipped
from kling_contract.rules.verdicts import SetupError

KEY = "sk-lab-0123456789abcdef"
ADAPTER = Path(__file__).with_name("lab_adapter.py")
Run = Callable[..., RunResult]


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., RunRequest]:
    """Makes orders with a folder of their own."""

    def make(**more: Any) -> RunRequest:
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        given: dict[str, Any] = {
            "case": "happy", "job": 1, "base_url": "http://127.0.0.1:9", "api_key": KEY, "folder": folder,
            "request": {"image_start": "https://image.test/300x300.png"}, "out": folder / "video.mp4", "min_poll": 0.2, "deadline": 5.0,
            "grace": 1.0, "environment": {"PATH": os.environ["PATH"], "KLING_API_KEY": KEY},
        }  # fmt: skip
        return RunRequest(**{**given, **more})

    return make


def python(code: str, *more: str) -> CommandAdapter:
    """A client that is a line of Python."""
    return CommandAdapter([sys.executable, "-c", code, *more], shipped())


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False


def test_placeholders_and_variables(order: Callable[..., RunRequest]) -> None:
    """
    Placeholders are filled in, those that the story leaves out with the contract's default, and the result file is read.
    """
    code = (
        "import sys, os, json; open(os.environ['KLING_RESULT'], 'w').write(json.dumps({'outcome': 'failed', 'x': 1})); "
        "print(sys.argv[1:])"
    )
    adapter = python(code, "{duration}", "{quality}", "{deadline}", "{prompt}", "a{image}b", "{callback_port}")

    result = adapter.run(order(callback_port=4321))

    assert result.stdout.strip() == "['5', '720p', '5', '', 'ahttps://image.test/300x300.pngb', '4321']"
    assert result.said == {"outcome": "failed"}
    assert (result.exit, result.ended) == (0, "itself")


def test_no_such_command() -> None:
    """
    A command that does not exist, and a placeholder that is none, stop the run with one line.
    """
    with pytest.raises(SetupError, match="there is no such command"):
        CommandAdapter(["no-such-client-anywhere"], shipped())
    with pytest.raises(SetupError, match=r"no such placeholder: \{imgae\}"):
        CommandAdapter([sys.executable, "{imgae}"], shipped())


def test_crash_is_told(order: Callable[..., RunRequest]) -> None:
    """
    A client that a signal ends has no exit code, and its last words are kept.
    """
    result = python("import os, sys; print('going', file=sys.stderr, flush=True); os.kill(os.getpid(), 11)").run(
        order()
    )

    assert (result.exit, result.signal, result.ended, result.stderr.strip()) == (None, 11, "itself", "going")


def test_cannot_is_told(order: Callable[..., RunRequest]) -> None:
    """
    Exit code 77 says that the client cannot do the case, with its own reason.
    """
    result = python("import sys; print('no webhooks here', file=sys.stderr); sys.exit(77)").run(order())

    assert result.cannot == "no webhooks here"


def test_flood_is_stopped(order: Callable[..., RunRequest]) -> None:
    """
    Output without end is drained, bounded in memory, and ends the client.
    """
    result = python("import os\nwhile True: os.write(1, b'x' * 65536)").run(order(deadline=20.0))

    assert result.ended == "flood"
    assert len(result.stdout) <= 4000 < result.output_bytes


def test_deaf_client_is_killed(order: Callable[..., RunRequest], tmp_path: Path) -> None:
    """
    A client that ignores SIGTERM is gone after its deadline all the same, which counts from when it does.
    """
    deaf = tmp_path / "deaf"
    os.mkfifo(deaf)
    code = (
        "import signal, time, os; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); "
        f"open({str(deaf)!r}, 'w').close(); time.sleep(60)"
    )

    def first_call() -> float:
        deaf.read_bytes()  # ends once the client has opened it
        return wall().at

    result = python(code).run(order(deadline=0.3, grace=0.2, first_call=first_call))

    assert result.ended == "deadline"
    assert not lives(int(result.stdout))


def test_late_start_is_no_overrun(order: Callable[..., RunRequest]) -> None:
    """
    A machine that took its time to start the client gives it that time back.
    """
    code = "import time; time.sleep(0.8)"
    soon = wall().at + 5.0

    assert python(code).run(order(deadline=0.1, grace=0.1, first_call=lambda: soon)).ended == "itself"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes that left the session are found through /proc")
def test_children_are_ended(order: Callable[..., RunRequest]) -> None:
    """
    Processes that a client leaves behind are ended, also those that left its session.
    """
    child = "import time; time.sleep(60)"
    code = (
        f"import subprocess as s, sys; child = s.Popen([sys.executable, '-c', {child!r}], start_new_session=True, "
        "stdout=s.DEVNULL, stderr=s.DEVNULL); print(child.pid)"
    )

    result = python(code).run(order())

    assert result.children == 1
    assert not lives(int(result.stdout))


@pytest.mark.parametrize(
    ("code", "where"),
    [
        (f"print('key: {KEY}')", ["stdout"]),
        ("import os, sys; sys.stderr.write('x' * 200000 + os.environ['KLING_API_KEY'] + 'y' * 200000)", ["stderr"]),
        ("import os, base64; print(base64.b64encode(os.environ['KLING_API_KEY'].encode()).decode())", ["stdout"]),
        ("import os; open('client.log', 'w').write('Bearer ' + os.environ['KLING_API_KEY'])", ["client.log"]),
        ("print('nothing to see')", []),
    ],
)
def test_leaks_are_found(order: Callable[..., RunRequest], code: str, where: list[str]) -> None:
    """
    The key is found in the whole of both outputs and in files, in any usual spelling.
    """
    assert python(code).run(order()).leaks == where


def test_files_are_told(order: Callable[..., RunRequest]) -> None:
    """
    What a client leaves in its folder is told with size and hash.
    """
    result = python("open('video.mp4', 'wb').write(b'abc')").run(order())

    assert [(file["name"], file["size"], file["sha256"][:8]) for file in result.files] == [("video.mp4", 3, "ba7816bf")]


def test_a_full_home_hides_no_video(order: Callable[..., RunRequest]) -> None:
    """
    However many files a client leaves at home, the one that was asked for is looked at.
    """
    code = "import os\nfor n in range(99): open(f'.cache{n:02}', 'w')\nopen('video.mp4', 'wb').write(b'abc')"
    result = python(code).run(order())

    assert result.files[0]["name"] == "video.mp4"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{'outcome': 'completed'}", "KLING_RESULT: unexpected"),
        ('["completed"]', "KLING_RESULT: the result: Input should be"),
        ('{"outcome": ["completed"]}', "KLING_RESULT: outcome: Input should be a valid string"),
        ('{"task_id": {"a": 1}}', "KLING_RESULT: task_id: Input should be a valid string"),
        ('{"effects": "many"}', "KLING_RESULT: effects: Input should be a valid integer"),
    ],
)
def test_a_result_that_says_nothing_is_told(
    order: Callable[..., RunRequest], tmp_path: Path, text: str, complaint: str
) -> None:
    """
    A result file that cannot be understood fails the case, with the member at fault.
    """
    code = f"import os; open(os.environ['KLING_RESULT'], 'w').write({text!r})"
    result = python(code).run(order())

    assert result.said is None
    assert result.broken.startswith(complaint)


def test_a_script_beside_the_user_is_found(tmp_path: Path) -> None:
    """
    An interpreter's script needs no slash; other words that happen to be files are left alone.
    """
    for name in ("client.py", "generate"):
        (tmp_path / name).write_text("")

    assert rooted(["sh", "client.py", "generate"], tmp_path)[1:] == [str(tmp_path / "client.py"), "generate"]


def test_stop_is_a_kill(order: Callable[..., RunRequest]) -> None:
    """
    An order that is stopped ends the client at once and by force.
    """
    mine = order()
    threading.Timer(0.3, mine.stop.set).start()

    result = python("import time; time.sleep(60)").run(mine)

    assert (result.ended, result.signal) == ("on purpose", 9)


@pytest.fixture
def jsonl(tmp_path: Path) -> Iterator[Callable[[str], JsonlAdapter]]:
    """Starts the small adapter in one of its ways."""
    made: list[JsonlAdapter] = []

    def make(how: str) -> JsonlAdapter:
        adapter = JsonlAdapter([sys.executable, str(ADAPTER), how], tmp_path, {"PATH": os.environ["PATH"]}, kit="0")
        made.append(adapter)
        return adapter

    yield make
    for adapter in made:
        adapter.close()


def test_jsonl_says_what_it_can(jsonl: Callable[[str], JsonlAdapter], order: Callable[..., RunRequest]) -> None:
    """
    The hello is taken at its word, an answer is kept, and members that nobody knows are ignored.
    """
    adapter = jsonl("good")
    stories = load(shipped())

    result = adapter.run(order())

    assert (adapter.name, adapter.parallel, adapter.min_poll) == ("small", 4, 0.2)
    assert result.said == {"outcome": "completed", "task_id": "task-unified-1-aaaaaaaa"}
    assert adapter.unable(stories["webhook"]) == "the adapter does not declare 'webhook'"
    assert adapter.unable(stories["killed"]) == "the adapter does not declare 'resume'"
    assert adapter.unable(stories["refused-ratio"]) == ""


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("garbage", "no message"), ("crash", "ended in the middle"), ("stranger", "not under way"),
        ("odd-outcome", "splendid"),
        ("echo", "sends back what it is sent"), ("skip", "skipped what it declares"), ("never", "silence past the deadline"),
    ],
)  # fmt: skip
def test_jsonl_breach_is_told(
    jsonl: Callable[[str], JsonlAdapter], order: Callable[..., RunRequest], how: str, why: str
) -> None:
    """
    Whatever breaks the protocol fails the case with a reason.
    """
    assert why in jsonl(how).run(order(deadline=0.5, grace=0.2)).broken


def test_jsonl_restarts_once(jsonl: Callable[[str], JsonlAdapter], order: Callable[..., RunRequest]) -> None:
    """
    An adapter that breaks down is started once more, and then no more.
    """
    adapter = jsonl("crash")

    said = [adapter.run(order()).broken for _ in range(3)]

    assert ["ended" in text for text in said] == [True, True, False]
    assert said[2] == "the adapter broke down a second time"


def test_jsonl_must_greet(jsonl: Callable[[str], JsonlAdapter]) -> None:
    """
    A program that does not say hello is no adapter; what it said is passed on.
    """
    with pytest.raises(SetupError, match="did not say hello: no words"):
        jsonl("mute")


@pytest.mark.parametrize(
    ("hello", "complaint"),
    [
        ({"parallel": "four"}, "parallel: Input should be a valid integer"),
        ({"parallel": 0}, "parallel: Input should be greater than or equal to 1"),
        ({"min_poll_s": -1}, "min_poll_s: Input should be greater than 0"),
        ({"can": 5}, "can: Input should be"),
        ({"client": "acme"}, "client: Input should be"),
    ],
)
def test_jsonl_hello_must_make_sense(hello: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    """
    A hello that cannot be used is refused in one line that names the member.
    """
    command = [sys.executable, str(ADAPTER), "good", json.dumps(hello)]

    with pytest.raises(SetupError, match=re.escape(f"the adapter's hello: {complaint}")):
        JsonlAdapter(command, tmp_path, {"PATH": os.environ["PATH"]}, kit="0")


def test_the_pause_is_told(jsonl: Callable[[str], JsonlAdapter], order: Callable[..., RunRequest]) -> None:
    """
    Every kind of client learns how long it is to wait between reads: in its command, its environment, or its message.
    """
    asked = order(min_poll=0.25)
    code = "import os, sys; print(sys.argv[1], os.environ['KLING_MIN_POLL'])"
    surroundings = environment(asked, control_url="", proxy="127.0.0.1:1", variables={})

    shown = python(code, "{min_poll}").run(replace(asked, environment={**surroundings, "PYTHONPATH": ""})).stdout
    said = jsonl("tells-pause").run(asked).said

    assert shown.split() == ["0.25", "0.25"]
    assert said == {"outcome": "completed", "error": {"message": "0.25"}}


def test_jsonl_leak_is_found(jsonl: Callable[[str], JsonlAdapter], order: Callable[..., RunRequest]) -> None:
    """
    The key on an adapter's stderr is a leak of that case.
    """
    assert jsonl("leak").run(order()).leaks == ["stdout or stderr"]


def test_every_rule_has_a_story() -> None:
    """
    Each client rule is served by a story, each story names rules that exist, and the rules that need a word are among them.
    """
    from kling_contract.rules.rulebook import rules

    mine = {rule.id for rule in rules(shipped()).values() if rule.for_clients}
    served = {rule for story in load(shipped()).values() for rule in story.rules}

    assert served == mine
    assert set(NEED_A_WORD) <= mine


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: Bad Name\nsummary: x\nrules: [CQ-01]", "name"),
        ("name: a\nsummary: x\nrules: []", "rules"),
        ("name: a\nsummary: x\nrules: [CQ-01]\nforge: [get]", "needs: \\[webhook\\]"),
        ("name: a\nsummary: x\nrules: [CQ-01]\nrequest: {duration: '{no_such_fact}'}", "no such fact"),
        ("- a\n- b", "a story is a mapping"),
        ("name: a\nsummary: x\nrules: [CQ-01]\n---\nname: a\nsummary: x\nrules: [CQ-01]", "stands twice"),
        ("{", "not YAML"),
    ],
)
def test_bad_stories_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """
    A story file that cannot be used is named, with what is wrong with it.
    """
    (tmp_path / "x.yaml").write_text(text)

    with pytest.raises(SetupError, match=complaint):
        load(shipped(), tmp_path)


def test_what_vanishes_while_files_are_read_is_left_out(tmp_path: Path) -> None:
    """Two processes of a client may share a folder: one takes its lock file away while the kit reads the other's."""
    for name in ("kept.mp4", "gone.lock"):
        (tmp_path / name).write_bytes(b"four")
    files = found_in(tmp_path)
    (tmp_path / "gone.lock").unlink()
    assert [(one["name"], one["size"]) for one in described(tmp_path, files)] == [("kept.mp4", 4)]
    assert small_texts(tmp_path, files) == {"kept.mp4": b"four"}
