"""A fake in a process of its own, for `exec` and for tests."""

import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from mock_server.config import BadSetting

_URL = re.compile(r"listening on (\S+)")
_PATIENCE = 20.0


class Running:
    """`with Running(["--clock", "manual"]) as fake: fake.url`: a `kling-mock serve` that ends with the block.

    Raises:
        BadSetting: it did not start; the message is what it said.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = list(options) if "--port" in options else [*options, "--port", "0"]
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "mock_server", "serve", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
        output, errors = self._process.stdout, self._process.stderr
        assert output is not None
        assert errors is not None
        giving_up = threading.Timer(_PATIENCE, self._process.kill)
        giving_up.start()
        try:
            found = next((match for line in output if (match := _URL.search(line))), None)
        finally:
            giving_up.cancel()
        if found is None:
            said = errors.read().strip().removeprefix("kling-mock: ")
            self._process.wait()
            raise BadSetting(said or "the fake did not start")
        self.url = found[1]
        self._drains = [threading.Thread(target=_drain, args=(stream,), daemon=True) for stream in (output, errors)]
        for drain in self._drains:
            drain.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for drain in self._drains:
            drain.join(timeout=5)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        """Process id of the fake."""
        return self._process.pid

    def variables(self, api_key: str) -> dict[str, str]:
        """What a client finds in its environment."""
        return {
            "KLING_BASE_URL": self.url,
            "KLING_API_KEY": api_key,
            "KLING_CONTROL_URL": f"{self.url}/__mock",
            "KLING_MOCK_URL": self.url,
            "EVOLINK_BASE_URL": self.url,
            "EVOLINK_API_KEY": api_key,
        }


def _drain(stream: object) -> None:
    """Read what the fake says, so that it never waits for a full pipe."""
    with suppress(ValueError, OSError):
        for _ in stream:  # type: ignore[attr-defined]
            pass
