"""A server in a child process: start it, wait until it is ready, drain its output, and end it with whoever started it.

The child says that it is ready in the first line of its standard output, a JSON object (`kling-mock serve --ready-json`), and stops
when its standard input ends (`--stop-with-stdin`). The system closes that pipe when the parent dies, however it dies.
"""

import json
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Self

_KEPT_LINES = 200
_STOP_SECONDS = 5.0


class NotReady(Exception):
    """The child ended or kept silent before it was ready; the message is what it wrote to standard error."""


def ready_line(output: IO[str]) -> dict[str, Any] | None:
    """Return the JSON object in the first line of *output*; None where there is none."""
    try:
        value = json.loads(output.readline())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class Launched:
    """A child process that is ready: `with Launched([...]) as child: child.ready["url"]`. It ends with the block.

    *errors* receives what the child writes to standard error once it is ready; without it that is dropped.

    Raises:
        NotReady: from `with`, when the child does not get ready within *patience* seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        patience: float = 30.0,
        errors: IO[str] | None = None,
    ) -> None:
        self._command, self._environment, self._patience, self._errors = command, environment, patience, errors
        self._kept: deque[str] = deque(maxlen=_KEPT_LINES)
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - a command of the caller's own making
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=None if self._environment is None else dict(self._environment),
        )
        self._readers = [threading.Thread(target=self._read_errors, daemon=True)]
        self._readers[0].start()
        output = self._process.stdout
        assert output is not None
        giving_up = threading.Timer(self._patience, self._process.kill)
        giving_up.start()
        try:
            ready = ready_line(output)
        finally:
            giving_up.cancel()
        if ready is None:
            self._stop()
            raise NotReady("".join(self._kept).strip())
        self.ready = ready
        self._readers.append(threading.Thread(target=_drain, args=(output,), daemon=True))
        self._readers[1].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def _stop(self) -> None:
        """Close standard input, which asks the child to stop; then terminate it, then kill it."""
        process = self._process
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        for force in (process.terminate, process.kill):
            try:
                process.wait(timeout=_STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                force()
        process.wait()
        for reader in self._readers:
            reader.join(timeout=_STOP_SECONDS)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def _read_errors(self) -> None:
        """Keep the last lines of standard error; show those that come once the child is ready."""
        assert self._process.stderr is not None
        with suppress(ValueError, OSError):
            for line in self._process.stderr:
                self._kept.append(line)
                if self.ready and self._errors is not None:
                    self._errors.write(line)
                    self._errors.flush()


def _drain(stream: IO[str]) -> None:
    """Read and drop, so that the child never waits for a full pipe."""
    with suppress(ValueError, OSError):
        for _ in stream:
            pass
