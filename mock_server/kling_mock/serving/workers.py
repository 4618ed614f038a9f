"""Several processes on one port: a supervisor that starts them, starts one again that ended, and ends with them."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress

from kling_mock.config import BadSetting, Settings

_PATIENCE = 30.0
_GRACE = 15.0
_AGAIN = 0.2
READY = "ready"
"""What a worker says on standard output when it takes connections."""


class Supervisor:
    """Runs `settings.workers` workers. Each gets the settings on its standard input, and ends when that closes."""

    def __init__(self, settings: Settings, options: tuple[str, ...] = ()) -> None:
        self._settings, self._options = settings, options
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._metrics = ""

    async def run(self, ready: Callable[[], None], *, stop_with_stdin: bool = False) -> None:
        """Serve until a signal comes; *ready* is called when every worker takes connections.

        Raises:
            BadSetting: a worker did not start; it has said why on standard error.
        """
        with tempfile.TemporaryDirectory(prefix="kling-mock-metrics-", ignore_cleanup_errors=True) as self._metrics:
            await self._run(ready, stop_with_stdin)

    async def _run(self, ready: Callable[[], None], stop_with_stdin: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        if stop_with_stdin:
            loop.add_reader(sys.stdin.fileno(), self._drop_input, loop)
        try:
            async with asyncio.timeout(_PATIENCE):
                first = await asyncio.gather(*(self._start() for _ in range(self._settings.workers)))
            ready()
            keepers = [loop.create_task(self._keep(worker)) for worker in first]
            await self._stopping.wait()
            await self._end()
            for keeper in keepers:
                keeper.cancel()
        except TimeoutError as error:
            raise BadSetting(f"--workers: they were not ready in {_PATIENCE:g} s") from error
        finally:
            for worker in self._running:
                with suppress(ProcessLookupError):
                    worker.kill()

    def _drop_input(self, loop: asyncio.AbstractEventLoop) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            self._stopping.set()

    async def _start(self) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", "kling_mock", "worker", "--metrics", self._metrics, *self._options)
        pipe = asyncio.subprocess.PIPE
        worker = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
        self._running.add(worker)
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(self._settings.as_json().encode() + b"\n")
        if (await worker.stdout.readline()).strip() != READY.encode():
            raise BadSetting(f"a worker did not start (exit code {await worker.wait()})")
        return worker

    async def _keep(self, worker: asyncio.subprocess.Process) -> None:
        """Start the worker again whenever it ends by itself."""
        while True:
            await worker.wait()
            self._running.discard(worker)
            if self._stopping.is_set():
                return
            await asyncio.sleep(_AGAIN)
            with suppress(BadSetting):
                worker = await self._start()

    async def _end(self) -> None:
        """Ask all to stop, and wait while they end what is under way."""
        workers = list(self._running)
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.terminate()
        if workers:
            await asyncio.wait([asyncio.ensure_future(worker.wait()) for worker in workers], timeout=_GRACE)
