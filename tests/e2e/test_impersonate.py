"""`--impersonate`: clients with the service's names built in, unmodified, and nothing else within reach."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from kling_common.authority import Authority
from kling_mock.serving.process import Running

FIXTURES = Path(__file__).parent / "fixtures"
ELSEWHERE = "https://example.com/v1/videos/generations"

pytestmark = pytest.mark.e2e

CLIENTS = {
    "fetch": ["node", "built_in_fetch.mjs"],
    "node:https": ["node", "built_in_https.cjs"],
    "requests": [sys.executable, "built_in_requests.py"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this module's certificate authority."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def fake(home: Path) -> Iterator[Running]:
    """A fake that stands in for the service; an hour a second."""
    with Running(["--impersonate", "--clock", "x3600"], home=home) as running:
        yield running


@pytest.fixture
def ask(fake: Running) -> Callable[..., bytes]:
    """Say something to the proxy over a plain socket; all that it answers."""

    def ask(said: bytes, *, end: bool = True) -> bytes:
        assert fake.proxy is not None
        host, _, port = fake.proxy.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(said)
            if end:
                client.shutdown(socket.SHUT_WR)
            answer = b""
            while data := client.recv(65536):
                answer += data
            return answer

    return ask


def journal(fake: Running, home: Path) -> list[dict[str, object]]:
    """What the fake wrote down as refused."""
    answer = requests.get(f"{fake.url}/__mock/journal", verify=Authority(home).ca_file, timeout=60).json()
    return [entry for entry in answer["entries"] if entry["kind"] == "refused"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_with_built_in_hosts_runs_untouched_and_reaches_nothing_else(
    client: str, home: Path, tmp_path: Path
) -> None:
    """It creates, polls and downloads by the real URL; a call to any other host is refused here, and written down."""
    program, script = CLIENTS[client]
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")
    har = tmp_path / "journal.json"
    # The shell asks for the journal before the fake stops; --noproxy because curl would ask the proxy for the loopback, too.
    command = (
        f'"{program}" "{FIXTURES / script}" {ELSEWHERE} && "{sys.executable}" -m kling_mock journal --json > "{har}"'
    )
    done = subprocess.run(
        [sys.executable, "-m", "kling_mock", "exec", "--impersonate", "--clock", "x3600", "--", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "KLING_MOCK_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["status"], said["mp4"]) == ("completed", "ftyp")
    assert "kling-mock" in said["elsewhere"]
    entries = json.loads(har.read_text())["entries"]
    refused = [(one["request"]["method"], one["request"]["url"]) for one in entries if one["kind"] == "refused"]
    assert refused == [("CONNECT", "https://example.com:443")]
    assert {"exchange", "download"} <= {one["kind"] for one in entries}


def test_the_proxy_knows_the_names_in_every_spelling(fake: Running, home: Path) -> None:
    """Case and a dot at the end do not matter; the tunnel ends at the fake, with a certificate for the name."""
    assert fake.proxy is not None
    host, _, port = fake.proxy.rpartition(":")
    context = ssl.create_default_context(cafile=Authority(home).ca_file)
    for name in ("api.evolink.ai", "API.EvoLink.AI", "api.evolink.ai.", "files-api.evolink.ai"):
        with socket.create_connection((host, int(port)), timeout=60) as plain:
            plain.sendall(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
            assert plain.recv(4096).startswith(b"HTTP/1.1 200")
            with context.wrap_socket(plain, server_hostname=name.rstrip(".")) as client:
                client.sendall(b"GET /__mock/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert b'{"status":"ok"}' in b"".join(iter(lambda: client.recv(4096), b""))


@pytest.mark.parametrize(
    "target",
    [
        "example.com:443",
        "api.evolink.ai:80",
        "api.evolink.ai",
        "api.evolink.ai:443x",
        "api.evolink.ai.evil.example:443",
        "api.evolink.ai:443@example.com:443",
        "xn--api-evolink-ai:443",
        "127.0.0.1:22",
        "[::1]:22",
        ":443",
        "%61pi.evolink.ai:443",
        "169.254.169.254:80",
    ],
)
def test_every_other_tunnel_is_refused(target: str, ask: Callable[..., bytes]) -> None:
    """403, and one line that says what may be asked for, in the status line too, where most clients look."""
    answer = ask(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Refused by kling-mock: it stands in for api.evolink.ai:443")
    assert body.count(b"\n") == 1
    assert target.rpartition("@")[2].encode() in body


def test_plain_requests_are_refused_and_written_down_without_secrets(
    ask: Callable[..., bytes], fake: Running, home: Path
) -> None:
    """http through the proxy is refused, even to the service's names; query and password stay out of the journal."""
    for url in ("http://api.evolink.ai/v1/tasks/x", "http://me:pass@example.com/a?key=secret", "ftp://example.com/"):
        answer = ask(f"POST {url} HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789".encode())
        assert answer.startswith(b"HTTP/1.1 403"), url
    kept = json.dumps(journal(fake, home))
    assert "http://example.com/a" in kept
    assert "secret" not in kept
    assert "me:pass" not in kept


def test_an_https_url_in_a_plain_request_is_carried_on(ask: Callable[..., bytes]) -> None:
    """axios before 1.13 asks a proxy this way in place of a tunnel; it works for the service's names only, one request a connection."""
    head = "Connection: keep-alive\r\nProxy-Connection: keep-alive\r\nAuthorization: Bearer sk-x\r\n\r\n"
    answer = ask(
        f"GET https://api.evolink.ai/v1/credits?x=1 HTTP/1.1\r\nHost: api.evolink.ai\r\n{head}".encode(), end=False
    )
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404")), answer
    assert b"connection: close" in answer.lower()
    assert ask(f"GET https://example.com/ HTTP/1.1\r\n{head}".encode()).startswith(b"HTTP/1.1 403")
    assert ask(f"GET https://api.evolink.ai:8443/ HTTP/1.1\r\n{head}".encode()).startswith(b"HTTP/1.1 403")


def test_a_client_that_closes_its_side_behind_a_plain_request_gets_the_response(ask: Callable[..., bytes]) -> None:
    """The fake's side of such a call is TLS, which has no half to close."""
    body = b'{"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x480.png"}'
    head = f"Host: api.evolink.ai\r\nAuthorization: Bearer sk-half\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    made = ask(b"POST https://api.evolink.ai/v1/videos/generations HTTP/1.1\r\n" + head + body, end=True)
    assert made.startswith(b"HTTP/1.1 200"), made
    name = json.loads(made.partition(b"\r\n\r\n")[2])["id"].encode()
    head = b"Host: api.evolink.ai\r\nAuthorization: Bearer sk-half\r\n\r\n"
    shown = ask(b"GET https://api.evolink.ai/v1/tasks/" + name + b" HTTP/1.1\r\n" + head, end=True)
    assert shown.startswith(b"HTTP/1.1 200"), shown
    assert json.loads(shown.partition(b"\r\n\r\n")[2])["id"].encode() == name


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"CONNECT\r\n\r\n", b"400"),
        (b"CONNECT api.evolink.ai:" + b"4" * 5000 + b" HTTP/1.1\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\n\r\n", b"403"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"CONNECT x:443 HTTP/1.1\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", b"431"),
    ],
)
def test_what_is_no_proxy_request_is_answered(said: bytes, status: bytes, ask: Callable[..., bytes]) -> None:
    """Rubbish and endless heads get an answer, too."""
    assert ask(said, end=False).split(b" ")[1] == status


def test_a_client_that_says_half_and_leaves_costs_nothing(ask: Callable[..., bytes], fake: Running) -> None:
    """Half a head and then the end: the proxy hangs up and goes on."""
    assert ask(b"CONNECT api.evol") == b""
    assert ask(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403")


def test_a_cut_connection_is_cut_through_the_tunnel(fake: Running, home: Path) -> None:
    """A scenario that breaks the connection breaks it for the client behind the proxy, too."""
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"https": f"http://{fake.proxy}"}
    session.verify = str(Authority(home).bundle_file)
    session.headers.update({"Authorization": "Bearer sk-cut", "X-Mock-Scenario": "lost-reply"})
    wanted = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.png"}
    with pytest.raises(requests.ConnectionError, match=r"Connection aborted|Remote end closed|reset by peer"):
        session.post("https://api.evolink.ai/v1/videos/generations", json=wanted, timeout=60)


def test_what_the_environment_had_is_kept_or_overruled(fake: Running) -> None:
    """NODE_OPTIONS and PYTHONPATH are added to; a NO_PROXY that would let the service's names out is not kept."""
    given = {"NODE_OPTIONS": "--no-warnings", "PYTHONPATH": "mine", "NO_PROXY": "evolink.ai"}
    found = fake.variables("sk-x", given)
    assert found["NODE_OPTIONS"].startswith("--no-warnings --require ")
    assert found["PYTHONPATH"].split(os.pathsep)[-1] == "mine"
    assert found["NO_PROXY"] == found["no_proxy"] == "localhost,127.0.0.1,::1"
    assert found["KLING_BASE_URL"] == fake.url
    assert found["HTTP_PROXY"] == found["https_proxy"] == found["ALL_PROXY"] == f"http://{fake.proxy}"


def test_python_code_that_ignores_proxies_is_led_or_refused(home: Path) -> None:
    """A plain socket to the service's name ends at the fake; to any other name or address it never leaves."""
    script = """
import os, socket, ssl
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
with socket.create_connection(("api.evolink.ai", 443), 10) as plain, \\
        context.wrap_socket(plain, server_hostname="api.evolink.ai") as client:
    print(client.getpeername()[0])
for attempt in (lambda: socket.create_connection(("example.com", 443), 10),
                lambda: socket.socket().connect(("93.184.216.34", 443)),
                lambda: socket.create_connection(("api.evolink.ai", 80), 10)):
    try:
        attempt()
        print("reached")
    except OSError as error:
        print("refused" if "kling-mock refused" in str(error) else error)
"""
    done = subprocess.run(
        [sys.executable, "-m", "kling_mock", "exec", "--impersonate", "--", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "KLING_MOCK_HOME": str(home)},
    )
    assert done.stdout.split() == ["127.0.0.1", "refused", "refused", "refused"], done.stderr
