"""Who may steer the fake: one table of callers, over every control call, and the service's routes that take any of them."""

from collections.abc import Callable
from typing import Any

import pytest

from kling_mock.config import BadSetting
from kling_mock.web import access
from kling_mock.web.access import Access
from kling_mock.web.http import Request

Headers = dict[str, str]

FAR = "192.0.2.7"
OWN: list[Headers] = [
    {},
    {"Host": "127.0.0.1:4010"},
    {"Host": "127.8.8.8"},
    {"Host": "[::1]:4010"},
    {"Host": "LOCALHOST."},
    {"Host": "app.localhost:1234"},
    {"Host": "fake.example"},
    {"Host": "Fake.Example:8443"},
    {"Host": "allowed.test"},
    {"Host": "allowed.test", "Origin": "http://allowed.test"},
    {"Host": "127.0.0.1:4010", "Origin": "http://127.0.0.1:4010", "Sec-Fetch-Site": "same-origin"},
    {"Host": "localhost", "Origin": "http://localhost:80"},
    {"Host": "localhost:4010", "Origin": "https://fake.example"},
    {"Sec-Fetch-Site": "none"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
]
FOREIGN: list[Headers] = [
    {"Host": "evil.example"},
    {"Host": "evil.example:4010"},
    {"Host": "localhost.evil.example"},
    {"Host": "evil-localhost"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "192.168.0.5:4010"},
    {"Host": "127.0.0.1@evil.example"},
    {"Host": "evil.example#localhost"},
    {"Host": "localhost/evil.example"},
    {"Host": "localhost, evil.example"},
    {"Host": "[::ffff:192.168.0.1]"},
    {"Host": "[::1"},
    {"Host": "api.evolink.ai"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:3000"},
    {"Host": "localhost:4010", "Origin": "http://localhost:4011"},
    {"Host": "localhost:4010", "Origin": "http://127.0.0.1:4010"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"Origin": "file://"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
]


@pytest.fixture(scope="module")
def rig(new_rig: Callable[..., Any]) -> Any:
    """A fake on the loopback with a public URL, an allowed host and a token."""
    return new_rig(public_url="https://fake.example", allowed_host=("allowed.test",), admin_token="right")


def status(rig: Any, headers: Headers, client: str = "127.0.0.1", path: str = "/__mock/reset") -> int:
    """What a caller gets that resets the fake, the call that hurts most."""
    response = rig.call("POST", path, key=None, headers=headers, environ_base={"REMOTE_ADDR": client})
    return int(response.status_code)


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_own_callers_get_in(rig: Any, headers: Headers) -> None:
    """Programs on this machine, with whatever content type, and the fake's own page."""
    assert status(rig, headers) == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_foreign_callers_are_refused(rig: Any, headers: Headers) -> None:
    """A rebound name, another site's page; the token does not help them, since a page may know it no more than a name."""
    assert status(rig, headers) == 403
    assert status(rig, {**headers, "X-Mock-Token": "right"}) == 403


MARKS = (
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-By", "X-Forwarded"),
    *("Forwarded", "Via", "X-Real-Ip", "X-Original-Host", "X-Original-Url", "X-Rewrite-Url", "X-Remote-User", "X-Host"),
    *("Cf-Ray", "Cf-Connecting-Ip", "Cdn-Loop", "Fastly-Client-Ip", "Fly-Client-Ip", "X-Envoy-External-Address"),
    *("X-Azure-Clientip", "X-Arr-Ssl", "X-Amzn-Trace-Id", "Tailscale-User-Login", "True-Client-Ip", "X_Forwarded_For"),
)


@pytest.mark.parametrize("name", MARKS)
def test_a_forwarding_header_needs_the_token(rig: Any, name: str) -> None:
    """The way in through a tunnel or a reverse proxy looks like the loopback."""
    for value in ("203.0.113.7", "127.0.0.1", ""):
        assert status(rig, {name: value}) == 403
        assert status(rig, {name: value, "X-Mock-Token": "wrong"}) == 403
        assert status(rig, {name: value, "X-Mock-Token": "right"}) == 200


@pytest.mark.parametrize(
    ("client", "near"),
    [
        ("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("", True), ("unix:", True), ("localhost", True),
        (FAR, False), ("::ffff:192.0.2.7", False), ("fe80::1%eth0", False), ("nonsense", False), ("@", False),
    ],
)  # fmt: skip
def test_the_peer_decides_on_the_token(rig: Any, client: str, near: bool) -> None:
    """A unix socket is this machine; what no server writes is not."""
    assert status(rig, {}, client) == (200 if near else 403)
    assert status(rig, {"X-Mock-Token": "right"}, client) == 200


def test_every_control_call_asks(rig: Any) -> None:
    """All of them, reads too: the journal is what a rebinding page would read."""
    for path, methods in rig.fake.control.protocol.paths.items():
        for method in methods:
            response = rig.call(
                method, path.replace("{", "").replace("}", ""), key=None, headers={"Host": "evil.example"}
            )
            assert response.status_code == 403, path


@pytest.mark.parametrize("headers", [*OWN, *[one for one in FOREIGN if one.get("Host", "a").isprintable()]], ids=str)
def test_the_service_takes_any_caller(rig: Any, headers: Headers) -> None:
    """Containers, names of a LAN and tunnels reach the service's own routes under whatever Host."""
    assert rig.call("GET", "/v1/credits", headers=headers).status_code == 200


def test_a_server_on_every_address_is_called_by_any_of_them(make: Callable[..., Any]) -> None:
    """Its addresses are not known; an address cannot be rebound. A name still can."""
    rig = make(host="0.0.0.0", admin_token="right")

    assert status(rig, {"Host": "192.168.0.5:4010"}) == 200
    assert status(rig, {"Host": "host.example:4010"}) == 403


def test_impersonated_names_are_its_own(make: Callable[..., Any]) -> None:
    """Where it stands in for them, and only there."""
    assert status(make(impersonate=True), {"Host": "api.evolink.ai"}) == 200


def test_a_refusal_says_what_to_do(rig: Any) -> None:
    """It names the host and the option."""
    response = rig.call("GET", "/__mock/info", key=None, headers={"Host": "mock:4010"})

    assert (
        "'mock:4010' is not a name of this fake; start it with --allowed-host NAME" in response.json["error"]["message"]
    )


@pytest.mark.parametrize(
    "wrong", [{"admin_token": ""}, {"admin_token": "  "}, {"allowed_host": ("http://x",)}, {"allowed_host": ("x:80",)}]
)
def test_what_would_open_it_is_refused(make: Callable[..., Any], wrong: Any) -> None:
    """No empty token, and a host name is a name."""
    with pytest.raises(BadSetting):
        make(**wrong)


GUARDS: dict[str, tuple[str, Any, Headers]] = {
    "host": ("_own_host", lambda self, headers: True, {"Host": "evil.example"}),
    "origin": ("_own_origin", lambda self, headers: True, {"Origin": "https://evil.example"}),
    "peer": ("_near", lambda self, request: True, {"X-Forwarded-For": FAR}),
    "token": ("_has_token", lambda self, headers: True, {"X-Forwarded-For": FAR, "X-Mock-Token": "wrong"}),
}


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_is_needed(rig: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a caller gets in that must not."""
    method, open_door, headers = GUARDS[name]
    assert status(rig, headers) == 403

    monkeypatch.setattr(Access, method, open_door)

    assert status(rig, headers) == 200


def test_no_forwarding_header_is_left_out(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is what closes the tunnel: emptied, it is open."""
    monkeypatch.setattr(access, "FORWARDED", ())

    assert status(rig, {"X-Forwarded-For": FAR}) == 200


class Pairs(list[tuple[str, str]]):
    """Headers as they came, several of one name among them."""

    def get(self, key: str) -> str | None:
        """The first of this name."""
        return next((value for name, value in self if name == key), None)

    def items(self) -> "Pairs":
        """All of them."""
        return self


@pytest.mark.parametrize("second", ["evil.example", "localhost"])
@pytest.mark.parametrize("turned", [False, True])
def test_two_hosts_are_refused(rig: Any, second: str, turned: bool) -> None:
    """Whichever comes first: a proxy in between may have gone by the other one."""
    hosts = [("host", "localhost"), ("host", second)]
    headers = Pairs(reversed(hosts) if turned else hosts)
    asked = Request("GET", "/__mock/tasks", "", headers, b"")

    assert rig.fake.control.access.refusal(asked) is not None
    assert not rig.fake.control.access.local(asked)
    assert rig.fake.control.access.refusal(Request("GET", "/", "", Pairs(hosts[:1]), b"")) is None


NAVIGATION = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        (NAVIGATION, 200),
        ({**NAVIGATION, "Sec-Fetch-Dest": "iframe"}, 403),
        ({**NAVIGATION, "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({**NAVIGATION, "Host": "evil.example"}, 403),
    ],
)
def test_another_site_may_only_open_the_page(rig: Any, headers: Headers, expected: int) -> None:
    """A link to it works, in a tab of its own; no frame, script or picture of another site gets it."""
    assert rig.app.test_client().get("/__mock/", headers={"Accept": "text/html", **headers}).status_code == expected


@pytest.mark.parametrize(
    ("accept", "expected"), [({}, (400, "application/json")), ({"Accept": "text/html"}, (403, "text/html"))]
)
def test_only_a_browser_is_refused_in_html(rig: Any, accept: Headers, expected: tuple[int, str]) -> None:
    """A program that asks for the page is told in JSON, whatever name it called the fake by."""
    response = rig.app.test_client().get("/__mock/", headers={"Host": "", **accept})

    assert (response.status_code, response.mimetype) == expected
