"""One key, marked, through everything: the fake, its page and log, recordings, reports and the client's words. Then all of it is searched.

The key stands wherever a key can stand, in every spelling that a tool may give it. Where a server throws the key back in what it
says, the kit and the client must not pass it on either.
"""

import base64
import http.client
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

import kling_openapi
from kling_common.launch import Launched

pytestmark = pytest.mark.e2e

CANARY = "cAnary7f3b9d1eZx81q"
KEY = f"sk-live-{CANARY}"
MODEL = kling_openapi.service()["components"]["schemas"]["Model"]["const"]
IMAGE = "https://image.test/640x480.png"
CREATE = "/v1/videos/generations"
BODY = {"model": MODEL, "image_start": IMAGE}
IN_BASE64 = [base64.b64encode(b"u:" * ahead + KEY.encode()).decode() for ahead in range(3)]
ESCAPED = "".join(f"\\u{ord(character):04x}" for character in KEY)
PERCENT = "".join(f"%{ord(character):02X}" for character in KEY)

HEADERS = [
    ("Cookie", f"first={CANARY}; theme=dark; last={CANARY}"),
    ("Cookie", f"second={CANARY}"),
    *[
        (name, CANARY)
        for name in ("X-Api-Key", "X-Auth-Token", "X-Goog-Api-Key", "Api-Key", "X-Access-Token", "X-Secret")
    ],
    *[
        (name, CANARY)
        for name in ("X-Amz-Security-Token", "X-Csrf-Token", "X-Session-Id", "PRIVATE-TOKEN", "X-Vault-Token")
    ],
    ("Proxy-Authorization", f"Basic {IN_BASE64[1]}"),
    *[("X-Note", value) for value in (f"Bearer {CANARY}", PERCENT, *IN_BASE64, f"token={CANARY}", f"key: {KEY}")],
    ("Referer", f"https://app.example/?access_token={CANARY}&x=1"),
    ("X-Forwarded-Url", f"https://user:{CANARY}@host.example/"),
]
SCHEMES = (
    KEY,
    f"KEY {CANARY}",
    f"ApiKey {CANARY}",
    f"Token token={CANARY}",
    f"Digest response={CANARY}",
    f"Basic {IN_BASE64[1]}",
)
CALLBACK = f"https://hooks.example.com/{CANARY}{CANARY[:4]}?token={CANARY}&n=1"
BODIES = [
    json.dumps({**BODY, "callback_url": CALLBACK, "api_key": CANARY, "prompt": f"my key is {KEY}"}),
    f'{{"model": "{MODEL}", "image_start": "{IMAGE}", "prompt": "{ESCAPED}", "note": "{PERCENT}", "more": "{IN_BASE64[0]}"}}',
    json.dumps({**BODY, "callback_url": f"https://user:{CANARY}@hooks.example.com/"}),
    json.dumps({**BODY, "webhook": {"authorization": f"Bearer {CANARY}", "password": CANARY, "accessToken": CANARY}}),
    f"api_key={CANARY}&client_secret={CANARY}",
    f'{{"token": "{CANARY}',
]
PATHS = [
    *(f"/v1/credits?api_key={CANARY}", f"/v1/tasks?key={PERCENT}", f"/v1/tasks?access_token={CANARY}&page=1"),
    *(
        f"/v1/tasks/x?sig={KEY}",
        f"/v1/{quote(KEY)}",
        f"/v1/x?u=https://u:{CANARY}@h.example/",
        f"/v1/x?auth={IN_BASE64[1]}",
    ),
]


def spellings() -> set[bytes]:
    """What must be nowhere: the key as it is, and what base64, percent-encoding and JSON make of it."""
    cores = {base64.b64encode(b"x" * ahead + CANARY.encode())[4:-4] for ahead in range(3)}
    escaped = {PERCENT[24:].encode(), PERCENT[24:].lower().encode(), ESCAPED[48:].encode()}
    return {CANARY.encode(), CANARY[::-1].encode(), *cores, *escaped}


def found_in(name: str, data: bytes) -> list[str]:
    """Where *data* holds the key, with what is around it."""
    places = [(data.find(one), one) for one in spellings()]
    return [f"{name}: {data[max(0, at - 60) : at + 60]!r}" for at, one in places if at >= 0 and len(one) > 8]


def all_of(folder: Path) -> list[str]:
    """Where any file below *folder* holds the key."""
    return [
        hit for path in sorted(folder.rglob("*")) if path.is_file() for hit in found_in(path.name, path.read_bytes())
    ]


def call(url: str, method: str, path: str, headers: list[tuple[str, str]], body: str = "") -> tuple[int, bytes]:
    """One request, its headers as they are."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in [*headers, ("Content-Length", str(len(body.encode())))]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def command(folder: Path, *words: str, **environment: str) -> None:
    """Run a command of the project, and keep what it says among the artefacts."""
    known = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder), **environment}
    ran = subprocess.run(words, capture_output=True, env=known, cwd=folder, timeout=300, check=False)
    (folder / f"said-{len(list(folder.iterdir()))}.txt").write_bytes(ran.stdout + ran.stderr)
    assert b"Traceback" not in ran.stderr, ran.stderr


def tool(name: str) -> str:
    """A command of the project, beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


@pytest.fixture(scope="module")
def fake() -> Iterator[tuple[str, io.StringIO]]:
    """A fake that was called with the key everywhere, and its log."""
    log = io.StringIO()
    words = ["serve", "--port", "0", "--ready-json", "--stop-with-stdin", "--clock", "manual"]
    with Launched([sys.executable, "-m", "kling_mock", *words], patience=120.0, errors=log) as child:
        url = str(child.ready["url"])
        own = [("Authorization", f"Bearer {KEY}"), ("Content-Type", "application/json")]
        call(url, "PUT", "/__mock/relays", [], '{"https://hooks.example.com": "http://127.0.0.1:9"}')
        for header in HEADERS:
            call(url, "GET", "/v1/credits", [*own, header])
        call(url, "POST", CREATE, [*own, *HEADERS], BODIES[0])
        for scheme in SCHEMES:
            call(url, "GET", "/v1/credits", [("Authorization", scheme)])
        for body in BODIES:
            call(url, "POST", CREATE, own, body)
        for path in PATHS:
            call(url, "GET", path, own)
        call(url, "POST", "/__mock/clock/advance", [], '{"seconds": 86400}')
        yield url, log


def test_the_fake_keeps_none_of_it(fake: tuple[str, io.StringIO]) -> None:
    """Journal, HAR, page, metrics and log; that there was something shows. Live tasks and deliveries have the real callback URL."""
    url, log = fake
    entries = json.loads(call(url, "GET", "/__mock/journal?limit=1000", [])[1])["entries"]
    tasks = json.loads(call(url, "GET", "/__mock/tasks", [])[1])["tasks"]
    paths = [
        "/__mock/journal?limit=1000",
        "/__mock/journal.har",
        "/metrics",
        "/__mock/",
        "/__mock/page/journal",
    ]
    paths += [f"/__mock/page/journal/{entry['seq']}" for entry in entries]
    paths += [f"/__mock/page/tasks/{task['id']}" for task in tasks]
    hits = found_in("log", log.getvalue().encode())
    for path in paths:
        status, data = call(url, "GET", path, [("Accept", "text/html"), ("Sec-Fetch-Site", "none")])
        assert status == 200, path
        hits += found_in(path, data)

    assert not hits, "\n".join(hits)
    assert len(entries) > 40
    assert len(tasks) >= 4
    assert "key-" in log.getvalue()


def test_reports_on_its_recordings_hold_none_of_it(fake: tuple[str, io.StringIO], tmp_path: Path) -> None:
    """The fake's HAR, and a browser's of the same calls with the key still in them, each with all report files."""
    har = call(fake[0], "GET", "/__mock/journal.har", [])[1]
    (tmp_path / "fake.har").write_bytes(har)
    kept = tmp_path / "foreign"  # the key is in it, as in whatever a browser writes
    kept.mkdir()
    (kept / "foreign.har").write_text(json.dumps(foreign()), encoding="utf-8")
    for file in (tmp_path / "fake.har", kept / "foreign.har"):
        report = tmp_path / f"report-{file.stem}"
        command(tmp_path, tool("kling-contract"), "check", str(file), "--report", str(report))
        assert (report / "history.jsonl").stat().st_size > 1000
    (kept / "foreign.har").unlink()

    assert not (hits := all_of(tmp_path)), "\n".join(hits)


def foreign() -> Any:
    """A browser's HAR of calls with the key in all of them, and in members that no format knows."""
    entries: list[Any] = []
    for number, (body, path) in enumerate(zip([*BODIES, "", ""], [CREATE] * 6 + PATHS[:2], strict=True)):
        headers = [{"name": name, "value": value} for name, value in [("Authorization", f"Bearer {KEY}"), *HEADERS]]
        shown = {"id": f"task-unified-{number}-aaaaaaaa", "note": KEY, "echo": f"you sent {IN_BASE64[1]}"}
        entries.append({
            "startedDateTime": f"2026-01-01T00:00:{number:02}Z", "time": 5, "_secret": CANARY,
            "request": {
                "method": "POST" if body else "GET", "url": f"https://api.evolink.ai{path}", "headers": headers,
                "cookies": [{"name": "sid", "value": CANARY}], "queryString": [{"name": "key", "value": CANARY}],
                **({"postData": {"mimeType": "application/json", "text": body}} if body else {}),
            },
            "response": {
                "status": 200, "headers": [{"name": "Set-Cookie", "value": f"sid={CANARY}; Path=/"}, {"name": "X-Echo", "value": KEY}],
                "content": {"size": 9, "mimeType": "application/json", "text": json.dumps(shown)},
            },
        })  # fmt: skip
    return {"log": {"version": "1.2", "entries": entries, "_note": KEY}}


class Echo(http.server.BaseHTTPRequestHandler):
    """A server that says the caller's key back in every way: in its status line, headers, and errors."""

    def do_GET(self) -> None:
        """Refuse, and show the key."""
        sent = self.headers.get("Authorization", "")
        key = sent.partition(" ")[2]
        said = [
            sent,
            key,
            quote(key),
            base64.b64encode(key.encode()).decode(),
            base64.b64encode(f"x{key}".encode()).decode(),
        ]
        body = json.dumps(
            {"error": {"code": key, "message": f"you sent {said}", "type": key}, "id": key, "status": key}
        )
        escaped = (
            body.replace(key, "".join(f"\\u{ord(one):04x}" for one in key)) if len(self.path) % 2 and key else body
        )
        self.send_response(401 if "credits" in self.path else 400, f"no {key}")
        for name in ("X-Echo", "X-Request-Id", "Location", "Retry-After"):
            self.send_header(name, key)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(escaped)))
        self.end_headers()
        self.wfile.write(escaped.encode())

    def do_POST(self) -> None:
        """The same."""
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that throws the key back."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_kit_passes_none_of_it_on(fake: tuple[str, io.StringIO], echo: str, tmp_path: Path) -> None:
    """Server runs, and a recording of a client, against a right server and against one that throws the key back."""
    kit, key = tool("kling-contract"), {"KLING_API_KEY": KEY}
    for number, url in enumerate((fake[0], echo)):
        report = str(tmp_path / f"server-{number}")
        command(tmp_path, kit, "server", url, "--quick", "--only", "SA-01,SA-02,SV-01,SS-01", "--report", report, **key)
        out = str(tmp_path / f"recorded-{number}.jsonl")
        client = [
            tool("kling"),
            "generate",
            IMAGE,
            "--out",
            f"{number}.mp4",
            "--deadline",
            "3",
            "--callback-url",
            "https://hooks.example.com/a",
        ]
        limits = ["--max-usd", "10", "--report", str(tmp_path / f"record-{number}")]
        command(tmp_path, kit, "record", "--upstream", url, "--out", out, *limits, "--", *client, KLING_API_KEY=KEY)
        assert Path(out).stat().st_size > 100

    assert not (hits := all_of(tmp_path)), "\n".join(hits)


@pytest.mark.parametrize("shape", [[], ["--json"]])
def test_the_client_says_none_of_it(echo: str, shape: list[str], tmp_path: Path) -> None:
    """Neither on its streams nor in what it remembers, and whatever it was told."""
    for words in (
        ["generate", IMAGE, "--out", "a.mp4"],
        ["credits"],
        ["status", "task-unified-1-aaaaaaaa"],
        ["resume", "task-unified-1-aaaaaaaa"],
    ):
        command(tmp_path, tool("kling"), *words, *shape, KLING_API_KEY=KEY, KLING_BASE_URL=echo)

    assert not (hits := all_of(tmp_path)), "\n".join(hits)
