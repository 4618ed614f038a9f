"""First frames, good and bad, and a real image host on the loopback that serves them."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image
from standin_calls import serving


def png(width: int, height: int, **how: Any) -> bytes:
    """A PNG made by Pillow."""
    out = BytesIO()
    Image.new(how.pop("mode", "RGB"), (width, height)).save(out, "PNG", **how)
    return out.getvalue()


def picture(kind: str, width: int, height: int, **how: Any) -> bytes:
    """An image of another kind made by Pillow."""
    out = BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, kind, **how)
    return out.getvalue()


def lying_png(width: int, height: int) -> bytes:
    """A PNG whose checksums are right but which holds fewer rows than its header says."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((1 + width * 3) * (height - 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


GOOD = {
    "smallest": png(300, 300),
    "widest": png(750, 300),
    "tallest": png(300, 750),
    "grey": png(300, 300, mode="L"),
    "palette": png(300, 300, mode="P"),
    "one-bit": png(301, 300, mode="1"),
    "baseline": picture("JPEG", 640, 480),
    "progressive": picture("JPEG", 640, 480, progressive=True),
    "restarts": picture("JPEG", 640, 480, restart_marker_blocks=4),
}
BAD = {
    "too-small": png(299, 400),
    "too-wide": png(751, 300),
    "too-tall": png(300, 751),
    "gif": picture("GIF", 640, 480),
    "webp": picture("WEBP", 640, 480),
    "bmp": picture("BMP", 640, 480),
    "tiff": picture("TIFF", 640, 480),
    "text": b"hello",
    "nothing": b"",
    "short-png": png(640, 480)[:-20],
    "shorter-png": png(640, 480)[:60],
    "short-jpeg": picture("JPEG", 640, 480)[:-100],
    "bare-jpeg": b"\xff\xd8\xff\xd9",
    "lying-png": lying_png(640, 480),
    "too-big": png(640, 480) + bytes(50 * 1024 * 1024),
}


class Patient(BaseHTTPRequestHandler):
    """Says nothing on the terminal, and does not mind who hangs up: a stand-in does on what is too large or takes too long."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()


@contextmanager
def gallery() -> Iterator[str]:
    """A real image host on the loopback: /good/NAME, /bad/NAME, /moved, /cut."""

    class Images(Patient):
        def do_GET(self) -> None:
            kind, _, name = self.path[1:].partition("/")
            data = {"good": GOOD, "bad": BAD}.get(kind, {}).get(name, GOOD["baseline"])
            self.send_response({"moved": 302, "gone": 404}.get(kind, 200))
            self.send_header("Location", "/good/baseline")
            self.send_header("Content-Length", str(len(data) + 9 * (kind == "cut")))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"
