"""The lab's fake: `kling-mock` in a process of its own, whose videos are small, so that a story costs no encoding."""

import copy
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import yaml

from kling_contract.driving.control import Control
from kling_contract.driving.wire import Wire
from kling_contract.lab.other_hosts import free_port
from kling_contract.lab.watch import Watch
from kling_contract.reading.contract import Contract
from kling_contract.rules.verdicts import SetupError

_PATIENCE = 30.0
_ENTRIES = 200_000
_SHORT_SIDE = 32
"""Pixels of a video's shorter side in the lab: its bytes matter there, not its looks."""
_LISTENING = re.compile(r"listening on (\S+)")
_READY = "control: /__mock/"
_TRIES = 3
# A child of `kling-mock exec` that says what it finds in its environment and stays until its input ends.
_WAITER = "import json, os, sys; print('ENV ' + json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"


class Fake:
    """`with Fake(contract, folder) as fake`: a fake of the service that ends with the block.

    impersonate: HTTPS under the service's own host names; `variables` then lead a client with those built in to it.
    origin is where clients find it; its result links are on another host, as the service's are. watch follows its journal.

    Raises:
        SetupError: it does not start; the message is what it said.
    """

    def __init__(self, contract: Contract, folder: Path, *, impersonate: bool = False) -> None:
        self._contract, self._folder, self._impersonate = contract, folder, impersonate
        self.origin = ""
        self.link_origin = ""
        self.variables: dict[str, str] = {}
        self.control: Control
        self.watch: Watch
        self._drains: list[threading.Thread] = []

    def __enter__(self) -> Self:
        complaint = ""
        for _ in range(_TRIES):  # somebody else may take the port between
            complaint = self._start()
            if not complaint:
                break
        else:
            raise SetupError(f"the fake does not start: {complaint}")
        bundle = self.variables.get("SSL_CERT_FILE", "")
        self.control = Control(self.origin, Wire(verify=bundle))
        self.watch = Watch(self.control).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.__exit__(kind, error, trace)
        self._stop()

    def _start(self) -> str:
        """Start it; answers its complaint when it does not come up."""
        command = [sys.executable, "-m", "kling_mock"]
        options = ["--contract", str(self._small()), "--journal", str(_ENTRIES), "--images", "offline"]
        if self._impersonate:
            words = [*command, "exec", *options, "--impersonate", "--", sys.executable, "-c", _WAITER]
        else:
            port = free_port()
            self.link_origin = f"http://localhost:{port}"
            place = ["--port", str(port), "--public-url", self.link_origin, "--stop-with-stdin"]
            words = [*command, "serve", *options, *place]
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        giving_up = threading.Timer(_PATIENCE, self._process.kill)
        giving_up.start()
        try:
            up = self._listen()
        finally:
            giving_up.cancel()
        if up:
            for stream in (self._process.stdout, self._process.stderr):
                self._drains.append(threading.Thread(target=_drain, args=(stream,), daemon=True))
                self._drains[-1].start()
            return ""
        assert self._process.stderr is not None
        said = " ".join(self._process.stderr.read().split())[-500:]
        self._stop()
        return said or "it said nothing"

    def _listen(self) -> bool:
        """Read what it says until it is ready; whether it is."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ENV "):
                self.variables = _news(json.loads(line[4:]))
                self.origin = self.link_origin = self.variables["KLING_BASE_URL"]
                return True
            found = _LISTENING.search(line)
            self.origin = found[1] if found else self.origin
            if _READY in line and not self._impersonate:
                return bool(self.origin)
        return False

    def _stop(self) -> None:
        process = self._process
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for drain in self._drains:
            drain.join(timeout=2)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def _small(self) -> Path:
        """The contract with smaller videos, written where the fake finds it."""
        document: Any = copy.deepcopy(json.loads(json.dumps(self._contract.document)))
        for tier in document["components"]["schemas"]["Quality"]["oneOf"]:
            tier["x-short-side"] = _SHORT_SIDE
        path = self._folder / "contract.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return path


def _news(found: Mapping[str, str]) -> dict[str, str]:
    """What `exec` added to the environment."""
    return {name: value for name, value in found.items() if os.environ.get(name) != value}


def _drain(stream: IO[str] | None) -> None:
    """Read what the fake says, so that it never waits for a full pipe."""
    with suppress(ValueError, OSError):
        for _ in stream or ():
            pass
