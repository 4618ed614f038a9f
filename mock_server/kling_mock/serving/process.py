"""A fake in a process of its own, for `exec` and for tests."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from kling_mock.config import BadSetting

_URL = re.compile(r"listening on (\S+)")
_PROXY = re.compile(r"proxy: http://(\S+) for (.+)")
_LAST = "control: /__mock/"
_PATIENCE = 20.0
_LOOPBACK = "localhost,127.0.0.1,::1"
_PRELOAD = Path(__file__).parent / "preload"


class Running:
    """`with Running(["--clock", "manual"]) as fake: fake.url`: a `kling-mock serve` that ends with the block.

    *home* is the folder of its certificate authority, else the user's own.

    Raises:
        BadSetting: it did not start; the message is what it said.
    """

    def __init__(self, options: Sequence[str] = (), *, home: Path | None = None) -> None:
        self._options = list(options) if "--port" in options else [*options, "--port", "0"]
        self._home = home
        self.url = ""
        self.proxy: str | None = None
        self.impersonated: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "kling_mock", "serve", *self._options]
        environment = {**os.environ, **({"KLING_MOCK_HOME": str(self._home)} if self._home else {})}
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        output, errors = self._process.stdout, self._process.stderr
        assert output is not None
        assert errors is not None
        giving_up = threading.Timer(_PATIENCE, self._process.kill)
        giving_up.start()
        try:
            said = announcement(output)
        finally:
            giving_up.cancel()
        url = announced_url(said)
        if url is None:
            complaint = errors.read().strip().removeprefix("kling-mock: ")
            self._process.wait()
            output.close()
            errors.close()
            raise BadSetting(complaint or "the fake did not start")
        self.url = url
        if proxy := _PROXY.search(said):
            self.proxy, self.impersonated = proxy[1], tuple(proxy[2].split(", "))
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

    def variables(self, api_key: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What a client finds in its environment, where *environment* is what it would find otherwise."""
        found = {
            "KLING_BASE_URL": self.url,
            "KLING_API_KEY": api_key,
            "KLING_CONTROL_URL": f"{self.url}/__mock",
            "KLING_MOCK_URL": self.url,
            "KLING_FILES_BASE_URL": self.url,
            "EVOLINK_BASE_URL": self.url,
            "EVOLINK_API_KEY": api_key,
        }
        if self.url.startswith("https:"):
            from kling_common.authority import Authority

            found |= Authority(self._home).variables()
        if self.proxy is not None:
            found |= self._fenced(self.proxy, environment)
        return found

    def _fenced(self, proxy: str, environment: Mapping[str, str]) -> dict[str, str]:
        """What leads a client with the service's names built in to the fake, and nowhere else."""
        names = ("https_proxy", "http_proxy", "all_proxy")
        found = {name: f"http://{proxy}" for lower in names for name in (lower, lower.upper())}
        found |= {"no_proxy": _LOOPBACK, "NO_PROXY": _LOOPBACK, "NODE_USE_ENV_PROXY": "1"}
        routes = {"hosts": self.impersonated, "fake": self.url.partition("://")[2], "proxy": proxy}
        node = str(_PRELOAD / "node.cjs").replace("\\", "\\\\").replace('"', '\\"')
        python = [str(_PRELOAD / "python"), environment.get("PYTHONPATH", "")]
        return found | {
            "KLING_MOCK_ROUTES": json.dumps(routes),
            "NODE_OPTIONS": f'{environment.get("NODE_OPTIONS", "")} --require "{node}"'.strip(),
            "PYTHONPATH": os.pathsep.join(entry for entry in python if entry),
        }


def announcement(output: IO[str]) -> str:
    """What a fake says when it is ready; as far as it came, when it ends before."""
    said = ""
    for line in output:
        said += line
        if _LAST in line:
            break
    return said


def announced_url(said: str) -> str | None:
    """The origin in what a fake said; None when it did not start."""
    found = _URL.search(said)
    return found[1] if found else None


def _drain(stream: object) -> None:
    """Read what the fake says, so that it never waits for a full pipe."""
    with suppress(ValueError, OSError):
        for _ in stream:  # type: ignore[attr-defined]
            pass
