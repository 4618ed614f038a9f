"""The recording proxy: the service's address for clients that can be given one, a CONNECT proxy for those that cannot.

Calls to the service go through the guard and into the history, and so does a create that a redirect led to another host; downloads
of links that the service gave are recorded as well; what else a client wants from other hosts is passed on unseen. Nothing is changed
on its way but the framing, and compression is not asked for. Downloads reach the client as they arrive.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from kling_common.authority import Authority
from kling_common.bodies import json_or_none
from kling_common.masking import header
from kling_contract.driving.guard import SAFE, Stopped
from kling_contract.driving.guarded import GuardedSender, tasks_in
from kling_contract.driving.sender import About, Limits, RawResponse, Sender
from kling_contract.history.events import Balance, Download, Exchange, Note, Recorder, wall
from kling_contract.history.labels import Topic
from kling_contract.reading.contract import Contract
from kling_contract.reading.ledger import balance_of
from kling_contract.reading.view import links_of
from kling_contract.recording.tunnels import Tunnels, carry
from kling_contract.serving import Incoming, Listener, Listening, Relay

_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "content-length", "accept-encoding",
})  # fmt: skip
_DOWNLOAD_CAP = 512 * 1024 * 1024
_BODY_CAP = 128 * 1024 * 1024
_CREATE = "createVideo"
_WITHHELD = 402
"""The service's own word for a create that the money does not cover."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the service is. base: its origin, with a path where it stands below one. hosts: names that are led there too."""

    base: str
    hosts: frozenset[str]


class RecordingProxy(Listening):
    """`with RecordingProxy(...) as proxy`: `proxy.url` is the service's address, and an HTTP proxy as well.

    sender: past the guard, for the service; plain: for downloads. seconds: for a whole exchange. case: of the events.
    """

    def __init__(
        self, upstream: Upstream, recorder: Recorder, sender: GuardedSender, plain: Sender, contract: Contract, *,
        authority: Authority | None = None, port: int = 0, seconds: float = 60.0, case: str = "",
    ) -> None:  # fmt: skip
        self.upstream, self.recorder, self.contract = upstream, recorder, contract
        self._sender, self._plain, self._seconds, self._case = sender, plain, seconds, case
        self._links: set[str] = set()
        self._lock, self._creating = threading.Lock(), threading.Lock()
        self._tunnels = Tunnels(authority or Authority(), upstream.hosts)
        self._listener = Listener(self._handle, address=("127.0.0.1", port), timeout=max(seconds, 60.0))
        self.calls = 0
        self.passed: dict[str, int] = {}
        """Hosts that the client was led to unseen, and how often."""

    @property
    def url(self) -> str:
        """Its address."""
        return self.origin

    @property
    def variables(self) -> dict[str, str]:
        """Variables that lead a client here, whether it reads an address or a proxy, and make it trust what it meets."""
        proxies = {name: self.url for lower in ("http_proxy", "https_proxy") for name in (lower, lower.upper())}
        unset = {"no_proxy": "", "NO_PROXY": ""}
        return {
            "KLING_BASE_URL": self.url,
            "EVOLINK_BASE_URL": self.url,
            **proxies,
            **unset,
            **self._tunnels.variables(),
        }

    def remarks(self) -> list[str]:
        """What the user has to know of the money, and of hosts that were passed on unseen."""
        guard = self._sender.guard
        lines = [] if guard.free else [*(f"not sent: {line}" for line in guard.withheld), guard.bill()]
        if guard.stopped:
            lines.append(guard.stopped)
        others = ", ".join(f"{host} ({count})" for host, count in sorted(self.passed.items()))
        return [*lines, *([f"passed on unseen, to hosts that are not the service's: {others}"] if others else [])]

    def _handle(self, request: Incoming) -> None:
        if request.command == "CONNECT":
            self._connect(request)
        elif "://" in request.path:
            self._absolute(request, request.path)
        else:
            self._exchange(request, self.upstream.base + request.path)

    def _connect(self, request: Incoming) -> None:
        """A tunnel: opened and read where it leads to the service or to a link of its, else passed on."""
        host, _, port = request.path.rpartition(":")
        name = host.strip("[]").lower()
        ours = name in self.upstream.hosts
        read = self._tunnels.neighbour(name) or (name in self._link_hosts() and self._tunnels.signs_for(name))
        if not ours and not read:
            self._pass_on(request, name, int(port) if port.isdigit() else 443)
            return

        def inner(secured: Incoming) -> None:
            if ours:
                self._exchange(secured, self.upstream.base + secured.path)
            else:
                self._absolute(secured, f"https://{request.path.removesuffix(':443')}{secured.path}")

        self._tunnels.open(request, name, inner)

    def _absolute(self, request: Incoming, url: str) -> None:
        """A request as proxies get it: ours, a link, or some other host's."""
        parts = urlsplit(url)
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if f"{parts.scheme}://{parts.netloc}" == self.url or (parts.hostname or "") in self.upstream.hosts - _LOCAL:
            self._exchange(request, self.upstream.base + resource)
        elif url in self._links and request.command in ("GET", "HEAD"):
            self._download(request, url)
        elif self._is_call(request, url):
            self._exchange(request, url)
        else:
            self._count(parts.netloc)
            self._relay(request, url, Limits(self._seconds, _DOWNLOAD_CAP))

    def _is_call(self, request: Incoming, url: str) -> bool:
        """Whether it is a call of the service under its own address, or a create, such as one that was led to another host."""
        path = urlsplit(url).path
        if url.startswith(self.upstream.base + "/") and self.contract.routes(path):
            return True
        return request.command not in SAFE and path.endswith(self.contract.named(_CREATE).template)

    def _relay(self, request: Incoming, url: str, limits: Limits) -> tuple[RawResponse, Relay]:
        """Pass a request on, and its response as it arrives."""
        body = request.body(_BODY_CAP) or None
        headers = [*_kept(request.pairs), ("Accept-Encoding", "identity")]
        relay = Relay(request, _kept)
        reply = self._plain.stream(request.command, url, headers, body, limits, relay)
        relay.end(whole=not reply.lost)
        return reply, relay

    def _exchange(self, request: Incoming, url: str) -> None:
        """One call of the service."""
        recorder, body = self.recorder, request.body(_BODY_CAP)
        recorder.mask.learn_from(request.pairs)  # before the service may say it back
        at, mono = wall().at, recorder.mono()
        creating = self._may_create(request, url)
        with self._creating if creating else nullcontext():
            if creating:
                self._balance(request)
            reply, withheld = self._ask(request, url, body)
            if creating and not withheld:
                self._balance(request)
        answer = None if reply.status is None else recorder.answer(reply.status, reply.headers, reply.body)
        event = recorder.add(
            Exchange(
                method=request.command, url=url, request=recorder.message(request.pairs, body),
                answer=answer, lost=reply.lost, at=at, mono=mono, case=self._case,
            )
        )  # fmt: skip
        if withheld:
            recorder.add(Note(topic=Topic.WITHHELD, case=self._case, data={"reason": withheld, "exchange": event.seq}))
        self.calls += 1
        self._learn(reply)
        _give(request, reply)

    def _may_create(self, request: Incoming, url: str) -> bool:
        if request.command in SAFE or self._sender.guard.free:
            return False
        operation = self.contract.operation(request.command, urlsplit(url).path)
        return operation is None or operation.id == _CREATE

    def _ask(self, request: Incoming, url: str, body: bytes) -> tuple[RawResponse, str]:
        """What the service answers; or what the guard says in its place, and why."""
        headers = [*_kept(request.pairs), ("Accept-Encoding", "identity")]
        about = About(
            f"{request.command} {urlsplit(url).path}, the client's create number {self._sender.guard.spent.sent + 1}"
        )
        sent = body if body or request.command in ("POST", "PUT", "PATCH") else None
        try:
            reply = self._sender.send(request.command, url, headers, sent, Limits(self._seconds, _BODY_CAP), about)
        except Stopped as no:
            return self._refusal(str(no)), str(no)
        return reply, ""

    def _refusal(self, reason: str) -> RawResponse:
        """The service's 402, in its shape, that names the guard."""
        error = self.contract.errors_of(_WITHHELD)[0]
        message = f"kling-contract's guard did not send this create: {reason}"
        body = orjson.dumps({"error": {"code": error.code, "message": message, "type": error.type}})
        return RawResponse(_WITHHELD, (("Content-Type", "application/json"), ("X-Kling-Guard", "withheld")), body)

    def _balance(self, request: Incoming) -> None:
        """Read the balance with the client's own key, and let the guard hold it against what was sent."""
        if self._sender.guard.silent:
            return
        credentials = [(name, value) for name, value in request.pairs if name.lower() == "authorization"]
        url = self.upstream.base + self.contract.named("getCredits").template
        with suppress(Stopped):
            reply = self._sender.send(
                "GET", url, [*credentials, ("Accept", "application/json")], None, Limits(self._seconds)
            )
            left = balance_of(json_or_none(reply.body)) if reply.status == 200 else None
            if left is not None:
                who = self.recorder.mask.who(credentials)
                self.recorder.add(Balance(remaining=left, who=who, case=self._case))

    def _learn(self, reply: RawResponse) -> None:
        """Remember the links that an answer gives, so that their downloads are recorded."""
        if reply.status is not None and 200 <= reply.status < 300:
            found = {link for task in tasks_in(json_or_none(reply.body)) for link in links_of(dict(task))}
            with self._lock:
                self._links |= found

    def _link_hosts(self) -> set[str]:
        with self._lock:
            return {urlsplit(link).hostname or "" for link in self._links}

    def _download(self, request: Incoming, url: str) -> None:
        recorder = self.recorder
        at, mono = wall().at, recorder.mono()
        reply, relay = self._relay(request, url, Limits(self._seconds * 4, _DOWNLOAD_CAP))
        recorder.add(
            Download(
                url=url, asked_range=header(request.pairs, "range") or "", status=reply.status,
                headers=recorder.mask.headers(reply.headers), size=relay.size,
                sha256="" if reply.lost else relay.sha256, lost=reply.lost, at=at, mono=mono,
                who=recorder.mask.who(request.pairs), case=self._case,
            )
        )  # fmt: skip

    def _count(self, host: str) -> None:
        with self._lock:
            self.passed[host] = self.passed.get(host, 0) + 1

    def _pass_on(self, request: Incoming, host: str, port: int) -> None:
        """A tunnel to some other host, unread."""
        self._count(f"{host}:{port}")
        try:
            there = socket.create_connection((host, port), timeout=self._seconds)
        except OSError as error:
            request.respond(
                502,
                [("Content-Type", "text/plain")],
                f"kling-contract: {host}:{port}: {error.strerror or error}".encode(),
            )
            return
        with there:
            request.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            carry(request.connection, there)


_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def _kept(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers that travel from one end to the other."""
    return [(name, value) for name, value in headers if name.lower() not in _HOP]


def _give(request: Incoming, reply: RawResponse) -> None:
    """Give the client what came; a reply that was lost is lost for it too."""
    if reply.status is None:
        request.reset()
        return
    part = max(len(reply.body) // 2, 1) if reply.lost else 0
    request.respond(reply.status, _kept(reply.headers), reply.body, part=part)


def hosts_of(contract: Contract, upstream: str) -> frozenset[str]:
    """Names under which clients know the service: those of the contract, and the upstream's own."""
    urls = [server["url"] for server in contract.document["servers"]]
    return frozenset(host for url in (*urls, upstream) if (host := urlsplit(str(url)).hostname))


def streamed(path: Path) -> Callable[[Any], None]:
    """A sink that writes each event to *path* as it happens, so that a run that breaks off leaves what it saw.

    Raises:
        OSError: the file cannot be written.
    """
    from kling_contract.history.events import to_json

    path.write_bytes(b"")

    def sink(event: Any) -> None:
        with path.open("ab") as file:
            file.write(orjson.dumps(to_json(event), option=orjson.OPT_APPEND_NEWLINE))

    return sink
