"""Processes of the fake: how one says that it is ready, and that none outlives whoever started it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.e2e

MOCK = [sys.executable, "-m", "kling_mock"]
# What `exec` runs: it prints where the fake is, and stays until its input ends or a signal arrives, whose number is its exit code.
CHILD = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os._exit(number))
print(os.environ["KLING_BASE_URL"], os.getpid(), flush=True)
sys.stdin.read()
"""


@contextmanager
def started(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command of the project, with pipes; killed with the block where it still runs."""
    process = subprocess.Popen(
        [*MOCK, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def line_of(process: "subprocess.Popen[str]") -> str:
    """The next line of its standard output."""
    assert process.stdout is not None
    return process.stdout.readline()


def gone(url: str) -> bool:
    """Whether nothing listens there any more; waits for it as long as a slow machine may take to stop a server."""
    session = requests.Session()
    session.trust_env = False
    for _ in range(300):
        try:
            session.get(f"{url}/__mock/health", timeout=0.1)
        except requests.ConnectionError:
            return True
        except requests.RequestException:
            continue
    return False


def test_ready_json_is_the_only_line() -> None:
    """`serve --ready-json` says url, port and pid in its first line, and nothing else on standard output."""
    with started("serve", "--port", "0", "--ready-json", "--stop-with-stdin") as process:
        ready: dict[str, Any] = json.loads(line_of(process))
        answer = requests.get(f"{ready['url']}/__mock/ready", timeout=60)
        out, _ = process.communicate(timeout=60)

    assert answer.ok
    assert ready == {"url": f"http://127.0.0.1:{ready['port']}", "port": ready["port"], "pid": process.pid}
    assert (out, process.returncode) == ("", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_exec_passes_a_signal_on(number: int) -> None:
    """A signal to `exec` alone reaches its command, whose exit code it gives back; the fake ends with them."""
    with started("exec", "--", sys.executable, "-c", CHILD) as process:
        url = line_of(process).split()[0]
        os.kill(process.pid, number)
        process.wait(timeout=60)

        assert process.returncode == number
        assert gone(url)


# `exec` with a signal for it at the moment at which its command has just begun.
EARLY = """
import os, signal, subprocess, sys
from kling_mock.cli.main import main
class Popen(subprocess.Popen):
    def __init__(self, command, **more):
        super().__init__(command, **more)
        if tuple(command) == (sys.executable, "-c", "import time; time.sleep(100)"):
            os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = Popen
sys.argv = ["kling-mock", "exec", "--", sys.executable, "-c", "import time; time.sleep(100)"]
main()
"""


def test_a_signal_while_the_command_is_started_reaches_it() -> None:
    """It waits for the command in place of ending `exec` alone, which would leave the command without its fake."""
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, timeout=60, check=False)

    assert done.returncode == 128 + signal.SIGTERM, done.stderr


def test_the_fake_ends_with_a_killed_exec() -> None:
    """SIGKILL to `exec`: nothing can be passed on, and the fake stops all the same."""
    with started("exec", "--", sys.executable, "-c", CHILD) as process:
        url, child = line_of(process).split()
        try:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=60)

            assert gone(url)
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)


def test_exec_shows_no_secret_of_the_server() -> None:
    """The token and the keys reach the server, and stand in no command line but the one that the user typed."""
    options = ("--admin-token", "cAnary-token", "--keys", "sk-cAnary,sk-b")
    with started("exec", *options, "--", sys.executable, "-c", CHILD) as process:
        url, child = line_of(process).split()
        listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, timeout=60).stdout
        known = requests.get(f"{url}/v1/credits", headers={"Authorization": "Bearer sk-cAnary"}, timeout=60)
        forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Mock-Token": "cAnary-token"}
        far = requests.get(f"{url}/__mock/info", headers=forwarded, timeout=60)
        os.kill(int(child), signal.SIGTERM)
        process.wait(timeout=60)

    shown = [line for line in listed.splitlines() if "cAnary" in line and int(line.split()[0]) != process.pid]
    assert shown == []
    assert (known.status_code, far.status_code) == (200, 200)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_ends_in_order(number: int) -> None:
    """Each signal that asks a server to stop ends it with exit code 0."""
    with started("serve", "--port", "0", "--ready-json") as process:
        ready = json.loads(line_of(process))
        os.kill(ready["pid"], number)

        assert process.wait(timeout=60) == 0
