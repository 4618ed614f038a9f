"""First frames: drawn, fetched, taken on trust, and where a bad one shows."""

import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from PIL import Image

HOST = "https://image.test"
BAD = [
    ("299x400.png", "image_dimension_mismatch"),
    ("400x299.jpg", "image_dimension_mismatch"),
    ("751x300.png", "image_dimension_mismatch"),
    ("300x751.png", "image_dimension_mismatch"),
    ("640x480.jpg?truncated", "image_processing_error"),
    ("640x480.jpg?as=gif", "image_processing_error"),
    ("640x480.jpg?bytes=60000000", "image_processing_error"),
    ("640x480.jpg?status=404", "image_processing_error"),
    ("nonsense", "image_processing_error"),
    ("", "image_processing_error"),
]
GOOD = [
    "300x300.png",
    "750x300.png",
    "300x750.jpg",
    "1280x720.jpg",
    "640x480.png?as=jpeg",
    "640x480.jpg?bytes=400000",
    "640x480.jpeg",
]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_frame_is_taken(rig: Any, name: str) -> None:
    """Both bounds included; bytes decide what it is."""
    assert rig.create(image_start=f"{HOST}/{name}").status_code == 200


@pytest.mark.parametrize(("name", "code"), BAD)
def test_a_bad_frame_is_refused_or_fails_as_chosen(make: Callable[..., Any], name: str, code: str) -> None:
    """By default 400 at create with nothing made; on request a task that fails with the code and is not charged."""
    refusing, failing = make(), make(service_settings={"bad_image": "fail"})
    refused = refusing.create(image_start=f"{HOST}/{name}")
    assert (refused.status_code, refused.json["error"]["param"]) == (400, "image_start")
    assert not refusing.account().tasks

    accepted = failing.create(image_start=f"{HOST}/{name}")
    assert accepted.status_code == 200
    failing.advance(120)
    body = failing.shown(accepted.json["id"])
    assert (body["status"], body["error"]["code"], body["usage"]["credits_used"]) == ("failed", code, 0)
    assert body["progress"] == 0
    (create,) = [
        one for one in failing.control("GET", "/journal")["entries"] if one.get("request", {}).get("method") == "POST"
    ]
    assert create.get("image") is None, "what was looked at was not taken unseen"
    assert failing.account().credits == failing.fake.world.service_settings.starting_credits


def test_a_bad_frame_ends_its_task_when_the_queue_is_over(make: Callable[..., Any]) -> None:
    """It is looked at then, and nothing is made of it: from queued to failed at one moment."""
    rig = make(service_settings={"bad_image": "fail"})
    task_id = rig.task("completed queued=4 runs=60", image_start=f"{HOST}/299x400.png")

    seen = []
    for seconds in (3.999, 0.001, 60):
        rig.advance(seconds)
        body = rig.shown(task_id)
        seen.append((body["status"], body["progress"]))
    assert seen == [("pending", 0), ("failed", 0), ("failed", 0)]


def jpeg(width: int, height: int) -> bytes:
    """A real photograph's worth of JPEG."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


class Files(BaseHTTPRequestHandler):
    """A small file server."""

    FILES: ClassVar[dict[str, bytes]] = {
        "/photo.jpg": jpeg(800, 1422),
        "/photo": jpeg(640, 480),
        "/page.jpg": b"<html>no</html>",
    }
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """One file, one redirect, or 404."""
        self.asked.append(self.path)
        data = self.FILES.get(self.path)
        hops = {"/once": "/photo.jpg", "/twice": "/once", "/inside": "http://10.0.0.1/photo.jpg", "/loop": "/loop"}
        self.send_response(302 if self.path in hops else 200 if data else 404)
        if self.path in hops:
            self.send_header("Location", hops[self.path])
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    """The origin of a file server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/photo.jpg", 200),
        ("/photo", 200),
        ("/once", 200),
        ("/twice", 400),
        ("/loop", 400),
        ("/page.jpg", 400),
        ("/none", 400),
        ("/inside", 400),
    ],
)
def test_a_frame_is_really_fetched(rig: Any, files: str, path: str, status: int) -> None:
    """From this machine while the fake is local; one redirect is followed, none to an internal address."""
    response = rig.create(image_start=files + path)

    assert response.status_code == status
    if status == 200:
        (task,) = rig.account().tasks.values()
        assert (task.frame.width, task.frame.height) == ((640, 480) if path == "/photo" else (800, 1422))


def test_a_host_that_is_not_there_is_the_callers_fault(rig: Any, files: str) -> None:
    """Nobody listens: 400 in words, nothing made."""
    response = rig.create(image_start="http://127.0.0.1:9/photo.jpg")

    assert response.json["error"]["param"] == "image_start"
    assert not rig.account().tasks


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/a.jpg", "http://169.254.169.254/latest", "http://[fe80::1]/a.jpg", "http://0x0a000001/a.jpg"],
)
def test_no_frame_is_fetched_from_inside(rig: Any, url: str) -> None:
    """In every spelling: 400 before anything is connected to."""
    response = rig.create(image_start=url)

    assert (response.status_code, response.json["error"]["param"]) == (400, "image_start")


def test_a_fake_on_the_network_fetches_nothing_from_its_own_machine(make: Callable[..., Any], files: str) -> None:
    """Who listens on every address does not open its loopback to strangers."""
    Files.asked.clear()
    rig = make(host="0.0.0.0")

    assert rig.create(image_start=f"{files}/photo.jpg").status_code == 400
    assert not Files.asked


def test_offline_nothing_is_fetched(make: Callable[..., Any], files: str) -> None:
    """What the fake cannot draw is taken unseen, and the journal says so."""
    Files.asked.clear()
    rig = make(images="offline")
    assert rig.create(image_start=f"{files}/none").status_code == 200
    assert rig.create(image_start=f"{HOST}/640x480.png").status_code == 200
    assert rig.create(image_start=f"{HOST}/10x10.png").status_code == 400

    unseen, drawn, _ = rig.control("GET", "/journal")["entries"]
    assert (unseen["image"], drawn.get("image")) == ("unseen", None)
    assert not Files.asked


def test_an_unseen_frame_still_gives_a_video(make: Callable[..., Any]) -> None:
    """A drawn one, at the usual shape."""
    rig = make(images="offline")
    task_id = rig.task("instant", image_start="https://your-cdn.com/start-frame.jpg", duration=3)
    link = rig.shown(task_id)["results"][0]

    response = rig.call("GET", link.removeprefix("http://localhost"), key=None)
    assert (response.status_code, response.mimetype) == (200, "video/mp4")


@pytest.mark.parametrize(
    "url", ["https://image.test]/x", "https://video.test]/x", "https://[image.test/x", "https://image.test[/", "//["]
)
@pytest.mark.parametrize("images", ["fetch", "offline"])
def test_a_url_with_stray_brackets_is_refused(make: Any, url: str, images: str) -> None:
    """As a field that is wrong; the parsers of URLs raise for it wherever it is taken apart."""
    response = make(images=images).create(image_start=url)

    assert response.status_code == 400 or images == "offline"
    assert response.status_code < 500


def test_only_a_create_whose_frame_was_taken_unseen_says_so(rig: Any) -> None:
    """Neither one that a scenario answers, nor one that is made once and asked for twice."""
    rig.create(headers={"X-Mock-Scenario": "rate-limited"}, bent=True)
    for _ in range(2):
        assert rig.create(headers={"Idempotency-Key": "a-key-0123456789"}).status_code == 200

    assert [entry.get("image") for entry in rig.control("GET", "/journal")["entries"]] == [None] * 3
