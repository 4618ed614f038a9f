"""Where callbacks pass on their way to the receiver: one listener for each place that a relay names."""

import select
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from kling_contract.mutants.messages import CallbackPost, ReceiverResponse
from kling_contract.serving import Incoming, Listener

_PATIENCE = 60.0
_BLOCK = 65536
SendCallback = Callable[[CallbackPost, Callable[[CallbackPost], ReceiverResponse]], ReceiverResponse]


class Relay:
    """Listens in the receiver's stead; *tell* decides what becomes of each attempt."""

    def __init__(self, place: str, tell: SendCallback) -> None:
        self._place, self._tell = place, tell
        self._listener = Listener(self._serve)
        self._listener.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._listener.origin

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _serve(self, request: Incoming) -> None:
        telling = CallbackPost(request.command, request.path, request.pairs, request.body())
        reply = self._tell(telling, lambda each: post(self._place, each, request.connection))
        if reply.raw:
            request.write(reply.raw)


def post(place: str, telling: CallbackPost, sender: socket.socket | None = None) -> ReceiverResponse:
    """Hand one attempt to *place* as it stands, and give back whatever came, unless *sender* hangs up before."""
    parts = urlsplit(place)
    lines = [f"{telling.method} {telling.target} HTTP/1.1", *(f"{name}: {value}" for name, value in telling.headers)]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_PATIENCE) as receiver:
            receiver.sendall(head + telling.body)
            return ReceiverResponse(_read(receiver, sender))
    except OSError:
        return ReceiverResponse()


def _read(receiver: socket.socket, sender: socket.socket | None) -> bytes:
    kept = b""
    while True:
        watched = [receiver] if sender is None else [receiver, sender]
        ready, _, _ = select.select(watched, [], [], _PATIENCE)
        if receiver not in ready:
            return kept  # the sender has gone, or nobody says anything any more
        block = receiver.recv(_BLOCK)
        if not block:
            return kept
        kept += block
