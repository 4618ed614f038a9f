"""A second fake of the service, written only from the document and with the standard library only.

It plays two parts for the tests of the conformance kit: a correct foreign server (no control protocol, real time,
with the liberties a correct server may take as options), and the real service where money counts: every create and
every credit stands in a ledger that a test can read.

    with StandIn(queue=0.1, run=0.2) as server:
        server.url, server.ledger_rows(), server.attempt_rows()

    python tests/kit/standin.py --queue 0.1 --run 0.2 --ledger ledger.jsonl
"""

import hashlib
import json
import re
import signal
import socket
import ssl
import sys
import threading
import traceback
import uuid
from dataclasses import dataclass, field, replace
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import unquote, urlsplit

from standin_callbacks import Courier
from standin_checks import Create, check_create, parse_object, plain_host
from standin_facts import CREATE_PATH, QUALITIES, ApiError, Options, invalid, parse_options
from standin_images import BadImageError, first_frame
from standin_net import known_inside
from standin_tasks import EXTRA, Account, World, plain
from standin_video import video, video_size

TASK_PATH = re.compile(r"/v1/tasks/([^/]+)")
LINK_PATH = re.compile(r"/dl/([0-9a-f]+)\.mp4")
IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
DRAIN_MAX = 256 * 1024 * 1024  # bytes of a refused body that are still read, so that its sender sees the answer


@dataclass
class Call:
    """One request, read to its end; a body over the limit is only counted."""

    method: str
    path: str
    headers: Any
    body: bytes = b""
    too_large: bool = False


@dataclass
class Answer:
    """One answer; `headers` beside the ones that every answer has."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Api:
    """Routes and answers, without a socket: a `Call` in, an `Answer` out."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.courier = Courier(options)
        self.world = World(options, self.courier.deliver)

    def close(self) -> None:
        """Stop the threads."""
        self.world.close()
        self.courier.close()

    def answer(self, call: Call) -> Answer:
        """The answer to `call`; never raises."""
        try:
            reply = self._route(call)
        except ApiError as error:
            reply = self.refusal(error, call)
        except Exception:
            traceback.print_exc()
            reply = self.refusal(ApiError(500, "internal_error", "Something went wrong.", kind="api_error"), call)
        reply.headers["x-request-id"] = uuid.uuid4().hex
        return reply

    def refusal(self, error: ApiError, call: Call | None = None) -> Answer:
        """The answer that says `error`, and for a create the ledger row of it."""
        if call is not None and call.path == CREATE_PATH and call.method == "POST":
            self.world.refused(self._account(call), error)
        for key in self.world.accounts:
            error.message = error.message.replace(key, "***")
        body = error.body(self.options.dialect)
        if self.options.extra_fields:
            body |= EXTRA
            body["error"]["x_help"] = "see the manual"
        return Answer(error.status, json.dumps(body).encode(), headers=dict(error.headers))

    def _route(self, call: Call) -> Answer:
        if call.path.startswith("/dl/"):
            return self._download(call)
        if call.path == "/__mock" or call.path.startswith("/__mock/"):
            raise _no_route(call)
        account = self._account(call)
        if account is None:
            raise ApiError(
                401,
                "unauthorized",
                "The API key is missing or not valid.",
                kind="authentication_error",
                headers={"WWW-Authenticate": "Bearer"},
            )
        asked = TASK_PATH.fullmatch(call.path)
        self.world.throttle(account, "evo_api_error" if asked else "rate_limit_error")
        if call.path == CREATE_PATH:
            _allow(call, "POST")
            return self._create(call, account)
        if asked:
            _allow(call, "GET", "HEAD")
            return self._query(unquote(asked[1]), account)
        if call.path == "/v1/credits":
            _allow(call, "GET", "HEAD")
            return self._credits(account)
        raise _no_route(call)

    def _account(self, call: Call) -> Account | None:
        """The account whose key is the bearer token; a second Authorization header makes the call nobody's."""
        given = call.headers.get_all("Authorization") or []
        found = re.fullmatch(r"bearer +(\S+)", given[0].strip(), re.IGNORECASE) if len(given) == 1 else None
        return self.world.accounts.get(found[1]) if found else None

    def _create(self, call: Call, account: Account) -> Answer:
        create = self._checked(call)
        if not account.may_use_model:
            raise ApiError(403, "model_access_denied", "This key may not use the model.")
        key = self._idempotency_key(call)
        task = self.world.replay(account, key, create)
        replayed = task is not None
        if task is None:
            size, error = self._first_frame(create)
            task, replayed = self.world.create(account, create, size, error, key)
        return self._json(task, {"idempotency-replayed": "true"} if replayed else {})

    def _checked(self, call: Call) -> Create:
        if call.too_large:
            raise ApiError(413, "request_too_large", f"The body is over {self.options.max_body} bytes.")
        media = call.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        if media != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", media):
            raise ApiError(415, "unsupported_media_type", "The body must be application/json.")
        create = check_create(parse_object(call.body), self.options)
        if create.callback_url is not None and not self.options.allow_internal_callbacks:
            self._check_name(create.callback_url)
        return create

    def _check_name(self, callback_url: str) -> None:
        """Raises ApiError 400 when the host's name is known to mean an internal address."""
        if known_inside(plain_host(urlsplit(callback_url), "callback_url"), self.options):
            raise invalid("callback_url", "callback_url must not point to an internal address.")

    def _idempotency_key(self, call: Call) -> str | None:
        key = call.headers.get("Idempotency-Key")
        if key is None or self.options.idempotency == "off":
            return None
        if not IDEMPOTENCY_KEY.fullmatch(key):
            raise invalid("Idempotency-Key", "Idempotency-Key must be 16 to 96 of A-Z a-z 0-9 . _ -")
        return str(key)

    def _first_frame(self, create: Create) -> tuple[tuple[int, int], str | None]:
        try:
            return first_frame(create.image_start, self.options), None
        except BadImageError as bad:
            if not self.options.late_image_check:
                raise invalid("image_start", str(bad)) from None
            return (0, 0), "image_processing_error"

    def _query(self, task_id: str, account: Account) -> Answer:
        if not task_id.startswith("task-unified-"):
            raise ApiError(400, "invalid_task_id", "A task id starts with task-unified-.", param="task_id")
        return self._json(self.world.read(account, task_id))

    def _credits(self, account: Account) -> Answer:
        left, used = self.world.balance(account)
        both = {"remaining_credits": left, "used_credits": used}
        body = {"success": True, "data": {"token": {**both, "unlimited_credits": False}, "user": both}}
        return self._json(body | EXTRA if self.options.extra_fields else body)

    def _json(self, body: Any, headers: dict[str, str] | None = None) -> Answer:
        return Answer(200, json.dumps(body).encode(), headers={"Cache-Control": "no-store", **(headers or {})})

    def _download(self, call: Call) -> Answer:
        """A result. Errors are an object store's XML: links are served by one, not by the API."""
        if call.method not in ("GET", "HEAD"):
            return _store_error(405, "MethodNotAllowed", {"Allow": "GET, HEAD"})
        token = LINK_PATH.fullmatch(call.path)
        found = self.world.linked(token[1]) if token else None
        if found is None:
            return _store_error(404, "NoSuchKey")
        task, works = found
        if not works:
            return _store_error(self.options.expired_status, "AccessDenied")
        width, height = video_size(task.size, QUALITIES[task.quality])
        return _part(video(width, height, task.duration), call)


def _no_route(call: Call) -> ApiError:
    return ApiError(404, "not_found", f"Invalid URL ({call.method} {call.path[:200]})")


def _allow(call: Call, *methods: str) -> None:
    if call.method not in methods:
        allowed = {"Allow": ", ".join(methods)}
        raise ApiError(405, "method_not_allowed", "The path does not support this method.", headers=allowed)


def _store_error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return Answer(status, body.encode(), "application/xml", dict(headers or {}))


def _part(data: bytes, call: Call) -> Answer:
    """The whole of `data`, or the one range asked for; several ranges at once are answered whole, as HTTP allows."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"Accept-Ranges": "bytes", "ETag": tag}
    asked = RANGE.fullmatch(call.headers.get("Range", "").strip())
    whole = call.method == "HEAD" or call.headers.get("If-Range", tag) != tag
    if asked is None or asked[0] == "bytes=-" or whole:
        return Answer(200, data, "video/mp4", headers)
    first, last = asked[1], asked[2]
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(len(data), int(last) + 1) if first and last else len(data)
    if first and last and int(last) < int(first):
        return Answer(200, data, "video/mp4", headers)
    if start >= len(data):
        return _store_error(416, "InvalidRange", {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Answer(206, data[start:stop], "video/mp4", headers)


def _chunk_size(line: bytes) -> int:
    """The size that starts a chunk; raises ValueError for a line that is none."""
    text = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{1,12}", text):
        raise ValueError("no chunk size")
    return int(text, 16)


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 around `Api`; every error of the protocol itself has the documented shape too."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    server: "Server"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # any method at all: an unknown one is a 405 of its path, not the library's 501
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        """Read the request to its end, answer it, hold the answer back where the options say so."""
        target = self.path if self.path.startswith("/") else urlsplit(self.path).path or "/"
        call = Call(self.command, target.partition("?")[0].partition("#")[0], self.headers)
        try:
            call.body, call.too_large = self._body()
        except ValueError:
            self.close_connection = True
            self._write(self.server.api.refusal(invalid(None, "The body is framed wrongly.")))
            return
        self._write(self.server.api.answer(call), call.method != "HEAD")

    def _body(self) -> tuple[bytes, bool]:
        """(body, whether it is over the limit); raises ValueError for a length that is none."""
        most = self.server.api.options.max_body
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunked(most)
        text = self.headers.get("Content-Length", "0")
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError(text)
        size = int(text)
        if size <= most:
            return self.rfile.read(size), False
        self._drain(size)
        return b"", True

    def _chunked(self, most: int) -> tuple[bytes, bool]:
        kept, seen = bytearray(), 0
        while size := _chunk_size(self.rfile.readline(100)):
            seen += size
            if seen <= most:
                kept += self.rfile.read(size)
            elif not self._drain(size) or seen > DRAIN_MAX:
                return b"", True
            self.rfile.readline(10)
        while self.rfile.readline(65536).strip():
            pass
        return bytes(kept), seen > most

    def _drain(self, size: int) -> bool:
        """Read `size` bytes and forget them; False (and the connection ends) when that is too many."""
        if size > DRAIN_MAX:
            self.close_connection = True
            return False
        while size > 0 and (block := self.rfile.read(min(size, 65536))):
            size -= len(block)
        return True

    def _write(self, answer: Answer, with_body: bool = True) -> None:
        self.server.stopped.wait(self.server.api.options.slow)
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}"]
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "x-request-id": uuid.uuid4().hex,
            **answer.headers,
        }
        if self.close_connection:
            headers["Connection"] = "close"
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wfile.write(head + (answer.body if with_body else b""))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses by itself (a broken request line, endless headers): 400, in the documented shape."""
        self.close_connection = True
        error = invalid(None, "The request is not valid HTTP.")
        self._write(self.server.api.refusal(error), with_body=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Quiet: the ledger is the record."""


class Server(ThreadingHTTPServer):
    """A thread a connection; TLS handshakes happen there, so that a stalled one stops nobody else."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, options: Options) -> None:
        self.api = Api(options)
        self.stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._tls: ssl.SSLContext | None = None
        try:
            if options.tls_cert is not None:
                self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._tls.load_cert_chain(options.tls_cert, options.tls_key)
            super().__init__((options.host, options.port), Handler)
        except BaseException:
            self.api.close()
            raise
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://{options.host}:{self.server_address[1]}"
        self.api.world.base_url = (options.public_url or self.url).rstrip("/")

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's thread: shake hands, then serve."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(Handler.timeout)
        with self._tls.wrap_socket(request, server_side=True) as secured:
            self._open.add(secured)
            try:
                super().finish_request(secured, client_address)
            finally:
                self._open.discard(secured)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that closing the server ends it."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no news; anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop listening, end every connection, stop the threads."""
        self.stopped.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.api.close()


class StandIn:
    """A running stand-in: `with StandIn(Options(...)) as s` or `with StandIn(queue=0.1, run=0.2) as s`."""

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        self.options = replace(options or Options(), **changes)
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self._server = Server(self.options)
        # A short poll: it is what closing waits for.
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.close()

    @property
    def running(self) -> Server:
        """The server; raises RuntimeError before it is entered."""
        if self._server is None:
            raise RuntimeError("use it in a with statement")
        return self._server

    @property
    def url(self) -> str:
        """Origin to call, without a slash at its end."""
        return self.running.url

    def ledger_rows(self) -> list[dict[str, Any]]:
        """Every row so far: `event` is accepted, replayed, refused, settled or refunded."""
        return list(self.running.api.world.ledger.rows)

    def attempt_rows(self) -> list[dict[str, Any]]:
        """Every callback attempt that ended: task_id, attempt, sent, ended, outcome, status."""
        return list(self.running.api.courier.rows)

    def balance(self, key: str) -> int | float:
        """Credits the account of `key` can still reserve."""
        return plain(self.running.api.world.accounts[key].balance)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; prints `ready URL` once it listens."""
    options = parse_options()

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with StandIn(options) as server:
        print(f"ready {server.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
