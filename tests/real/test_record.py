"""`kling-contract record`: an unmodified client in front of a billed stand-in, recorded, guarded and judged."""

import json
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from standins.service import CREATE, KEY, Behaviour, Service

from kling_common.authority import Authority
from kling_contract.cli.commands.record import command
from kling_contract.driving.drivers.running import Money
from kling_contract.driving.sender import Sender
from kling_contract.history.events import Balance, Download, Exchange, Note, Recorder
from kling_contract.reading.contract import shipped
from kling_contract.reading.recordings import read
from kling_contract.recording.proxy import RecordingProxy
from kling_contract.recording.setup import opened
from kling_contract.rules.verdicts import SetupError

BODY = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://example.com/a.png", "duration": 3}
CLIENT = """
import json, os, sys, time, urllib.request

base, key, creates = os.environ["KLING_BASE_URL"], sys.argv[1], int(sys.argv[2])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": os.environ["HTTP_PROXY"]}))

def call(method, url, body=None):
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json", "User-Agent": "small/1"}
    if not url.startswith(base):
        headers = {"User-Agent": "small/1"}
    data = json.dumps(body).encode() if body else None
    with opener.open(urllib.request.Request(url, data, headers, method=method)) as response:
        return response.read()

body = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://example.com/a.png", "duration": 3}
for _ in range(creates):
    task = json.loads(call("POST", base + "/v1/videos/generations", body))
    while task["status"] not in ("completed", "failed"):
        time.sleep(0.3)
        task = json.loads(call("GET", base + "/v1/tasks/" + task["id"]))
    for link in task["results"]:
        print(len(call("GET", link)))
"""


@pytest.fixture
def service() -> Iterator[Service]:
    """An honest service."""
    with Service(Behaviour(work=0.1)) as running:
        yield running


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority of these tests is their own."""
    monkeypatch.setenv("KLING_MOCK_HOME", str(tmp_path / "home"))


def record(tmp_path: Path, service: Service, *words: str, options: tuple[str, ...] = ()) -> Result:
    """The command with a client of these tests."""
    file = tmp_path / "client.py"
    file.write_text(CLIENT)
    given = ["--upstream", service.url, "--out", str(tmp_path / "history.jsonl"), *options]
    return CliRunner().invoke(command, [*given, "--", sys.executable, str(file), *words], standalone_mode=False)


def test_an_unmodified_client_is_recorded_and_judged(service: Service, tmp_path: Path) -> None:
    """Its calls, its download and the balance around its create, all masked; then its verdicts."""
    result = record(tmp_path, service, KEY, "1", options=("--max-usd", "1"))

    assert (result.exception, result.return_value) == (None, 0), result.output
    assert len(service.ledger.rows) == 1
    text = (tmp_path / "history.jsonl").read_text()
    assert KEY not in text
    assert KEY not in result.output
    events = read(tmp_path / "history.jsonl")
    assert [type(event) for event in events[:3]] == [Note, Balance, Balance] or any(
        isinstance(e, Balance) for e in events
    )
    (download,) = [event for event in events if isinstance(event, Download)]
    assert (download.status, download.who) == (200, "")
    calls = [event for event in events if isinstance(event, Exchange)]
    assert [calls[0].method, calls[0].url] == ["POST", service.url + CREATE]
    assert "pass" in result.output
    assert "creates sent: 1, accepted: 1" in result.output


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--max-usd", "5"), "--max-creates"),
        (("--max-usd", "0.7", "--max-creates", "5"), "--max-usd"),
        (("--max-creates", "1"), "--max-creates"),
    ],
)
def test_a_create_beyond_a_cap_is_answered_402_and_never_sent(
    service: Service, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    """In the service's shape, naming the guard; the history says so too."""
    result = record(tmp_path, service, KEY, "2", options=options)

    assert len(service.ledger.rows) == 1
    assert len(service.ledger.creates) == 1
    assert "not sent: " in result.output
    assert reason in result.output
    events = read(tmp_path / "history.jsonl")
    refused = [event for event in events if isinstance(event, Exchange) and event.answer and event.answer.status == 402]
    error = json.loads(refused[0].answer.body.text)["error"]
    assert error["code"] == "insufficient_quota"
    assert "kling-contract's guard" in error["message"]
    (note,) = [event for event in events if isinstance(event, Note) and event.topic == "withheld"]
    assert note.data["exchange"] == refused[0].seq


def test_har_is_written_where_the_name_says_so(service: Service, tmp_path: Path) -> None:
    """And it can be judged again."""
    from kling_contract.cli.commands.check import command as check

    file = tmp_path / "client.py"
    file.write_text(CLIENT)
    out = tmp_path / "history.har"
    words = ["--upstream", service.url, "--out", str(out), "--", sys.executable, str(file), KEY, "1"]
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert (result.exception, result.return_value) == (None, 0), result.output
    again = CliRunner().invoke(check, [str(out)], standalone_mode=False)
    assert (again.exception, again.return_value) == (None, 0), again.output


def test_a_lost_reply_is_lost_for_the_client_and_the_next_create_is_not_sent(tmp_path: Path) -> None:
    """The guard knows that it may have been accepted."""
    with Service(Behaviour(loses=1.0)) as service:
        result = record(tmp_path, service, KEY, "1", options=("--max-usd", "5", "--max-creates", "9"))
    assert len(service.ledger.creates) == 1
    assert "outcome of a create is unknown" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--upstream", "https://api.example.com", "--out", "x.jsonl", "--", "true"], "--max-usd"),
        (["--upstream", "ftp://x", "--out", "x.jsonl", "--", "true"], "is no URL of a server"),
        (["--out", "no/such/folder/x.jsonl", "--max-usd", "1", "--", "true"], "--out"),
        (["--upstream", "http://127.0.0.1:9", "--out", "x.jsonl", "--", "no-such-program"], "cannot be started"),
        (["--upstream", "http://127.0.0.1:9", "--out", "x.jsonl", "--", "true"], "nothing was recorded"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    """Before or after, but never a traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kling_contract.driving.control.Control.info", lambda _: None)
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert isinstance(result.exception, SetupError), result.output
    assert said in str(result.exception)


def through(proxy: RecordingProxy, authority: Authority, url: str, body: Any = None, key: str = KEY) -> Any:
    """A call of a client that has *url* built in and knows a proxy alone."""
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    handlers = (
        urllib.request.ProxyHandler({"https": proxy.url, "http": proxy.url}),
        urllib.request.HTTPSHandler(context=trust),
    )
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.build_opener(*handlers).open(
        urllib.request.Request(url, data, headers), timeout=10
    ) as response:
        return response.read()


def test_a_client_with_the_service_built_in_comes_through_connect(service: Service, tmp_path: Path) -> None:
    """Under the contract's host names, trusted by the local authority; it cannot pass the guard either."""
    contract, recorder, authority = shipped(), Recorder(), Authority(tmp_path / "home")
    built_in = str(contract.document["servers"][0]["url"])
    money = Money(max_usd=5.0)
    with opened(service.url, contract, money, recorder, sender=Sender(), authority=authority) as proxy:
        assert proxy.variables["HTTPS_PROXY"] == proxy.url
        task = json.loads(through(proxy, authority, built_in + CREATE, BODY))
        read = json.loads(through(proxy, authority, f"{built_in}/v1/tasks/{task['id']}"))
        with pytest.raises(urllib.error.HTTPError, match="402"):
            through(proxy, authority, built_in + CREATE, BODY)
    assert read["id"] == task["id"]
    assert len(service.ledger.rows) == 1
    assert {event.url for event in recorder.events if isinstance(event, Exchange)} >= {service.url + CREATE}


def test_other_hosts_are_passed_on_and_named(service: Service, tmp_path: Path) -> None:
    """A tunnel to a host that is not the service's is carried unread, and the user is told."""
    contract, recorder = shipped(), Recorder()
    import socket
    import threading

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def echo() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(connection.recv(100).upper())

    threading.Thread(target=echo, daemon=True).start()
    with (
        listening,
        opened(
            "http://localhost:1", contract, Money(), recorder, sender=Sender(), authority=Authority(tmp_path / "h")
        ) as proxy,
    ):
        with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2]))) as client:
            client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
        assert f"127.0.0.1:{port} (1)" in proxy.remarks()[-1]
