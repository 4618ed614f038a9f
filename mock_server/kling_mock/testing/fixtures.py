"""The objects behind the pytest fixtures: a fake that processes share, one account of it, and its clock."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from kling_common.authority import Authority
from kling_common.calls import Answer, Unreachable, call
from kling_common.launch import ready_line
from kling_common.locks import alone
from kling_mock.serving.process import SERVE, client_variables, complaint
from kling_mock.testing.results import Delivery, Event, Task

_REASONABLE = 900.0
_START = 20.0


class MockError(Exception):
    """The fake did not start, has stopped, or refused a control call; the message is its own."""


class SharedFake:
    """One fake for every process that enters with the same *folder*; it stops when the last of them has left or died.

    The server's standard input is a named pipe in *folder* which each process holds open. The system closes what a crashed
    process held, so no counting is needed, and nothing is left behind.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self._folder, self._options = folder, list(options)
        self._authority = Authority(folder / "home")
        self._pipe = folder / "held"
        self._held = -1
        self.url = ""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with alone(self._folder / "lock"):
            if not self._found():
                self._start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def account(self, name: str) -> "KlingMock":
        """A fresh account whose key follows from *name*."""
        fresh = KlingMock(self, f"sk-{sha256(name.encode()).hexdigest()[:32]}")
        try:
            fresh.control("POST", "/reset")
        except MockError:  # gone: killed, or ended in the moment in which it was found
            self.__exit__(None, None, None)
            self.__enter__()
            fresh.control("POST", "/reset")
        return fresh

    def certificate(self) -> Path:
        """A certificate for this machine that the fake's callbacks trust."""
        return self._authority.certificate(["localhost", "127.0.0.1"])

    def request(self, method: str, path: str, **more: Any) -> Answer:
        """Return the response to one request to the fake; *more* as `kling_common.calls.call` takes it.

        Raises:
            MockError: it cannot be reached.
        """
        ca = self._authority.ca_file if self.url.startswith("https:") else None
        try:
            return call(method, f"{self.url}{path}", timeout=_REASONABLE, ca=ca, **more)
        except Unreachable as error:
            raise MockError(f"the fake at {self.url} is gone: {error}") from error

    def _found(self) -> bool:
        """Whether one runs already; then it is held."""
        try:
            self._held = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            self.url = (self._folder / "url").read_text()
            return self.request("GET", "/__mock/ready").ok
        except (OSError, MockError):
            self.__exit__(None, None, None)
            return False

    def _start(self) -> None:
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe, 0o600)
        stdin = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._held = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
        output, stdout = os.pipe()
        log = self._folder / "log"
        try:
            server = self._spawn(stdin, stdout, log)
        finally:
            os.close(stdin)
            os.close(stdout)
        self.certificate()  # while the server starts
        giving_up = threading.Timer(_START, os.kill, (server, signal.SIGKILL))
        giving_up.start()
        try:
            with os.fdopen(output) as said:
                ready = ready_line(said)
        finally:
            giving_up.cancel()
        if ready is None:
            os.waitpid(server, 0)
            raise MockError(complaint(log.read_text().strip()))
        self.url = ready["url"]
        (self._folder / "url").write_text(self.url)

    def _spawn(self, stdin: int, stdout: int, log: Path) -> int:
        """Start the server; it belongs to the run and not to this process, which may end before others do."""
        options = ["--callback-ca", str(self._authority.ca_file), *self._options, "--port", "0"]
        return os.posix_spawn(
            sys.executable,
            [*SERVE, *options],
            {**os.environ, "KLING_MOCK_HOME": str(self._authority.folder)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            ],
            setpgroup=0,  # Ctrl-C ends the tests, whose end ends the server
        )


class KlingMock:
    """One account at a running fake."""

    def __init__(self, fake: SharedFake, api_key: str) -> None:
        self._fake = fake
        self.api_key = api_key
        self._relays: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Origin of the fake: what an application takes for the service's base URL."""
        return self._fake.url

    def control(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return the decoded response of one control call on this account: `control("POST", "/tasks/ID/cancel")`.

        Raises:
            MockError: it is refused.
        """
        headers = {"authorization": f"Bearer {self.api_key}"}
        answer = self._fake.request(method, f"/__mock{path}", json=body, query=query, headers=headers)
        try:
            value = answer.json()
        except ValueError as error:
            raise MockError(f"{method} {path}: {answer.status} {answer.text[:200]}") from error
        if not answer.ok:
            raise MockError(value.get("error", {}).get("message", answer.text))
        return value

    @property
    def environ(self) -> dict[str, str]:
        """The variables that point an application at this account: `KLING_BASE_URL`, `EVOLINK_BASE_URL` and the others of `exec`."""
        return client_variables(self.url, self.api_key)

    def tasks(self) -> list[Task]:
        """The account's tasks: facts, plan and links."""
        return [Task(one) for one in self.control("GET", "/tasks")["tasks"]]

    def deliveries(self, task_id: str | None = None) -> list[Delivery]:
        """The callbacks owed, each with its attempts."""
        query = {} if task_id is None else {"task_id": task_id}
        return [Delivery(one) for one in self.control("GET", "/deliveries", **query)["deliveries"]]

    def report(self, most: int = 50) -> str:
        """Return the account's journal as lines, the last *most* of them: what a failed test shows."""
        from kling_mock.store.lines import lines, time_of

        shown = [f"{time_of(line.at)}  {line.text()}" for entry in self.journal() for line in lines(entry)]
        return "\n".join(shown[-most:])

    def journal(self) -> list[dict[str, Any]]:
        """What happened to the account, in order."""
        found: list[dict[str, Any]] = []
        page = self.control("GET", "/journal")
        while page["entries"]:
            found += page["entries"]
            page = self.control("GET", "/journal", since=page["next"])
        return found

    def scenario(self, name: str, times: int = 1, **params: Any) -> None:
        """The account's next create follows scenario *name*, or its next *times* creates."""
        self.control("POST", "/scenarios/next", {"name": name, "params": params, "times": times})

    def relay(self, origin: str, url: str) -> None:
        """Deliver callbacks for *origin* to *url*, an origin on this machine."""
        self._relays[origin] = url
        self.control("PUT", "/relays", self._relays)

    def wait(self, task_id: str, until: str = "terminal", timeout: float = 10.0) -> str:
        """The state in which *task_id* is `terminal`, `delivered`, or has made `attempts:N`; *timeout* in real seconds.

        Raises:
            MockError: it was not so in time, or never can be.
        """
        answer = self.control("GET", "/wait", task_id=task_id, until=until, timeout=timeout)
        if not answer["met"]:
            raise MockError(f"{task_id} is {answer['state']}; {until} can never be")
        return str(answer["state"])


class ManualClock:
    """An account's clock that only the test moves."""

    def __init__(self, account: KlingMock) -> None:
        self._account = account
        account.control("PUT", "/clock", {"mode": "manual"})

    @property
    def now(self) -> float:
        """Unix seconds."""
        return float(self._account.control("GET", "/clock")["now"])

    def advance(self, span: "str | float | timedelta") -> list[Event]:
        """Move it by "24h", seconds, or a timedelta; what happened on the way, in order, after it has happened.

        Raises:
            MockError: it is called on the event loop of an application that a callback is owed to, which could then never respond.
        """
        if _on_a_loop() and self._owes_callbacks():
            raise MockError(
                "advance() sends a callback and waits for it, and would block the event loop that must respond to it; "
                "write `await kling_clock.aadvance(...)`"
            )
        return self._advance(span)

    async def aadvance(self, span: "str | float | timedelta") -> list[Event]:
        """As `advance`, for asynchronous tests: the event loop goes on, so that an application on it can respond to callbacks."""
        return await asyncio.to_thread(self._advance, span)

    def _advance(self, span: "str | float | timedelta") -> list[Event]:
        from kling_mock.core.notation import seconds

        if isinstance(span, timedelta):
            span = span.total_seconds()
        length = seconds(span) if isinstance(span, str) else span
        return [Event(one) for one in self._account.control("POST", "/clock/advance", {"seconds": length})["fired"]]

    def _owes_callbacks(self) -> bool:
        """Whether moving the clock may call anything but a receiver that has a thread of its own."""
        from kling_mock.testing.receiver import HttpsReceiver

        over = {one.task_id for one in self._account.deliveries() if one.state != "waiting"}
        owed = [task.callback_url for task in self._account.tasks() if task.callback_url and task.id not in over]
        return any(not url.startswith(f"{HttpsReceiver.origin}/") for url in owed)


def _on_a_loop() -> bool:
    """Whether this thread runs an event loop, which waiting would stop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
