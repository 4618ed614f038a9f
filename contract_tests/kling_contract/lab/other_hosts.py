"""Hosts that a client must not visit, one set a case: another origin, a proxy that forwards nothing, an untrusted server.

Everything that arrives is kept as an exchange of the case, so that a key that went astray is seen where it arrived.
"""

from collections.abc import Callable

from kling_contract.history.events import Exchange, Recorder
from kling_contract.serving import Incoming, Listener, Listening, certificate

_MOST = 1 << 20
_IDLE = 0.4
"""Seconds; each of many cases has such a host, so they must rarely be awake."""
_TIMEOUT = 10.0
PLAIN_HTTP = "http://kling.test"
"""A base URL that is not encrypted and not on this machine; the name cannot be registered (RFC 2606)."""
FORGED_VIDEO = "/forged-video.mp4"
_VIDEO = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\x08mdat"

Keep = Callable[[Exchange], None]


class OtherHost(Listening):
    """`with OtherHost(recorder, keep, case) as host`: listens until the block ends.

    keep: called with each exchange. tls: HTTPS, with a certificate of an unknown authority.
    """

    def __init__(self, recorder: Recorder, keep: Keep, case: str, *, tls: bool = False) -> None:
        self.recorder, self.keep, self.case = recorder, keep, case
        context = certificate(("127.0.0.1", "localhost"))[0] if tls else None
        self._listener = Listener(self.serve, tls=context, timeout=_TIMEOUT, idle=_IDLE)

    @property
    def touched(self) -> int:
        """How many connections were made, also those on which nothing was asked."""
        return self._listener.connections

    def serve(self, request: Incoming) -> None:
        """Keep what was asked, and forward nothing."""
        body = request.body(_MOST)
        mono, at = self.recorder.mono(), self.recorder.clock().at
        status, kind, content = _response(request)
        headers = [("Content-Type", kind)]
        self.keep(
            Exchange(
                method=request.command, url=self._url(request), case=self.case, mono=mono, at=at,
                request=self.recorder.message(request.pairs, body),
                answer=self.recorder.answer(status, headers, content),
            )
        )  # fmt: skip
        request.respond(status, headers, content)

    def _url(self, request: Incoming) -> str:
        """Return where the client wanted to go."""
        if request.command == "CONNECT":
            return f"https://{request.path.removesuffix(':443').removesuffix(':80')}"
        return request.path if "://" in request.path else self.origin + request.path


def _response(request: Incoming) -> tuple[int, str, bytes]:
    """Return status, content type and body."""
    if request.command == "CONNECT" or "://" in request.path:
        return 403, "text/plain", b"the lab's proxy forwards nothing"
    if request.command == "GET" and request.path.partition("?")[0] == FORGED_VIDEO:
        return 200, "video/mp4", _VIDEO
    return 404, "application/json", b'{"error": {"code": "not_found", "message": "not the service"}}'
