"""The terminal of a server: one line for each request, attempt, render, refusal and clock move; never in the way of a request."""

import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kling_mock.serving.terminal import Terminal
from kling_mock.store.journal import Entry, Journal, as_json
from kling_mock.store.lines import lines

HOOK = "https://8.8.8.8/hook"


def written(rig: Any) -> list[str]:
    """The lines for everything in the journal, without their times."""
    return [line.text() for entry in rig.fake.world.journal.entries() for line in lines(as_json(entry))]


def test_a_request_is_a_line_with_its_task(rig: Any) -> None:
    """Method, path, status and task of a create and a read."""
    task = rig.task()
    rig.query(task)
    assert written(rig) == [f"POST /v1/videos/generations  200  {task}", f"GET /v1/tasks/{task}  200  {task}"]


def test_a_refusal_names_the_field_and_the_reason(rig: Any) -> None:
    """The field once, and the sentence of the error."""
    rig.create(duration=99)
    rig.call("GET", "/v1/nothing")
    rig.create(key="wrong")
    first, second, third = written(rig)
    assert first == "POST /v1/videos/generations  400  duration: 99 is greater than the maximum of 15"
    assert second == "GET /v1/nothing  404  Invalid URL (GET /v1/nothing)"
    assert "401  no valid API key" in third


def test_attempts_say_how_they_ended(rig: Any) -> None:
    """Number, status or outcome, and the detail of what went wrong."""
    rig.receiver.script.extend([500, "timeout", 204])
    task = rig.task(callback_url=HOOK)
    rig.advance(60)
    attempts = [line for line in written(rig) if line.startswith("->")]
    assert attempts == [
        f"-> POST {HOOK} attempt 1  500  {task}",
        f"-> POST {HOOK} attempt 2  timeout  {task}  timeout, as the test wants it",
        f"-> POST {HOOK} attempt 3  204  {task}",
    ]


def test_a_render_and_its_download_are_two_lines(rig: Any) -> None:
    """The first download of a video says how long it took to make; the second does not."""
    task = rig.task(duration=3)
    rig.advance(60)
    link = rig.shown(task)["results"][0].partition("://")[2].partition("/")[2]
    for _ in range(2):
        rig.call("GET", f"/{link}", key=None)
    said = [line for line in written(rig) if "rendered" in line or "/files/" in line]
    assert [line.partition("  ")[0].split("/")[0] for line in said] == ["rendered a video", "GET ", "GET "]


def test_clock_moves_and_faults_are_told(rig: Any) -> None:
    """Freezing, advancing, scaling; and the scenario behind a fault."""
    rig.advance(90)
    rig.control("PUT", "/clock", {"mode": "scaled", "rate": 60})
    rig.create(headers={"X-Mock-Scenario": "rate-limited"}, bent=True)
    moved, scaled, limited = written(rig)
    assert (moved, scaled) == ("clock advanced 90 s", "clock scaled x60")
    assert "429" in limited
    assert "scenario rate-limited: answer 429" in limited


def test_what_a_client_sends_cannot_steer_the_terminal(rig: Any) -> None:
    """Escape sequences in a path are written out."""
    rig.call("GET", "/v1/%1b%5b31mred", bent=True)
    (line,) = written(rig)
    assert "\x1b" not in line
    assert "\\x1b[31mred" in line


@pytest.mark.parametrize("colour", [True, False])
def test_lines_reach_the_stream(rig: Any, colour: bool) -> None:
    """With the time of the fake's clock; a refusal in red on a terminal, plain text elsewhere."""
    stream = io.StringIO()
    terminal = Terminal(rig.fake.world.journal, stream, colour=colour)
    rig.create()
    rig.create(duration=99)
    terminal.close(10.0)
    good, bad = stream.getvalue().splitlines()
    assert good[2] == good[5] == ":"
    assert "\x1b" not in good
    assert bad.startswith("\x1b[31m") is colour


def test_lines_for_programs_are_json(rig: Any) -> None:
    """One object a line, with the members that have a value."""
    stream = io.StringIO()
    terminal = Terminal(rig.fake.world.journal, stream, as_json=True)
    rig.create(duration=99)
    terminal.close(10.0)
    line = json.loads(stream.getvalue())
    assert line["kind"] == "exchange"
    assert line["what"] == "POST /v1/videos/generations"
    assert line["status"] == "400"
    assert line["why"].startswith("duration")
    assert "task_id" not in line


def test_no_secret_reaches_the_stream(rig: Any) -> None:
    """Of lines either: they are made of entries whose secrets nothing has replaced yet."""
    stream = io.StringIO()
    terminal = Terminal(rig.fake.world.journal, stream, as_json=True)
    rig.create(callback_url="https://hooks.example.com/sk-of-the-callback-0123456789?token=sk-of-the-query-0123456789")
    rig.call("GET", "/v1/sk-of-the-path-0123456789")
    terminal.close(10.0)
    assert len(stream.getvalue().splitlines()) == 2
    assert "0123456789" not in stream.getvalue()


class Stuck(io.StringIO):
    """A stream that nobody reads: writing waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        """Wait, then write."""
        self.go.wait(30)
        return super().write(text)


def test_a_pipe_that_is_never_read_delays_no_request(make: Callable[..., Any]) -> None:
    """Requests go on while the writer waits; what could not be kept is counted, and the count is written."""
    stream = Stuck()
    terminal = Terminal(Journal(), stream)
    for number in range(20_000):
        terminal.show(Entry(number, 0.0, None, "clock", more={"mode": "manual"}))
    stream.go.set()
    terminal.close(30.0)
    said = stream.getvalue().splitlines()
    assert said[-1].endswith("lines left out)")
    kept = len(said) - 1
    assert kept + int(said[-1].split()[0].lstrip("(")) == 20_000


def test_a_closed_stream_ends_the_lines_and_nothing_else(rig: Any) -> None:
    """A terminal that went away is no reason to fail a request."""
    stream = io.StringIO()
    stream.close()
    terminal = Terminal(rig.fake.world.journal, stream, colour=False)
    assert rig.create().status_code == 200
    terminal.close(10.0)
    assert rig.create().status_code == 200
