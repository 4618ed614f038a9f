"""The tools' own calls reach the fake whatever the machine and the test around them do to HTTP."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from kling_common.calls import Unreachable, call
from kling_mock.cli.main import cli
from kling_mock.cli.verbs import add_verbs
from kling_mock.serving.process import Running
from kling_mock.testing import KlingMock, SharedFake

DEAD = "http://127.0.0.1:9"


class Echo(BaseHTTPRequestHandler):
    """Sends back what it was asked, as JSON."""

    def do_GET(self) -> None:
        """Any path."""
        length = int(self.headers.get("content-length") or 0)
        seen = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        body = json.dumps({**seen, "body": self.rfile.read(length).decode(), "now": 1.0, "mode": "manual"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815 - http.server looks for these names

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the echo listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with a proxy for everything, and credentials for every host."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, DEAD)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".netrc").write_text("default login somebody password secret\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))


@pytest.mark.usefixtures("hostile")
def test_no_proxy_and_no_netrc(url: str) -> None:
    """The call goes straight to the server, with no credentials that nobody gave it."""
    answer = call("POST", f"{url}/a", json={"b": 1}, query={"c": "d e"}, headers={"X-E": "f"})

    seen = answer.json()
    assert (seen["path"], seen["body"], seen["headers"]["x-e"]) == ("/a?c=d+e", '{"b":1}', "f")
    assert "authorization" not in seen["headers"]
    with pytest.raises(requests.RequestException):
        requests.get(url, timeout=5)


@pytest.mark.usefixtures("hostile")
def test_commands_reach_the_fake(url: str) -> None:
    """`kling-mock freeze` behind the same proxy."""
    add_verbs(cli)

    done = CliRunner().invoke(cli, ["freeze", "--url", url])

    assert (done.exit_code, done.output) == (0, "frozen at 1970-01-01 00:00:01.000\n")


@contextlib.contextmanager
def patched_requests() -> Iterator[None]:
    """What `responses` and `requests-mock` do: every adapter of `requests` refuses."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise requests.ConnectionError("the test allows no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.adapters.HTTPAdapter, "send", refuse)
        patch.setattr(requests.Session, "get_adapter", refuse)
        yield


def test_fixtures_steer_it_while_requests_is_patched(url: str, tmp_path: Path) -> None:
    """A test that stubs its application's HTTP can still move the fake's clock."""
    fake = SharedFake(tmp_path)
    fake.url = url

    with patched_requests():
        assert KlingMock(fake, "sk-test").control("GET", "/clock")["headers"]["authorization"] == "Bearer sk-test"
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)


def test_a_tests_journal_is_read_to_its_end() -> None:
    """Answer after answer, as the fake gives at most so many entries at once."""

    class Paged(KlingMock):
        """Its account has five entries, of which an answer has two."""

        def control(self, method: str, path: str, body: Any = None, *, since: int = 0, **query: Any) -> Any:
            """One answer."""
            assert (method, path, body, query) == ("GET", "/journal", None, {})
            numbers = range(since, min(since + 2, 5))
            return {"entries": [{"seq": number} for number in numbers], "next": numbers.stop}

    assert [entry["seq"] for entry in Paged(SharedFake(Path()), "sk-test").journal()] == [0, 1, 2, 3, 4]


def test_nobody_there() -> None:
    """One exception, with the reason."""
    with pytest.raises(Unreachable, match="refused"):
        call("GET", DEAD)
    with pytest.raises(Unreachable, match="http or https"):
        call("GET", "file:///etc/passwd")


def test_the_tools_do_not_import_requests() -> None:
    """The guard of all of the above: nothing that steers the fake holds the patched library."""
    modules: list[ModuleType] = [sys.modules["kling_mock.cli.verbs"], sys.modules["kling_mock.testing.fixtures"]]

    assert not [module for module in modules if hasattr(module, "requests")]


@pytest.mark.parametrize("named", ["", "intranet.example, 10.0.0.1", "localhost"])
def test_exec_keeps_a_proxy_out(named: str) -> None:
    """The command finds NO_PROXY with the fake in it, and what the user had there."""
    fake = Running()
    fake.url = "http://127.0.0.1:1"

    found = fake.variables("sk-test", {"NO_PROXY": named, "HTTP_PROXY": DEAD})

    hosts = found["NO_PROXY"].split(",")
    assert found["no_proxy"] == found["NO_PROXY"]
    assert {"localhost", "127.0.0.1", "::1"} <= set(hosts)
    assert [name.strip() for name in named.split(",") if name] == hosts[
        : len([name for name in named.split(",") if name])
    ]
    assert len(hosts) == len(set(hosts))
