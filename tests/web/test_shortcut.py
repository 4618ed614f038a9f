"""The way around Flask: what a call gives is the same with it and without it, and what is not plain takes Flask."""

import io
import re
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from kling_mock.app import create_app
from kling_mock.web.faults import Faults
from kling_mock.web.http import REQUEST
from kling_mock.web.shortcut import Shortcut

KEY = {"Authorization": "Bearer sk-test"}
WANTED = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x360.png", "duration": 3}
CREATE = "/v1/videos/generations"
EVERY_RUN = re.compile(rb"[0-9a-f]{24}|\d{10}(\.\d+)?")
"""Request ids and moments."""


class Without:
    """The Flask application of a fake of its own, and whether a request got as far as that."""

    def __init__(self, **given: Any) -> None:
        self.app = create_app(clock="manual", seed=7, **given)
        shortcut = self.app.wsgi_app._app  # type: ignore[attr-defined]
        assert isinstance(shortcut, Shortcut)
        self.flask = shortcut._app
        self.asked = 0
        shortcut._app = self._counted

    def _counted(self, environ: Any, start_response: Any) -> Any:
        self.asked += 1
        return self.flask(environ, start_response)

    def calls(self, way: Any, method: str, path: str, **given: Any) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one call, without what differs from run to run."""
        body, status, headers = run_wsgi_app(way, EnvironBuilder(path, method=method, **given).get_environ())
        shown = {
            name.lower(): EVERY_RUN.sub(b"", value.encode()).decode()
            for name, value in headers
            if name.lower() not in ("x-request-id", "content-length")
        }
        assert [value for name, value in headers if name.lower() == "content-length"]
        return int(status[:3]), shown, EVERY_RUN.sub(b"", b"".join(body))


CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", CREATE, {"json": WANTED, "headers": KEY}),
    ("POST", CREATE, {"json": {**WANTED, "duration": 99}, "headers": KEY}),
    ("POST", CREATE, {"data": b"{", "headers": KEY}),
    ("POST", CREATE, {"json": WANTED}),
    ("GET", "/v1/credits", {"headers": KEY}),
    ("GET", "/v1/tasks?page=1&page_size=2", {"headers": KEY}),
    ("GET", "/v1/tasks/nonsense", {"headers": KEY}),
    ("GET", "/v1/tasks/task-unified-1-aaaaaaaa", {"headers": KEY}),
    ("POST", "/v1/tasks/batch", {"json": {"task_ids": []}, "headers": KEY}),
    ("GET", "/__mock/info", {}),
    ("GET", "/__mock/clock", {"headers": KEY}),
    ("POST", "/__mock/clock/advance", {"json": {"seconds": 5}, "headers": KEY}),
    ("POST", "/__mock/clock/advance", {"json": {"seconds": "five"}, "headers": KEY}),
    ("POST", "/__mock/clock/advance", {"data": b"", "headers": KEY}),
    ("POST", "/__mock/scenarios/next", {"json": {"name": "no such"}, "headers": KEY}),
    ("GET", "/__mock/tasks/none", {"headers": KEY}),
    ("POST", "/__mock/reset", {"headers": KEY}),
)


@pytest.mark.parametrize(("method", "path", "given"), CALLS, ids=lambda it: it if isinstance(it, str) else "")
def test_a_call_gives_the_same_without_flask(method: str, path: str, given: dict[str, Any]) -> None:
    """
    Status, headers and body, refusals too.
    """
    one, other = Without(), Without()

    assert one.calls(one.app, method, path, **given) == other.calls(other.flask, method, path, **given)
    assert one.asked == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/v1/credits"), ("PUT", "/v1/credits"), ("GET", CREATE), ("GET", "/nowhere"), ("GET", "//v1/credits"),
        ("GET", "/v1/tasks/"), ("GET", "/v1/tasks/a/b"), ("GET", "/v1/tasks/batch"), ("GET", "/v1/tasks/%C3%A9"),
        ("GET", "/__mock/nowhere"),         ("GET", "/files/a/b.mp4"), ("GET", "/api/v1/files/list"), ("GET", "/"),
    ],
)  # fmt: skip
def test_what_is_not_plain_takes_flask(method: str, path: str) -> None:
    """
    Other methods, other paths, files, and what the edge has looked at.
    """
    here = Without()

    here.calls(here.app, method, path, headers=KEY)

    assert here.asked == 1


def test_a_body_without_a_length_takes_flask() -> None:
    """
    Chunks are Flask's to read, and so is a length that is no number.
    """
    here = Without()
    for more in ({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}, {"CONTENT_LENGTH": "many"}):
        environ = EnvironBuilder(CREATE, method="POST", json=WANTED, headers=KEY).get_environ() | more
        run_wsgi_app(here.app, environ)

    assert here.asked == 2


def test_what_the_edge_left_takes_flask() -> None:
    """
    The edge has looked for a call itself, and hands on only what is none.
    """
    here = Without()
    environ = EnvironBuilder("/v1/credits", headers=KEY).get_environ()
    environ[REQUEST] = None

    run_wsgi_app(here.app, environ)

    assert here.asked == 1


def test_a_body_that_ends_early_is_refused() -> None:
    """
    As on a socket: the client hung up before all of it had come.
    """
    here = Without()
    environ = EnvironBuilder(CREATE, method="POST", headers=KEY).get_environ()
    environ |= {"CONTENT_LENGTH": "50", "wsgi.input": io.BytesIO(b'{"model"')}

    body, status, _ = run_wsgi_app(here.app, environ)

    assert status[:3] == "400"
    assert b"ended before its Content-Length" in b"".join(body)


def test_a_call_that_breaks_is_a_500_with_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What fails in a control call is logged once, and answered as the service answers.
    """
    here = Without()
    fake = here.app.extensions["kling-mock"]

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("by way of trial")

    monkeypatch.setattr(fake.control, "call", broken)
    status, headers, body = here.calls(here.app, "GET", "/__mock/info")

    assert status == 500
    assert headers["content-type"] == "application/json"
    assert b"the fake failed" in body


def test_faults_act_without_flask() -> None:
    """
    A cut that a scenario asks for is a broken connection here too.
    """
    here = Without(scenario="connection-cut")
    assert isinstance(here.app.wsgi_app, Faults)

    with pytest.raises(ConnectionResetError):
        here.calls(here.app, "POST", CREATE, json=WANTED, headers=KEY)
    assert here.asked == 0
