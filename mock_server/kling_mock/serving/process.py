"""A fake in a process of its own, for `exec` and for tests."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Self
from urllib.parse import urlsplit

from kling_common.launch import Launched, NotReady
from kling_mock.config import BadSetting

SERVE = (sys.executable, "-m", "kling_mock", "serve", "--ready-json", "--stop-with-stdin", "--quiet")
"""The command of a child that says in JSON when it is ready, ends with its parent, and writes no line for each request."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PRELOAD = Path(__file__).parent / "preload"


class Running:
    """`with Running(["--clock", "manual"]) as fake: fake.url`: a `kling-mock serve` that ends with the block, or with this process.

    *home* is the folder of its certificate authority, else the user's own. *errors* receives its log.
    *secrets* are options of the server by their variables: other users of the machine can read a command line.

    Raises:
        BadSetting: it did not start; the message is its own.
    """

    def __init__(
        self,
        options: Sequence[str] = (),
        *,
        home: Path | None = None,
        errors: IO[str] | None = None,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        command = [*SERVE, *options] if "--port" in options else [*SERVE, *options, "--port", "0"]
        environment = {**os.environ, **secrets, **({"KLING_MOCK_HOME": str(home)} if home else {})}
        self._home = home
        self._child = Launched(command, environment=environment, errors=errors)
        self.url = ""
        self.proxy: str | None = None
        self.impersonated: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        try:
            ready = self._child.__enter__().ready
        except NotReady as error:
            raise BadSetting(complaint(str(error))) from error
        self.url = ready["url"]
        self.proxy, self.impersonated = ready.get("proxy"), tuple(ready.get("names", ()))
        return self

    def __exit__(self, *error: object) -> None:
        self._child.__exit__(*error)

    @property
    def pid(self) -> int:
        """Process id of the fake."""
        return self._child.pid

    def variables(self, api_key: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the variables that point a client at the fake; *environment* is what the client would have otherwise."""
        found = {
            **client_variables(self.url, api_key),
            **_direct(environment, urlsplit(self.url).hostname or ""),
        }
        if self.url.startswith("https:"):
            from kling_common.authority import Authority

            found |= Authority(self._home).variables()
        if self.proxy is not None:
            found |= self._fenced(self.proxy, environment)
        return found

    def _fenced(self, proxy: str, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that lead a client with built-in service names to the fake and to nothing else."""
        names = ("https_proxy", "http_proxy", "all_proxy")
        found = {name: f"http://{proxy}" for lower in names for name in (lower, lower.upper())}
        found |= {"no_proxy": ",".join(_LOOPBACK), "NO_PROXY": ",".join(_LOOPBACK), "NODE_USE_ENV_PROXY": "1"}
        routes = {"hosts": self.impersonated, "fake": self.url.partition("://")[2], "proxy": proxy}
        node = str(_PRELOAD / "node.cjs").replace("\\", "\\\\").replace('"', '\\"')
        python = [str(_PRELOAD / "python"), environment.get("PYTHONPATH", "")]
        return found | {
            "KLING_MOCK_ROUTES": json.dumps(routes),
            "NODE_OPTIONS": f'{environment.get("NODE_OPTIONS", "")} --require "{node}"'.strip(),
            "PYTHONPATH": os.pathsep.join(entry for entry in python if entry),
        }


def _direct(environment: Mapping[str, str], host: str) -> dict[str, str]:
    """Return the variables that keep a proxy, as companies have one, out of calls to the fake; what they name stays."""
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = ",".join(dict.fromkeys([*(name.strip() for name in named.split(",") if name.strip()), *_LOOPBACK, host]))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


def client_variables(url: str, api_key: str) -> dict[str, str]:
    """Return the variables that clients read, pointing at the fake at *url*."""
    return {
        "KLING_BASE_URL": url,
        "KLING_API_KEY": api_key,
        "KLING_CONTROL_URL": f"{url}/__mock",
        "KLING_MOCK_URL": url,
        "KLING_FILES_BASE_URL": url,
        "EVOLINK_BASE_URL": url,
        "EVOLINK_API_KEY": api_key,
    }


def complaint(said: str) -> str:
    """Return why a fake did not start, from what it wrote to standard error."""
    return said.removeprefix("kling-mock: ") or "the fake did not start"
