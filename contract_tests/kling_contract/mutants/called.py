"""Correct servers in this process: a WSGI application that is called, which takes a fifth of what a server and its sockets do.

The fake is loaded by the public name of its application, as others start it by its command; only what any WSGI server sees of it is used.
"""

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from kling_common.heads import BODILESS
from kling_contract.driving.sender import Headers, Limits, RawResponse, Sender, Taker
from kling_contract.rules.verdicts import SetupError

_FAKE = "kling_mock:create_app"
_ORIGIN = "http://127.0.0.1:1"
"""Where a called server says that it is: nothing listens there."""
_BARE = {"CONTENT_TYPE": "CONTENT_TYPE", "CONTENT_LENGTH": "CONTENT_LENGTH"}


class Called(Sender):
    """Sends every request to *application*, which believes to be at `url`."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        super().__init__()
        self._application = application
        self.url = _ORIGIN

    def stream(
        self, method: str, url: str, headers: Headers, body: bytes | None, limits: Limits, taker: Taker | None
    ) -> RawResponse:
        """What the application answers; nothing where it breaks."""
        started: list[Any] = []

        def start_response(status: str, given: list[tuple[str, str]], exc_info: Any = None) -> Any:
            del exc_info
            started[:] = [int(status[:3]), given]
            return started.append

        try:
            blocks = self._application(_environ(method, url, headers, body), start_response)
            try:
                content = b"".join(blocks)
            finally:
                getattr(blocks, "close", lambda: None)()
        except (OSError, ValueError) as error:
            return RawResponse(lost="cut", detail=f"the connection broke: {error}")
        status, given = started
        return _arrived(status, given, b"" if method == "HEAD" or status in BODILESS else content, limits, taker)


def _arrived(status: int, headers: Headers, body: bytes, limits: Limits, taker: Taker | None) -> RawResponse:
    named = tuple((name.lower(), value) for name, value in headers)
    if taker is not None:
        taker.head(status, named)
        taker.block(body)
        return RawResponse(status, named)
    if len(body) > limits.answer:
        detail = f"an answer of more than {limits.answer} bytes"
        return RawResponse(status, named, body[: limits.answer], "too large", detail)
    return RawResponse(status, named, body)


def _environ(method: str, url: str, headers: Headers, body: bytes | None) -> dict[str, Any]:
    """The environment of PEP 3333 for one request from this machine."""
    parts = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": unquote_to_bytes(parts.path or "/").decode("latin-1"),
        "QUERY_STRING": parts.query, "SERVER_NAME": parts.hostname, "SERVER_PORT": str(parts.port or 80),
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": parts.netloc,
        "wsgi.version": (1, 0), "wsgi.url_scheme": parts.scheme, "wsgi.input": io.BytesIO(body or b""),
        "wsgi.input_terminated": True, "wsgi.errors": sys.stderr,
        "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    for name, value in headers:
        key = name.upper().replace("-", "_")
        key = _BARE.get(key, f"HTTP_{key}")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if body is not None:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


@contextmanager
def application(**settings: Any) -> Iterator[Called]:
    """A fake in this process with *settings*, by the names of the options of `kling-mock serve`.

    Raises:
        SetupError: it cannot be made of them; one line says why.
    """
    create_app = resolve_name(_FAKE)
    try:
        made = create_app(**settings)
    except Exception as error:
        raise SetupError(f"kling-mock did not start: {' '.join(str(error).split())}") from error
    parts = made.extensions["kling-mock"]
    parts.courier.start()
    try:
        yield Called(made)
    finally:
        parts.courier.stop()
        parts.world.store.close()
