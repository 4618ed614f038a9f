"""The fake without a server of its own: Flask's test client, the standard library's WSGI server, and the page about it."""

import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import requests

from kling_common.transport import Outcome
from kling_mock.app import create_app

PAGE = Path(__file__).parents[2] / "docs" / "in-process.md"
WANTED = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x360.png", "duration": 3}
KEY = {"Authorization": "Bearer sk-test"}


def test_the_pages_example_runs() -> None:
    """The first block of docs/in-process.md is a program."""
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    exec(compile(block[1], str(PAGE), "exec"), {})


def test_the_page_names_every_fixtures_members() -> None:
    """What the table lists is there, and what is there is listed."""
    from kling_mock.testing.fixtures import KlingMock, ManualClock
    from kling_mock.testing.receiver import HttpsReceiver

    for row, kind, unlisted in (
        ("kling_mock", KlingMock, set()),
        ("kling_clock", ManualClock, set()),
        ("kling_receiver", HttpsReceiver, {"receive", "origin"}),
    ):
        line = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{row}`"))
        listed = {name for name in re.findall(r"`(\w+)", line) if name != row} - {
            "callback_url",
            "api_key",
            "calls",
            "url",
        }
        public = {name for name in vars(kind) if not name.startswith("_")} - unlisted - {"url"}
        assert listed == public


def test_callbacks_reach_a_sender_in_the_process() -> None:
    """With a sender of one's own an advance delivers within the process, retries included."""
    posted: list[Any] = []

    class Sender:
        def post(
            self, url: str, body: bytes, headers: Any, timeout: float, relay: str | None = None, names: Any = None
        ) -> Outcome:
            posted.append((url, json.loads(body)["status"]))
            return Outcome("status", 500, "answered 500", 0.0) if len(posted) < 3 else Outcome("2xx", 204, "", 0.0)

    app = create_app(clock="manual", callbacks="local", sender=Sender())
    client = app.test_client()
    client.post("/v1/videos/generations", json={**WANTED, "callback_url": "http://127.0.0.1:9/hook"}, headers=KEY)
    client.post("/__mock/clock/advance", json={"seconds": 3600})
    assert posted == [("http://127.0.0.1:9/hook", "completed")] * 3


def test_a_plain_wsgi_server_serves_it() -> None:
    """wsgiref, with the standard library's validator in between: create, advance, query, download."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with make_server("127.0.0.1", 0, None, handler_class=Quiet) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        server.set_app(validator(create_app(clock="manual", public_url=url)))
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.headers.update(KEY)
                task = session.post(f"{url}/v1/videos/generations", json=WANTED, timeout=60).json()
                assert session.post(f"{url}/__mock/clock/advance", json={"seconds": 3600}, timeout=60).ok
                link = session.get(f"{url}/v1/tasks/{task['id']}", timeout=60).json()["results"][0]
                assert urlsplit(link).netloc == urlsplit(url).netloc
                assert session.get(link, timeout=60).content[4:8] == b"ftyp"
        finally:
            server.shutdown()
            serving.join()
