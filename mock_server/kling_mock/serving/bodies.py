"""Reads the bodies of requests from the socket: no more than the route looks at, and for no longer than a client keeps sending."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kling_mock.web.faults import cut
from kling_mock.web.http import Request

IDLE_SECONDS = 30.0
"""Real seconds that a client may send nothing of a body it has announced; then its connection is reset."""
_AT_ONCE = 1 << 20
_DROPPED_BYTES = 64 << 20
_DROPPED_SECONDS = 10.0


class Stalled(Exception):
    """The client has stopped sending, and its connection was reset."""


async def read(scope: Any, proto: Any, request: Request, most: int) -> None:
    """Read the body of *request*, where that has at most *most* bytes; `oversize` or `cut` say why it is not there otherwise.

    Raises:
        Stalled: nothing came for a while.
    """
    length = _length(request)
    if most == 0 or (length is not None and length > most):
        request.oversize = most > 0
        await _drop(scope, proto, request)
        return
    try:
        if length is not None and length <= _AT_ONCE:
            request.body = await _whole(scope, proto)
        else:
            await _pieces(scope, proto, request, most)
    except (RuntimeError, OSError):  # what the server raises for a connection that ended
        request.cut = True
    if length is not None and len(request.body) < length and not request.oversize:
        request.cut = True


async def _whole(scope: Any, proto: Any) -> bytes:
    """Return a small body. As `_patience` does it, without the context manager, which every create would pay for."""
    patience = _Patience(scope.client, IDLE_SECONDS)
    try:
        body: bytes = await proto()
    except (RuntimeError, OSError) as error:
        if patience.over:
            raise Stalled from error
        raise
    finally:
        patience.cancel()
    return body


async def _pieces(scope: Any, proto: Any, request: Request, most: int) -> None:
    chunks: list[bytes] = []
    size = 0
    with _patience(scope, IDLE_SECONDS) as patience:
        async for chunk in proto:
            patience.again()
            size += len(chunk)
            if size > most:
                request.oversize = True
                break
            chunks.append(chunk)
    if request.oversize:
        chunks.clear()
        await _drop(scope, proto, request)
    request.body = b"".join(chunks)


async def _drop(scope: Any, proto: Any, request: Request) -> None:
    """Read on for a moment and keep nothing: a client that is still sending would not see the response to what it sent."""
    if request.headers.get("expect") is not None:
        return  # it waits to be asked
    size = 0
    with suppress(RuntimeError, OSError), _patience(scope, _DROPPED_SECONDS):
        async for chunk in proto:
            size += len(chunk)
            if size > _DROPPED_BYTES:
                return


class _Patience:
    """A timer that resets a connection; `again` starts it anew. A timer costs less than a task for each read."""

    def __init__(self, client: str, seconds: float) -> None:
        self._loop, self._client, self._seconds = asyncio.get_running_loop(), client, seconds
        self.over = False
        self._timer = self._loop.call_later(seconds, self._end)

    def again(self) -> None:
        """Wait for as long as before, from now on."""
        self._timer.cancel()
        self._timer = self._loop.call_later(self._seconds, self._end)

    def cancel(self) -> None:
        """Wait no more."""
        self._timer.cancel()

    def _end(self) -> None:
        self.over = True
        cut(self._client)


@contextmanager
def _patience(scope: Any, seconds: float) -> Iterator[_Patience]:
    """Reset the connection when nothing comes for *seconds*.

    Raises:
        Stalled: in place of what the server raises then.
    """
    patience = _Patience(scope.client, seconds)
    try:
        yield patience
    except (RuntimeError, OSError) as error:
        if patience.over:
            raise Stalled from error
        raise
    finally:
        patience.cancel()


def _length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    return int(text) if text is not None and text.isdecimal() else None
