"""A reverse proxy that breaks a correct server: requests, answers and callbacks pass through a mutant's switches.

It listens on a free port of the loopback. Relays that the kit sets through the control protocol are led through it, so
that callbacks pass its switches too. Without a switch it changes nothing that a caller can tell.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from kling_common.heads import BODILESS
from kling_contract.driving.sender import KeptSender, Limits, RawResponse, Sender, Taker
from kling_contract.mutants.messages import CallbackPost, Memory, ReceiverResponse, Request, Response, tasks_in
from kling_contract.mutants.mutant import Switch
from kling_contract.mutants.relays import Relay, post
from kling_contract.serving import FRAMING, Headers, Incoming, Listener, Listening

_LIMITS = Limits(120.0, 512 * 1024 * 1024)
_TIMEOUT = 120.0


class Proxy(Listening):
    """`with Proxy(upstream, switches) as proxy: proxy.url`: a broken server in front of the correct one at *upstream*.

    wire: another way there than connections that are kept.
    """

    def __init__(self, upstream: str, switches: Sequence[Switch] = (), wire: Sender | None = None) -> None:
        self.upstream = upstream
        self.switches = tuple(switches)
        self.memory = Memory(self.send, post)
        self._kept = KeptSender()
        self._wire = wire or self._kept
        self._relays: dict[str, Relay] = {}
        self._listener = Listener(self._serve, timeout=_TIMEOUT)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._kept.__exit__()
        for relay in self._relays.values():
            relay.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.origin

    def _serve(self, request: Incoming) -> None:
        answer = self.answer(Request(request.command, request.path, request.pairs, request.body()))
        if answer.status:
            request.respond(answer.status, answer.headers, answer.body)

    def send(self, ask: Request) -> Response:
        """What the correct server answers."""
        headers = [pair for pair in ask.headers if pair[0].lower() not in (*FRAMING, "host")]
        body = ask.body if ask.body or ask.header("content-length") else None
        reply = self._wire.send(ask.method, self.upstream + ask.target, headers, body, _LIMITS)
        return Response(reply.status or 0, reply.headers, reply.body)

    def answer(self, ask: Request) -> Response:
        """What the broken server answers."""
        first: Request | Response = self._led_through(ask)
        for switch in self.switches:
            if switch.on_request is not None and isinstance(first, Request):
                first = switch.on_request(first, self.memory)
        answer = self._renamed(self.send(first)) if isinstance(first, Request) else first
        self._note(ask, answer)
        for switch in self.switches:
            if switch.on_response is not None:
                answer = switch.on_response(ask, answer, self.memory)
        return answer

    def tell(self, telling: CallbackPost, deliver: Any) -> ReceiverResponse:
        """What the correct server hears of one attempt: the switches stand one around the other."""
        telling = CallbackPost(telling.method, telling.target, telling.headers, telling.body)
        if telling.task:
            own = telling.body.replace(self.upstream.encode(), self.url.encode())
            telling = telling if own == telling.body else telling.becomes(orjson.loads(own))
        for switch in reversed(self.switches):
            if switch.on_callback is not None:
                deliver = _around(switch, deliver, self.memory)
        reply = deliver(telling)
        assert isinstance(reply, ReceiverResponse)
        return reply

    def _renamed(self, answer: Response) -> Response:
        """The answer with links that lead here; other bodies are left alone."""
        if answer.json is None:
            return answer
        return Response(answer.status, answer.headers, answer.body.replace(self.upstream.encode(), self.url.encode()))

    def _note(self, ask: Request, answer: Response) -> None:
        """Remember who made a task, and with what."""
        if ask.name == "createVideo":
            for task in tasks_in(ask, answer):
                known = self.memory.task(task["id"])
                known.key, known.sent = known.key or ask.key, known.sent or ask.sent

    def _led_through(self, ask: Request) -> Request:
        """A request that sets relays, set to lead through here."""
        if ask.path != "/__mock/relays" or ask.method != "PUT" or not isinstance(ask.json, dict):
            return ask
        led = {}
        with self.memory.lock:
            for origin, place in ask.json.items():
                self.memory.relays.pop((ask.key, origin), None)
                self.memory.relays[ask.key, origin] = place
                if place not in self._relays:
                    self._relays[place] = Relay(place, self.tell)
                led[origin] = self._relays[place].url
        return ask.becomes(led)


class Direct(Sender):
    """Sends what is meant for *proxy* by a call, which costs half of what a socket does, and everything else as ever.

    What only a socket shows as it is goes over one: headers, paths and lengths that are not plain.
    """

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self._proxy = proxy

    def stream(
        self, method: str, url: str, headers: Headers, body: bytes | None, limits: Limits, taker: Taker | None
    ) -> RawResponse:
        """What the proxy answers."""
        origin, target = self._proxy.url, url.removeprefix(self._proxy.url)
        if taker is not None or not url.startswith(origin) or not _PLAIN_TARGET.fullmatch(target):
            return super().stream(method, url, headers, body, limits, taker)
        if not all(map(_is_plain, headers)):
            return super().stream(method, url, headers, body, limits, taker)
        length = [] if body is None else [("Content-Length", str(len(body)))]
        request = Request(method, target, (*headers, *length), body or b"")
        try:
            answer = self._proxy.answer(request)
        except Exception:  # a server whose handler breaks closes the connection
            answer = Response(0)
        return _arrived(method, answer, limits)


_PLAIN_TARGET = re.compile(r"/(?!/)[!-\"$-~]*")
_NOT_PLAIN = frozenset({*FRAMING, "host", "expect", "te", "trailer", "upgrade"})


def _is_plain(header: tuple[str, str]) -> bool:
    """Whether a header arrives as it is sent, and says nothing of how the message travels."""
    name, value = header
    return name.lower() not in _NOT_PLAIN and value.isascii() and value.isprintable() and value == value.strip()


def _arrived(method: str, answer: Response, limits: Limits) -> RawResponse:
    """What *answer* is on the other side of a socket."""
    if not answer.status:
        detail = "the connection was closed without an answer: Remote end closed connection without response"
        return RawResponse(lost="cut", detail=detail)
    bare = answer.status in BODILESS
    headers = [(name, str(value).strip()) for name, value in answer.headers if name.lower() not in FRAMING]
    headers += [] if bare else [("Content-Length", str(len(answer.body)))]
    headers += [("Connection", "close")]
    body = b"" if bare or method == "HEAD" else answer.body
    if len(body) <= limits.answer:
        return RawResponse(answer.status, tuple(headers), body)
    detail = f"an answer of more than {limits.answer} bytes"
    return RawResponse(answer.status, tuple(headers), body[: limits.answer], "too large", detail)


def _around(switch: Switch, deliver: Any, memory: Memory) -> Any:
    assert switch.on_callback is not None
    on_callback = switch.on_callback
    return lambda telling: on_callback(telling, deliver, memory)
