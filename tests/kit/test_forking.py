"""A client that was forked is a process like one that was started afresh: output, exit code, session, signals."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kling_contract.lab import process
from kling_contract.mutants.clients import CORRECT, command
from kling_contract.mutants.forking import MODULE, ForkServer
from kling_contract.reading.contract import shipped
from kling_contract.rules.verdicts import SetupError
from kling_contract.serving import Incoming, Listener

_WORDS = [sys.executable, "-m", MODULE]


@pytest.fixture
def forks() -> Iterator[ForkServer]:
    """A fork server."""
    with ForkServer() as server:
        yield server


def _ran(words: list[str], folder: Path, start: process.Start | None = None) -> process.Ran:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KLING_")}
    return process.run(
        words, folder=folder, environment=environment, patience=60.0, stop=threading.Event(), start=start
    )


@pytest.mark.parametrize("words", [["--help"], ["--limits"], ["--limits", "{}", "--pause", "1", "--timeout", "1"]])
def test_a_fork_says_and_ends_as_a_fresh_start_does(words: list[str], tmp_path: Path, forks: ForkServer) -> None:
    """Help, a wrong use, and an error of its own."""
    fresh, forked = _ran([*_WORDS, *words], tmp_path), _ran([*_WORDS, *words], tmp_path, forks.start)

    assert (forked.exit, forked.signal, forked.ended) == (fresh.exit, fresh.signal, fresh.ended)
    assert bytes(forked.stdout.kept).partition(b"\n\n")[2] == bytes(fresh.stdout.kept).partition(b"\n\n")[2]
    assert bytes(forked.stderr.kept).splitlines()[-1:] == bytes(fresh.stderr.kept).splitlines()[-1:]


def test_a_fork_can_be_ended(tmp_path: Path, forks: ForkServer) -> None:
    """It has a session of its own; a signal is its end, and says which."""
    asked = threading.Event()

    def hang(request: Incoming) -> None:
        asked.set()
        over.wait(60)
        request.reset()

    over = threading.Event()
    with Listener(hang) as server:
        environment = {
            "KLING_IMAGE": "https://image.test/1.jpg", "KLING_BASE_URL": server.origin, "KLING_API_KEY": "sk-a",
            "KLING_OUT": str(tmp_path / "a.mp4"), "KLING_DEADLINE": "60",
        }  # fmt: skip
        words = [*command(CORRECT[0], shipped()), "--timeout", "60"]
        client = forks.start(words, folder=tmp_path, environment=environment)
        assert asked.wait(60)
        assert os.getsid(client.pid) == client.pid
        assert client.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.0)
        process.end(client)
        over.set()
    assert client.returncode == -signal.SIGTERM
    for stream in (client.stdout, client.stderr):
        assert stream is not None
        stream.close()


def test_without_its_server_nothing_is_waited_for(tmp_path: Path) -> None:
    """A start is an error, and there is nothing left behind."""
    server = ForkServer()
    with server:
        pass
    with pytest.raises(SetupError, match="is gone"):
        server.start(_WORDS, folder=tmp_path, environment={})
