"""One account in one case: sends requests past the guard and writes each into the history."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kling_common.bodies import json_or_none
from kling_common.members import member
from kling_contract.driving.clocks import AccountClock
from kling_contract.driving.control import Control
from kling_contract.driving.guard import SAFE, Guard, Stopped
from kling_contract.driving.sender import About, Limits, RawResponse, Sender
from kling_contract.driving.target import Target
from kling_contract.history.events import Balance, Download, Exchange, Moment, Note, Recorder
from kling_contract.history.labels import Expect, Probe, Topic, When
from kling_contract.reading.contract import Contract
from kling_contract.reading.ledger import balance_of
from kling_contract.reading.video import decode
from kling_contract.reading.view import links_of

USER_AGENT = "kling-contract"
DOWNLOAD_CAP = 512 * 1024 * 1024
"""Bytes of a video that are read: several times any that the longest task can have."""
MOST_LOST = 8
"""Calls in a row without an answer after which the target counts as gone."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A response as a driver looks at it: `body` is its JSON, None when it is not JSON."""

    reply: RawResponse
    event: Exchange
    body: Any = None

    @property
    def status(self) -> int:
        """The HTTP status; 0 when the answer was lost."""
        return self.reply.status or 0

    @property
    def accepted(self) -> bool:
        """Whether it was answered with a 2xx."""
        return 200 <= self.status < 300

    @property
    def task_id(self) -> str:
        """The id of the task in it; empty where there is none."""
        found = member(self.body, "id")
        return found if isinstance(found, str) else ""

    @property
    def state(self) -> str:
        """The status of the task in it."""
        found = member(self.body, "status")
        return found if isinstance(found, str) else ""

    @property
    def links(self) -> list[str]:
        """The result links in it."""
        return links_of(self.body)


@dataclass(slots=True)
class Pulse:
    """Counts lost calls in a row, over all sessions of a run."""

    lost: int = 0
    answered: int = 0

    @property
    def gone(self) -> bool:
        """Whether the target counts as gone."""
        return self.lost >= MOST_LOST

    def beat(self, reply: RawResponse) -> None:
        """Take note of one call.

        Raises:
            Stopped: the target is gone.
        """
        if reply.status is not None:
            self.lost, self.answered = 0, self.answered + 1
            return
        self.lost += 1
        if self.gone:
            raise Stopped(f"the target stopped answering ({reply.detail})")


@dataclass(frozen=True, slots=True)
class Line:
    """What all sessions of a run share: how and where requests are sent and recorded, and who watches the money."""

    target: Target
    contract: Contract
    recorder: Recorder
    sender: Sender
    guard: Guard
    limits: Limits = field(default_factory=Limits)
    pulse: Pulse = field(default_factory=Pulse)
    clocks: dict[str, AccountClock] = field(default_factory=dict)
    """One for each account, whichever cases use it."""


class Session:
    """One API key, the case it is used for, and the account's clock."""

    def __init__(self, line: Line, case: str, key: str) -> None:
        self.line, self.case, self.key = line, case, key
        self.who = line.recorder.mask.learn(key)
        self.control: Control | None = line.target.control.of(key) if line.target.control else None
        steered = self.control if "clock" in line.target.features else None
        if key not in line.clocks:
            line.clocks[key] = AccountClock(line.recorder, steered, who=self.who, case=case)
        self.clock = line.clocks[key]

    @property
    def contract(self) -> Contract:
        """The contract of the run."""
        return self.line.contract

    def as_key(self, key: str) -> "Session":
        """The same case with another key and its own clock."""
        return Session(self.line, self.case, key)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
        auth: str | None = "",
        probe: Probe | None = None,
    ) -> Seen:
        """One recorded request. *body* is sent as JSON, *raw* as it stands; *auth* replaces the header, None leaves it out.

        Raises:
            Stopped: the guard forbids it or what came of it, or the target is gone.
        """
        data = raw if raw is not None or body is None else orjson.dumps(body)
        sent = self._headers(auth, data, headers)
        line = self.line
        moment, mono = self.clock.moment(), line.recorder.mono()
        planned = probe is None or probe.expect not in (Expect.REFUSED, Expect.UNAUTHORIZED, Expect.NO_SUCH_TASK)
        about = About(f"{method} {path}  {_what(probe)}".rstrip(), planned)
        reply = line.sender.send(method, line.target.base + path, sent, data, line.limits, about)
        event = self._record(method, path, (sent, data, reply), (moment, mono), probe)
        line.pulse.beat(reply)
        if line.guard.silent or (line.guard.stopped and method not in SAFE):
            raise Stopped(line.guard.stopped)
        return Seen(reply, event, json_or_none(reply.body))

    def _headers(self, auth: str | None, data: bytes | None, more: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        given = {name.lower() for name, _ in more}
        sent = [("User-Agent", USER_AGENT), ("Accept", "application/json")]
        if auth is not None:
            sent.append(("Authorization", auth or f"Bearer {self.key}"))
        if data is not None and "content-type" not in given:
            sent.append(("Content-Type", "application/json"))
        return [*sent, *more]

    def _record(
        self,
        method: str,
        path: str,
        told: tuple[Sequence[tuple[str, str]], bytes | None, RawResponse],
        began: tuple[Moment, float],
        probe: Probe | None,
    ) -> Exchange:
        sent, data, reply = told
        recorder, (start, mono), end = self.line.recorder, began, self.clock.moment()
        answer = None if reply.status is None else recorder.answer(reply.status, reply.headers, reply.body)
        return recorder.add(
            Exchange(
                method=method,
                url=self.line.target.base + path,
                request=recorder.message(sent, data or b""),
                answer=answer,
                lost=reply.lost,
                at=start.at,
                since=start.since,
                mono=mono,
                ended_at=end.at,
                ended_since=end.since,
                probe=probe,
                case=self.case,
            )
        )

    # The contract's calls

    def create(
        self, body: Any, *, probe: Probe | None = None, headers: Sequence[tuple[str, str]] = (), auth: str | None = ""
    ) -> Seen:
        """`POST` a create; *body* as it stands, so that it may be wrong."""
        path = self.contract.named("createVideo").template
        return self.call("POST", path, body, probe=probe, headers=headers, auth=auth)

    def read(self, task_id: str, *, probe: Probe | None = None, auth: str | None = "") -> Seen:
        """Query a task."""
        path = self.contract.named("getTask").template.replace("{task_id}", task_id)
        return self.call("GET", path, probe=probe, auth=auth)

    def credits(self) -> float | None:
        """Read the balance; None where the target has no such call."""
        if "getCredits" not in self.line.target.optional:
            return None
        seen = self.call("GET", self.contract.named("getCredits").template)
        return balance_of(seen.body)

    def list_tasks(self) -> None:
        """Read the account's list of tasks, where there is one."""
        if "listTasks" in self.line.target.optional:
            self.call("GET", self.contract.named("listTasks").template)

    def credits_on_receipt(self, task_id: str) -> None:
        """Read the balance while a callback of *task_id* is being received; recorded as a reading, not as a call."""
        if "getCredits" not in self.line.target.optional:
            return
        url = self.line.target.base + self.contract.named("getCredits").template
        reply = self.line.sender.send("GET", url, self._headers("", None, ()), None, self.line.limits)
        left = balance_of(json_or_none(reply.body))
        if left is not None:
            kept = Balance(
                remaining=left,
                when=When.ON_RECEIPT,
                task_id=task_id,
                who=self.who,
                case=self.case,
                at=self.clock.moment().at,
            )
            self.line.recorder.add(kept)

    def download(self, url: str, *, asked_range: str = "", look: bool = False) -> Download:
        """Fetch a link without a key; *look* has a decoder open it."""
        line, recorder = self.line, self.line.recorder
        headers = [("User-Agent", USER_AGENT), *([("Range", asked_range)] if asked_range else [])]
        start, mono = self.clock.moment(), recorder.mono()
        reply = line.sender.send("GET", url, headers, None, Limits(line.limits.seconds * 4, DOWNLOAD_CAP))
        whole = reply.status == 200 and not reply.lost
        mime = next((value for name, value in reply.headers if name.lower() == "content-type"), "")
        video = decode(reply.body) if look and whole and mime.startswith("video/") else None
        kept, end = recorder.answer(reply.status or 0, reply.headers, reply.body), self.clock.moment()
        return recorder.add(
            Download(
                url=url, asked_range=asked_range, status=reply.status, headers=kept.headers, size=len(reply.body),
                sha256=kept.body.sha256, lost=reply.lost, at=start.at, since=start.since, mono=mono,
                ended_at=end.at, ended_since=end.since, video=video, case=self.case,
            )
        )  # fmt: skip

    def fetch(self, shown: Seen, *, look: bool = False) -> None:
        """Fetch every link in a response; *look* has a decoder open them."""
        for link in shown.links:
            self.download(link, look=look)

    def note(self, topic: Topic, **data: Any) -> Note:
        """Write a note of this account."""
        return self.line.recorder.note(topic, who=self.who, case=self.case, **data)


def _what(probe: Probe | None) -> str:
    """What a probe bends, in a few words."""
    return "" if probe is None else str(probe.value or "")[:80]
