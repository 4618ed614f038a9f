"""The reference client, judged in this process: `kling-contract client --in-process examples/in_process_client.py:generate`.

This is all that an adapter takes: requests go through `around.send`, waits through `around.sleep`, and what the client says at
the end is returned. Hundreds of drawn stories then run in seconds.
"""

import io
from random import Random
from typing import Any

import requests

from kling_client import Client, FunctionTransport, KlingError, PollPolicy, Receiver, Reply


class _Broken(io.BytesIO):
    """A body that ends in the middle."""

    def read1(self, size: int | None = -1) -> bytes:
        """What there is, then the cut."""
        data = super().read1(size)
        if not data:
            raise ConnectionResetError("cut")
        return data

    read = read1


def _transport(around: Any) -> FunctionTransport:
    """Requests of the client to the server of the story."""

    def handle(asked: requests.PreparedRequest) -> Reply:
        body = asked.body.encode() if isinstance(asked.body, str) else asked.body
        try:
            answer = around.send(str(asked.method), str(asked.url), dict(asked.headers), body, timeout=20.0)
        except TimeoutError as error:
            raise requests.exceptions.ReadTimeout(str(error)) from None
        except ConnectionError as error:
            raise requests.exceptions.ConnectionError(str(error)) from None
        return Reply(answer.status, answer.headers, answer.body if answer.whole else _Broken(answer.body))

    return FunctionTransport(handle)


def _hears(receiver: Receiver) -> Any:
    """Callbacks of the story to the receiver, which is a WSGI application."""

    def hear(method: str, headers: dict[str, str], body: bytes) -> int:
        told: list[str] = []
        environ = {
            "REQUEST_METHOD": method, "PATH_INFO": "/callback/7f3a", "QUERY_STRING": "", "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": headers.get("Content-Length", "0"), "CONTENT_TYPE": headers.get("Content-Type", ""),
        }  # fmt: skip
        list(receiver(environ, lambda status, _headers: told.append(status)))  # type: ignore[arg-type]
        return int(told[0].split()[0])

    return hear


def generate(around: Any) -> dict[str, Any]:
    """One request of the user, callbacks included."""
    receiver = Receiver(path="/callback/7f3a", sleep=around.sleep)
    around.listen(_hears(receiver))
    client = Client(
        around.api_key, around.base_url, transport=_transport(around), clock=around.clock, sleep=around.sleep, wall=around.wall,
        dice=Random(7), poll=PollPolicy(min_poll=around.min_poll, deadline=around.deadline),
    )  # fmt: skip
    try:
        video = client.generate(
            around.request["image_start"], around.out, receiver=receiver, callback_url=around.callback_url
        )
    except KlingError as error:
        return {"outcome": error.outcome, "error": {**error.facts(), "message": str(error)}}
    finally:
        receiver.close()
    return {"outcome": "completed", "task_id": video.task.id, "effects": len(video.paths)}
