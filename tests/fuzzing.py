"""Requests drawn from a seed, thrown at every route of one fake: none may fail inside, and what was thrown can still be shown.

`scripts/fuzz --count 20000 --seed 1` is the run that docs/security.md records. A failure names the number of its request:
the same seed and a count above it throw it again.
"""

import argparse
import io
import json
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import kling_openapi
from kling_mock.app import create_app

MODEL = kling_openapi.service()["components"]["schemas"]["Model"]["const"]
FIELDS = list(kling_openapi.service()["components"]["schemas"]["CreateVideo"]["properties"])
PATHS = [
    *kling_openapi.service()["paths"],
    *kling_openapi.read(kling_openapi.CONTROL)["paths"],
    *("/files/{account}/{task_id}.mp4", "/uploads/{account}/{file_id}/{name}", "/__mock/", "/__mock/page/journal"),
    *("/__mock/page/tasks/{task_id}", "/__mock/page/journal/{seq}", "/__mock/docs", "/openapi.json", "/", "//", "//["),
]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "X")
TEXTS = (
    *(
        "",
        "x",
        "sk-test",
        "%00",
        "%ff%fe",
        "..",
        "../..",
        "%2e%2e",
        "task-unified-1-aaaaaaaa",
        "-1",
        "1e999",
        "nan",
        "9" * 40,
        "]",
        "[",
    ),
    *(
        "//",
        "a b",
        "é",
        "\x7f",
        "\u2028",
        "{}",
        "'\"",
        "\\u0000",
        "😀",
        "terminal",
        "attempts:3",
        "1.5",
        "true",
        "null",
        ";",
        "&=&",
        "%",
    ),
)
URLS = (
    *(
        "https://image.test/640x480.png",
        "https://image.test]/x",
        "https://[",
        "https://image.test/9x9.jpg?bytes=-1",
        "//",
        "https://",
    ),
    *(
        "https://8.8.8.8/hook",
        "https://8.8.8.8:99999/",
        "https://a@b/",
        "http://127.0.0.1:1/",
        "data:image/png;base64,AA",
        "https://xn--/",
    ),
    *(
        "https://image.test/640x480.png?as=gif",
        "https://image.test/1x1.png?status=599",
        "https://image.test/0x0.png",
        "ftp://x",
        "/uploads/a/b/c",
    ),
)
HEADERS = (
    *(
        "CONTENT_TYPE",
        "HTTP_IDEMPOTENCY_KEY",
        "HTTP_X_MOCK_SCENARIO",
        "HTTP_X_MOCK_TOKEN",
        "HTTP_RANGE",
        "HTTP_IF_RANGE",
        "HTTP_ACCEPT",
    ),
    *(
        "HTTP_IF_NONE_MATCH",
        "HTTP_HOST",
        "HTTP_COOKIE",
        "HTTP_ORIGIN",
        "HTTP_SEC_FETCH_SITE",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_EXPECT",
    ),
)
VALUES = (
    *(
        "application/json",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "text/plain",
        "a" * 16,
        "failed at=7",
        "bytes=0-",
    ),
    *(
        "bytes=5-1,-",
        "bytes=a-b",
        "localhost",
        "evil.example",
        "[::1",
        "null",
        "http://[",
        "cross-site",
        "text/html",
        '"x"',
        "*",
    ),
)


@dataclass(frozen=True)
class Sent:
    """What a callback comes to here: nothing leaves."""

    kind: str = "2xx"
    status: int = 204
    detail: str = ""
    seconds: float = 0.0


class Sender:
    """Takes every callback."""

    def post(self, *_: Any, **__: Any) -> Sent:
        """Say that it was delivered."""
        return Sent()


ROUTES = [
    (method.upper(), path)
    for document in (kling_openapi.service(), kling_openapi.read(kling_openapi.CONTROL))
    for path, item in document["paths"].items()
    for method in item
    if method in ("get", "post", "put", "delete")
]


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON, more often small."""
    kinds: list[Any] = [
        rng.choice(TEXTS),
        rng.choice(URLS),
        rng.randrange(-5, 20),
        rng.random() * 1e6,
        True,
        None,
        2**70,
        MODEL,
    ]
    if depth < 3:
        kinds += [[value(rng, depth + 1) for _ in range(rng.randrange(3))]]
        names = [*FIELDS, *TEXTS, "mode", "seconds", "name", "params"]
        kinds += [{rng.choice(names): value(rng, depth + 1) for _ in range(rng.randrange(4))}]
    return rng.choice(kinds)


def body(rng: random.Random) -> bytes:
    """A create that is nearly right, a control call, any JSON, a form, or bytes."""
    kind = rng.randrange(6)
    if kind == 0:
        fields = {"model": MODEL, "image_start": rng.choice(URLS)}
        return json.dumps(fields | {rng.choice(FIELDS): value(rng) for _ in range(rng.choice([0, 0, 1, 3]))}).encode()
    if kind == 1:
        calls: tuple[Any, ...] = (
            *(
                {"mode": "manual"},
                {"mode": "scaled", "rate": 60},
                {"mode": "real"},
                {"seconds": rng.choice([1, 1e9, 86400])},
            ),
            *(
                {"name": "failed", "params": {"at": 5}},
                {"credits": 5, "rate_limit": None},
                {"https://a.example": "http://127.0.0.1:1"},
            ),
            *(
                {"a.example": ["127.0.0.1"]},
                {"task_ids": ["x"]},
                {"file_url": rng.choice(URLS)},
                {"base64_data": "AAAA"},
            ),
        )
        return json.dumps(rng.choice(calls)).encode()
    if kind == 2:
        part = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{rng.choice(TEXTS)}"\r\n\r\nGIF89a\r\n--b--\r\n'
        return part.encode("utf-8", "replace")[: rng.choice([None, 40])]
    if kind == 3:
        return rng.randbytes(rng.randrange(60))
    return json.dumps(value(rng)).encode() if kind == 4 else b""


def environ(rng: random.Random, known: list[str]) -> dict[str, Any]:
    """One request, as a WSGI server would hand it over; *known* are the ids of tasks that are there."""
    method, path = rng.choice(ROUTES) if rng.random() < 0.8 else (rng.choice(METHODS), rng.choice(PATHS))
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        path = path[:start] + rng.choice(known or TEXTS if rng.random() < 0.5 else TEXTS) + path[end + 1 :]
    if rng.random() < 0.1:
        path = rng.choice(["/", "//", ""]) + path + rng.choice(["", "/", "//", "%00", "?"])
    names = (
        "task_id",
        "until",
        "timeout",
        "since",
        "limit",
        "page",
        "page_size",
        "status",
        "expires",
        "signature",
        "x",
    )
    query = "&".join(f"{rng.choice(names)}={rng.choice(TEXTS)}" for _ in range(rng.choice([0, 0, 0, 1, 2])))
    sent = body(rng) if method in ("POST", "PUT", "PATCH") else b""
    found: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query.replace("timeout=", "x=").encode().decode("latin-1"),
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "4010",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": rng.choice([*["127.0.0.1"] * 9, "::1", "", "192.0.2.7", "nonsense"]),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(sent),
        "wsgi.errors": sys.stderr,
        "CONTENT_LENGTH": str(len(sent)),
        "HTTP_AUTHORIZATION": rng.choice([*["Bearer sk-test"] * 8, "Bearer sk-b", "", "Basic x", "Bearer"]),
    }
    for name in rng.sample(HEADERS, rng.choice([0, 0, 0, 1, 3])):
        found[name] = rng.choice([*VALUES, *TEXTS]).encode().decode("latin-1")
    return found


class Fuzz:
    """One fake and what came of the requests."""

    def __init__(self) -> None:
        self.app = create_app(clock="manual", images="offline", callbacks="local", sender=Sender(), journal=200)  # type: ignore[arg-type]
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.known: list[str] = []

    def throw(self, seed: int, number: int) -> None:
        """Request *number* of *seed*; what must not be is kept."""
        asked = environ(random.Random(f"{seed}:{number}"), self.known)
        if asked.get("QUERY_STRING", "").find("until") >= 0 and asked["PATH_INFO"] == "/__mock/wait":
            asked["QUERY_STRING"] += "&timeout=0"
        got: list[Any] = []
        name = f"{seed}:{number} {asked['REQUEST_METHOD']} {asked['PATH_INFO']}"
        try:
            chunks = self.app.wsgi_app(asked, lambda status, headers, *_: got.append((status, dict(headers))))
            answer = b"".join(chunks)
        except (ConnectionResetError, TimeoutError):  # what a scenario does to a connection
            self.statuses[0] += 1
            return
        except Exception as error:
            self.failures.append(f"{name}: {error!r}")
            return
        status = int(got[0][0][:3])
        self.statuses[status] += 1
        if status >= 500:
            self.failures.append(f"{name}: {status}")
        if status == 200 and (found := re.search(rb'"id":"(task-unified-[^"]+)"', answer)):
            self.known = [*self.known[-4:], found[1].decode()]

    def show(self) -> None:
        """Look at everything that was thrown."""
        client = self.app.test_client()
        for path in ("journal?limit=10000", "journal.har", "tasks", "deliveries", "accounts"):
            response = client.get(f"/__mock/{path}")
            if response.status_code != 200:
                self.failures.append(f"GET /__mock/{path} afterwards: {response.status_code}")

    def close(self) -> None:
        """Stop what runs beside it."""
        self.app.extensions["kling-mock"].courier.stop()


def main() -> int:
    """Throw and report; 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first request: a long run in several parts")
    asked = parser.parse_args()
    fuzz = Fuzz()
    for number in range(asked.first, asked.first + asked.count):
        fuzz.throw(asked.seed, number)
        if number % 1000 == 999:
            fuzz.show()
    fuzz.show()
    fuzz.close()
    print(
        f"seed {asked.seed} from {asked.first}: {sum(fuzz.statuses.values())} requests, {dict(sorted(fuzz.statuses.items()))}"
    )
    print(f"{len(fuzz.failures)} failures", *fuzz.failures[:20], sep="\n")
    return 1 if fuzz.failures else 0


if __name__ == "__main__":
    sys.exit(main())
