"""What the fake fetches for whom: public places for everybody, this machine's for a program on it, a private network's by name."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import pytest

from kling_common.targets import BadAddress, parse
from kling_mock.config import Settings
from kling_mock.contract import Contract
from kling_mock.media.fetching import Fetching, Hops
from kling_mock.media.images import draw, parse_drawing

INTERNAL = Contract().address.internal
FOREIGN: dict[str, dict[str, Any]] = {
    "another Host": {"headers": {"Host": "evil.example"}},
    "another Origin": {"headers": {"Origin": "https://evil.example"}},
    "another site": {"headers": {"Sec-Fetch-Site": "cross-site"}},
    "a tunnel": {"headers": {"X-Forwarded-For": "192.0.2.7"}},
    "another machine": {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
}


def picture() -> bytes:
    """A good first frame."""
    drawing = parse_drawing("/640x480.png", "")
    assert drawing is not None
    return draw(drawing).data


class Site(BaseHTTPRequestHandler):
    """A developer's own server: a picture, a secret page, a picture's first bytes, and redirects."""

    def do_GET(self) -> None:
        """One file, or a redirect to what stands behind `to=`."""
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        if self.path.startswith("/to="):
            self.send_response(302)
            self.send_header("location", self.path.removeprefix("/to="))
            self.send_header("content-length", "0")
            self.end_headers()
            return
        bodies = {
            "/photo.png": picture(),
            "/half": b"\x89PNG\r\n\x1a\nsecret",
            "/ppm": b"P3\n3 2\n255\n1 2 3\nsecret of the developer",
            "/xbm": b"#define secret_width 8\n#define secret_height 1\nstatic char secret_bits[] = {0x01};",
        }
        body = bodies.get(self.path, b"secret of the developer")
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[Any]:
    """The server; `seen` lists the paths that it was asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def upload(rig: Any, url: str, **more: Any) -> Any:
    """An upload by URL."""
    return rig.call("POST", "/api/v1/files/upload/url", json={"file_url": url}, **more)


def create(rig: Any, url: str, **more: Any) -> Any:
    """A create with the image at *url*."""
    body = {"model": "kling-v3-turbo-image-to-video", "image_start": url}
    return rig.call("POST", "/v1/videos/generations", json=body, **more)


def message(response: Any) -> str:
    """The sentence of an error: the files API has an envelope of its own."""
    return str(response.json["msg"] if "msg" in response.json else response.json["error"]["message"])


@pytest.mark.parametrize("ask", [upload, create])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "app.localhost"])
def test_a_developers_own_picture(rig: Any, site: Any, ask: Callable[..., Any], host: str, monkeypatch: Any) -> None:
    """Without a flag, for a program on this machine."""
    monkeypatch.setattr("socket.getaddrinfo", lambda host, port, **_: [(2, 1, 6, "", ("127.0.0.1", port))])

    assert ask(rig, f"http://{host}:{site.server_port}/photo.png").status_code == 200


@pytest.mark.parametrize("ask", [upload, create])
@pytest.mark.parametrize("caller", FOREIGN)
def test_for_nobody_else(rig: Any, site: Any, ask: Callable[..., Any], caller: str) -> None:
    """Not a page that rebinds a name, not through a tunnel; nothing is asked of the server, and the option is named."""
    response = ask(rig, f"http://127.0.0.1:{site.server_port}/photo.png", **FOREIGN[caller])

    assert response.status_code == 400
    assert f"--fetch-local http://127.0.0.1:{site.server_port}" in message(response)
    assert not site.seen


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"host": "0.0.0.0", "callbacks": "local"}])
def test_not_for_a_server_on_the_network(make: Callable[..., Any], site: Any, settings: Any) -> None:
    """A fake that others reach fetches nothing from its own machine; nor because callbacks may go there."""
    assert upload(make(**settings), f"http://127.0.0.1:{site.server_port}/photo.png").status_code == 400
    assert not site.seen


@pytest.mark.parametrize("caller", [*FOREIGN, None])
def test_an_origin_that_was_opened(make: Callable[..., Any], site: Any, caller: str | None) -> None:
    """By name and port, for everybody; its neighbour stays closed."""
    rig = make(host="0.0.0.0", fetch_local=(f"http://127.0.0.1:{site.server_port}",))

    more = FOREIGN[caller] if caller else {}
    assert upload(rig, f"http://127.0.0.1:{site.server_port}/photo.png", **more).status_code == 200
    assert upload(rig, f"http://localhost:{site.server_port}/photo.png", **more).status_code == 400
    assert upload(rig, f"http://127.0.0.1:{site.server_port + 1}/photo.png", **more).status_code == 400


@pytest.mark.parametrize("path", ["/", "/half", "/to=/secret", "/ppm", "/xbm"])
def test_what_is_no_picture_is_not_kept(rig: Any, site: Any, path: str) -> None:
    """It is fetched, and neither stored nor shown."""
    response = upload(rig, f"http://127.0.0.1:{site.server_port}{path}")

    assert response.status_code == 400
    assert b"secret of" not in response.data
    assert rig.call("GET", "/api/v1/files/list").json["data"]["total"] == 0


def test_a_redirect_within_this_machine(rig: Any, site: Any) -> None:
    """As a development server does it."""
    assert upload(rig, f"http://127.0.0.1:{site.server_port}/to=/photo.png").status_code == 200


def hops(near: bool = True, **settings: Any) -> Hops:
    """A judge of one fetch by a fake with these settings."""
    return Fetching(Settings(**settings), INTERNAL).hops(near)


def admitted(judge: Hops, url: str, *addresses: str) -> bool:
    """Whether a hop to *url*, which resolves to *addresses*, may be made."""
    try:
        target = judge.check(url)
        judge.admit(target, [ip_address(text) for text in addresses] or [target.ip or ip_address("8.8.8.8")])
    except BadAddress:
        return False
    return True


def test_no_redirect_from_outside_leads_in() -> None:
    """However near the caller is: the public place chose where it leads."""
    judge = hops()

    assert admitted(judge, "https://public.example/a", "8.8.8.8")
    assert not admitted(judge, "http://localhost:3000/photo.jpg", "127.0.0.1")
    assert admitted(hops(), "http://localhost:3000/photo.jpg", "127.0.0.1")


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://rebound.example/", ["127.0.0.1"]),
        ("http://localhost/", ["10.0.0.1"]),
        ("http://localhost/", ["127.0.0.1", "10.0.0.1"]),
        ("http://10.0.0.5:8000/", []),
        ("http://169.254.169.254/latest/meta-data", []),
        ("http://[2606:4700::5efe:127.0.0.1]/", []),
        ("http://0.0.0.0:4010/", []),
        ("ftp://localhost/", []),
    ],
)
def test_near_callers_reach_the_loopback_alone(url: str, addresses: list[str]) -> None:
    """Under a name that says so, and every address counts."""
    assert not admitted(hops(), url, *addresses)


def test_the_reason_names_the_option() -> None:
    """With the origin as the option takes it."""
    with pytest.raises(BadAddress) as caught:
        hops(near=False).admit(parse("http://10.0.0.5:8000/a?b", ("http",)), [ip_address("10.0.0.5")])

    assert caught.value.reason.endswith("kling-mock serve --fetch-local http://10.0.0.5:8000 would allow it")


GUARDS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "near": lambda patch: patch.setattr("kling_mock.web.access.Access.local", lambda self, request: True),
    "pictures": lambda patch: patch.setattr("kling_mock.media.frames.is_picture", lambda data: True),
    "loopback names": lambda patch: patch.setattr("kling_mock.media.fetching._is_local_name", lambda target: True),
    "loopback addresses": lambda patch: patch.setattr("kling_mock.media.fetching._is_loopback", lambda ip: True),
}


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_is_needed(rig: Any, site: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it something is fetched, or kept, that must not be."""
    base = f"http://127.0.0.1:{site.server_port}"

    def open_doors() -> list[bool]:
        return [
            upload(rig, f"{base}/photo.png", **FOREIGN["another Host"]).status_code == 200,
            upload(rig, f"{base}/half").status_code == 200,  # begins as a picture does
            admitted(hops(), "http://rebound.example/", "127.0.0.1"),
            admitted(hops(), "http://localhost/", "10.0.0.1"),
        ]

    assert not any(open_doors())
    GUARDS[name](monkeypatch)
    assert any(open_doors())
