"""The lab's fake: `kling-mock` in a process of its own, whose videos are small, so that a story costs no encoding."""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

from kling_common.launch import Launched, NotReady
from kling_contract.driving.control import Control, ControlFailed
from kling_contract.driving.sender import Limits, Sender
from kling_contract.lab.watch import Watch
from kling_contract.reading.addresses import origin_in
from kling_contract.reading.contract import Contract
from kling_contract.rules.verdicts import SetupError
from kling_contract.serving import free_port

IMAGE = "https://image.test/300x300.png"
"""A first frame that the fake draws itself."""
_PATIENCE = 30.0
_ENTRIES = 200_000
_TRIES = 3
_KLING_MOCK = (sys.executable, "-m", "kling_mock")
SERVE = (*_KLING_MOCK, "serve", "--ready-json", "--stop-with-stdin", "--quiet")
"""The command of a fake that says in JSON when it is ready, and ends with its parent."""
# A child of `kling-mock exec` that says what it finds in its environment and stays until its input ends.
_WAITER = """
import json, os, sys
print(json.dumps({"url": os.environ["KLING_BASE_URL"], "environment": dict(os.environ)}), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A fake that runs already, at *url*; token: what it asks of control calls from other machines."""

    url: str
    token: str = ""


class Fake:
    """`with Fake(contract, folder) as fake`: a fake of the service that ends with the block.

    impersonate: HTTPS under the service's own host names; `variables` then lead a client with those built in to it.
    running: one that is there already is used in its place, and outlives the block; nothing that it saw before is looked at.
    origin is where clients find it; its result links are on another host, as the service's are. watch follows its journal
    from entry `since` on.

    Raises:
        SetupError: it does not start, or cannot be used; the message says why.
    """

    def __init__(
        self, contract: Contract, folder: Path, *, impersonate: bool = False, running: Running | None = None
    ) -> None:
        self._contract, self._folder, self.impersonate = contract, folder, impersonate
        self._running = running
        self.origin = ""
        self.link_origin = ""
        self.since = 0
        self.variables: dict[str, str] = {}
        self.control: Control
        self.watch: Watch
        self._process: Launched | None = None

    def __enter__(self) -> Self:
        if self._running is not None:
            self._find(self._running)
            self.watch = Watch(self.control, self.since).__enter__()
            return self
        complaint = ""
        for _ in range(_TRIES):  # somebody else may take the port between
            complaint = self._start()
            if not complaint:
                break
        else:
            raise SetupError(f"the fake does not start: {complaint}")
        bundle = self.variables.get("SSL_CERT_FILE", "")
        self.control = Control(self.origin, Sender(verify=bundle))
        self.watch = Watch(self.control).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.watch.__exit__(*error)
        if self._process is not None:
            self._process.__exit__(*error)

    def _find(self, running: Running) -> None:
        """Get to know a fake that runs already, with a task of an account of its own."""
        self.origin = running.url
        self.control = Control(running.url, Sender(), token=running.token)
        key = f"sk-lab-{secrets.token_hex(12)}"
        own = self.control.of(key)
        try:
            if (mode := own.call("GET", "/clock")["mode"]) != "real":
                raise SetupError(f"--fake {running.url}: its clock is {mode}; the lab needs one with --clock real")
            own.story("instant")
            self.link_origin = self._links_of(key)
            own.reset()
            for page in self.control.journal_pages():
                self.since = page["next"]
        except ControlFailed as error:
            raise SetupError(f"--fake {running.url}: it cannot be controlled: {error}") from error

    def _links_of(self, key: str) -> str:
        """Return scheme, host and port of the result links of a task that the lab makes.

        Raises:
            SetupError: there is none.
        """
        headers = [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")]
        create, query = self._contract.named("createVideo"), self._contract.named("getTask")
        body = json.dumps({"model": self._contract.model, "image_start": IMAGE}).encode()
        made = Sender().send("POST", self.origin + create.template, headers, body, Limits())
        if made.status != 200:
            raise SetupError(f"--fake {self.origin}: it does not make the lab's task: {made.status or made.detail}")
        url = self.origin + query.template.replace("{task_id}", str(json.loads(made.body)["id"]))
        shown = Sender().send("GET", url, headers[:1], None, Limits())
        links = json.loads(shown.body).get("results") if shown.status == 200 else None
        if not links:
            raise SetupError(f"--fake {self.origin}: its scenario `instant` gives no link; is it another version?")
        return origin_in(str(links[0]))

    def _start(self) -> str:
        """Start it; return its complaint when it does not come up."""
        options = ["--contract", str(self._contract.source or self._written()), "--videos", "tiny"]
        options += ["--journal", str(_ENTRIES), "--images", "offline"]
        if self.impersonate:
            command = [*_KLING_MOCK, "exec", *options, "--impersonate", "--", sys.executable, "-c", _WAITER]
        else:
            port = free_port()
            command = [*SERVE, *options, "--port", str(port), "--public-url", f"http://localhost:{port}"]
        self._process = Launched(command, patience=_PATIENCE)
        try:
            ready = self._process.__enter__().ready
        except NotReady as error:
            return " ".join(str(error).split())[-500:] or "it said nothing"
        self.variables = _news(ready.get("environment", {}))
        self.origin = ready["url"]
        public = self._contract.document["x-assumptions"]["link_origin"]["schema"]["default"]
        self.link_origin = public if self.impersonate else f"http://localhost:{port}"
        return ""

    def reached(self, link: str) -> str:
        """Return where the lab itself reaches *link*, whose host name may be one that only clients are led to."""
        return self.origin + link.removeprefix(self.link_origin)

    def _written(self) -> Path:
        """The contract, written where the fake finds it."""
        path = self._folder / "contract.json"  # which is YAML too, and written and read in a tenth of the time
        path.write_bytes(orjson.dumps(self._contract.document, option=orjson.OPT_INDENT_2))
        return path


def _news(found: Mapping[str, str]) -> dict[str, str]:
    """What `exec` added to the environment."""
    return {name: value for name, value in found.items() if os.environ.get(name) != value}
