"""`--tls`: a local authority, made once and kept, and HTTPS that clients trust without a change."""

import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from kling_common import authority as authority_module
from kling_common.authority import Authority, NoAuthority, home
from kling_mock.config import BadSetting
from kling_mock.serving.process import Running
from kling_mock.serving.server import taken_port

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this module's certificate authority."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def fake(folder: Path) -> Iterator[Running]:
    """A fake that speaks HTTPS; an hour a second."""
    with Running(["--tls", "--clock", "x3600", "--ca-out", str(folder / "shared")], home=folder) as running:
        yield running


@pytest.fixture
def session(folder: Path) -> requests.Session:
    """A session that trusts the authority, whatever this machine's environment says."""
    made = requests.Session()
    made.trust_env = False
    made.verify = str(Authority(folder).ca_file)
    return made


def test_it_is_trusted_under_each_name_of_this_machine(fake: Running, folder: Path, session: requests.Session) -> None:
    """localhost and both loopback addresses; the bundle holds the authority beside the system's."""
    port = fake.url.rpartition(":")[2]
    for host in ("localhost", "127.0.0.1"):
        for file in (Authority(folder).ca_file, Authority(folder).bundle_file):
            session.verify = str(file)
            assert session.get(f"https://{host}:{port}/__mock/ready", timeout=60).ok
    names = ssl.create_default_context(cafile=Authority(folder).ca_file)
    with (
        socket.create_connection(("127.0.0.1", int(port)), 10) as plain,
        names.wrap_socket(plain, server_hostname="::1") as client,
    ):
        assert client.version() == "TLSv1.3"


def test_older_clients_are_served_too(fake: Running, folder: Path) -> None:
    """TLS 1.2 is enough."""
    context = ssl.create_default_context(cafile=Authority(folder).ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    port = int(fake.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        assert client.version() == "TLSv1.2"


def test_links_are_https_and_open(fake: Running, session: requests.Session) -> None:
    """A finished task's link leads to the same origin, over TLS."""
    session.headers["Authorization"] = "Bearer sk-link"
    wanted = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x360.png", "duration": 3}
    task = session.post(f"{fake.url}/v1/videos/generations", json=wanted, timeout=60).json()
    assert session.get(f"{fake.url}/__mock/wait", params={"task_id": task["id"], "until": "terminal"}, timeout=60).ok
    link = session.get(f"{fake.url}/v1/tasks/{task['id']}", timeout=60).json()["results"][0]
    assert link.startswith(f"{fake.url}/files/")
    assert session.get(link, timeout=60).content[4:8] == b"ftyp"


def test_a_cut_connection_is_cut_under_tls(fake: Running, session: requests.Session) -> None:
    """The fault finds its socket through the encryption."""
    session.headers.update({"Authorization": "Bearer sk-cut", "X-Mock-Scenario": "lost-reply"})
    wanted = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.png"}
    with pytest.raises(requests.ConnectionError, match=r"Connection aborted|Remote end closed|reset by peer"):
        session.post(f"{fake.url}/v1/videos/generations", json=wanted, timeout=60)


def test_clients_find_what_to_trust(fake: Running, folder: Path) -> None:
    """The variables name files that are there; copies stand where --ca-out says; plain HTTP needs none of it."""
    found = fake.variables("sk-x")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert Path(found[name]).read_bytes().rstrip().endswith(b"-----END CERTIFICATE-----")
    assert "HTTPS_PROXY" not in found
    for name in ("ca.pem", "bundle.pem"):
        assert (folder / "shared" / name).read_bytes() == (folder / name).read_bytes()
    assert b"PRIVATE" not in Authority(folder).bundle_file.read_bytes()


def test_keys_are_the_owners_alone_and_the_authority_stays(tmp_path: Path) -> None:
    """Key files are 0600 in a 0700 folder; a second start uses what the first made; other names get a leaf of their own."""
    first = Authority(tmp_path).certificate(["localhost"])
    ca = Authority(tmp_path).ca_file.read_bytes()
    made = first.read_bytes()
    assert Authority(tmp_path).certificate(["localhost"]) == first
    assert first.read_bytes() == made
    assert Authority(tmp_path).certificate(["fake.test"]) != first
    assert Authority(tmp_path).ca_file.read_bytes() == ca
    private = tmp_path / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in private.glob("*.pem")} == {0o600}


def test_what_is_damaged_or_old_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken key file, a lost public file and a certificate past its time are replaced, and serve again."""
    authority = Authority(tmp_path)
    leaf = authority.certificate(["localhost"])
    old, young = authority.ca_file.read_bytes(), leaf.read_bytes()
    authority.ca_file.unlink()
    leaf.write_bytes(leaf.read_bytes()[:200])
    assert authority.certificate(["localhost"]).read_bytes() != young
    assert authority.ca_file.read_bytes() == old
    now = authority_module._now()
    monkeypatch.setattr(authority_module, "_now", lambda: now + timedelta(days=70))
    renewed = authority.certificate(["localhost"]).read_bytes()
    assert authority.ca_file.read_bytes().endswith(old)  # what it signed is trusted as long as it lives
    assert authority.ca_file.read_bytes() != old
    monkeypatch.setattr(authority_module, "_now", lambda: now + timedelta(days=140))
    authority.certificate(["localhost"])
    assert old not in authority.ca_file.read_bytes()
    old = authority.ca_file.read_bytes()
    monkeypatch.undo()
    (tmp_path / "private" / "ca.pem").write_bytes(b"not a key")
    assert authority.certificate(["localhost"]).read_bytes() != renewed
    assert authority.ca_file.read_bytes() != old
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate(["localhost"]))


def test_starts_at_the_same_moment_agree(tmp_path: Path) -> None:
    """Three processes in an empty folder end up with one authority and one certificate."""
    code = (
        "import sys, pathlib; from kling_common.authority import Authority; a = Authority(pathlib.Path(sys.argv[1]));"
    )
    code += "print(hash(a.certificate(['localhost']).read_bytes()), hash(a.ca_file.read_bytes()))"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(3)
    ]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1
    assert not list(tmp_path.rglob(".*.pem.*"))


def test_the_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """KLING_MOCK_HOME first, then XDG_DATA_HOME where it is absolute, then the home's own place."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KLING_MOCK_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert home() == tmp_path / ".local" / "share" / "kling-mock"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert home() == tmp_path / "data" / "kling-mock"
    monkeypatch.setenv("KLING_MOCK_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    """A file where the folder should be stops the start and says how to go on."""
    (tmp_path / "file").touch()
    with pytest.raises(NoAuthority, match="KLING_MOCK_HOME"):
        Authority(tmp_path / "file").certificate(["localhost"])
    with (
        pytest.raises(BadSetting, match=r"--tls: .*set KLING_MOCK_HOME to another folder"),
        Running(["--tls"], home=tmp_path / "file"),
    ):
        pass


def test_a_port_is_kept_from_everybody_else() -> None:
    """A free port is nobody else's while it is held, though the server would share it."""
    with taken_port("127.0.0.1", 0) as port, taken_port("127.0.0.1", 0) as other:
        assert other != port
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(BadSetting, match="the port is in use"),
        taken_port("127.0.0.1", server.getsockname()[1]),
    ):
        pass
    with pytest.raises(BadSetting, match=r"--host 203\.0\.113\.1"), taken_port("203.0.113.1", 0):
        pass
