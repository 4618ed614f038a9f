"""Where the processes of the switchable client come from: forks of one that has imported it, a tenth of what a fresh start costs.

They are processes like any other, with a session and pipes of their own; the lab signals and waits for them as for a user's command.
"""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

import orjson

from kling_contract.rules.verdicts import SetupError

MODULE = "kling_contract.mutants.client"
_PATIENCE = 60.0


class Forked:
    """One client, as `subprocess.Popen` shows a process."""

    def __init__(self, pid: int, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.pid = pid
        self.stdout: IO[bytes] | None = stdout
        self.stderr: IO[bytes] | None = stderr
        self.returncode: int | None = None
        self._over = threading.Event()

    def ended(self, code: int) -> None:
        """Take its exit code."""
        self.returncode = code
        self._over.set()

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end.

        Raises:
            TimeoutExpired: it still runs.
        """
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired(MODULE, timeout or 0.0)
        return self.returncode


class ForkServer:
    """`with ForkServer() as server: server.start(...)`, in place of `lab.process.start` for commands of the switchable client."""

    def __enter__(self) -> "ForkServer":
        self._link, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-m", f"{MODULE}.fork_server", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._numbers = itertools.count()
        self._sending = threading.Lock()
        self._starting: dict[int, Future[int]] = {}
        self._running: dict[int, Forked] = {}
        self._codes: dict[int, int] = {}
        self._knows = threading.Lock()
        threading.Thread(target=self._listen, name="fork server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._link.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._link.close()

    def start(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Forked:
        """A client with the words that *command*, `python -m ... WORDS`, has for it.

        Raises:
            SetupError: the fork server is gone.
        """
        number, started = next(self._numbers), Future[int]()
        self._starting[number] = started
        wanted = {"number": number, "words": command[3:], "folder": str(folder), "environment": dict(environment)}
        out, sends_out = os.pipe()
        err, sends_err = os.pipe()
        try:
            with self._sending:
                socket.send_fds(self._link, [orjson.dumps(wanted)], [sends_out, sends_err])
                pid = started.result(_PATIENCE)
        except (OSError, TimeoutError) as error:
            raise SetupError(f"the fork server of the self-test is gone: {error}") from error
        finally:
            os.close(sends_out)
            os.close(sends_err)
        client = Forked(pid, os.fdopen(out, "rb", 0), os.fdopen(err, "rb", 0))
        with self._knows:
            if pid in self._codes:
                client.ended(self._codes.pop(pid))
            else:
                self._running[pid] = client
        return client

    def _listen(self) -> None:
        """Hear of clients that have started and of those that have ended."""
        with self._link.makefile("r") as lines:
            for line in lines:
                what, number, value = line.split()
                if what == "started":
                    self._starting.pop(int(number)).set_result(int(value))
                    continue
                with self._knows:
                    client = self._running.pop(int(number), None)
                    if client is None:
                        self._codes[int(number)] = int(value)
                if client is not None:
                    client.ended(int(value))
        with self._knows:
            for client in self._running.values():  # whoever waits for one must not wait for ever
                client.ended(-signal.SIGKILL)
