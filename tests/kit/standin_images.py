"""First frames: fetched for real and read by hand (no imaging library), or judged by the URL on a test host."""

import re
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from urllib.parse import SplitResult, parse_qs, urljoin, urlsplit

from standin_checks import plain_host
from standin_facts import IMAGE_MAX, IMAGE_SIDE_MIN, ApiError, Options, ticks
from standin_net import connect, origin, receive, send, target

FETCH_SECONDS = 10.0
INFLATE_MAX = 256 * 1024 * 1024  # bytes of pixels looked at; beyond it the rest is believed
PNG_START = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type -> samples of a pixel
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
NOT_A_SIZE = {0xC4, 0xC8, 0xCC}  # markers among the SOF numbers that carry no dimensions
BARE_MARKERS = {0x01, *range(0xD0, 0xD8)}

Size = tuple[int, int]


class BadImageError(Exception):
    """The first frame cannot be used; the text says why and is safe to show."""


def first_frame(url: str, options: Options) -> Size:
    """Width and height of the image at `url`; raises BadImageError when the document does not allow it."""
    try:
        parts = urlsplit(url)
        on_test_host = plain_host(parts, "image_start") in options.image_hosts
        size = drawn(parts) if on_test_host else inspect(fetch(url, options))
    except (OSError, HTTPException, ApiError, ValueError):
        raise BadImageError("The image could not be fetched.") from None
    check_size(*size)
    return size


def check_size(width: int, height: int) -> None:
    """Raises BadImageError unless both sides are long enough and the ratio is within 1:2.5 and 2.5:1, both included."""
    if min(width, height) < IMAGE_SIDE_MIN:
        raise BadImageError(f"Width and height must be at least {IMAGE_SIDE_MIN} px.")
    if 2 * max(width, height) > 5 * min(width, height):
        raise BadImageError("The aspect ratio must be between 1:2.5 and 2.5:1.")


def drawn(parts: SplitResult) -> Size:
    """The verdict on a test image such as /1280x720.png?bytes=N&truncated&as=gif&status=404, told by its URL alone."""
    found = re.fullmatch(r"/(\d{1,6})x(\d{1,6})\.(\w+)", parts.path)
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if found is None or query.get("status", "200") != "200":
        raise BadImageError("The image could not be fetched.")
    if query.get("as", found[3]).lower() not in ("png", "jpg", "jpeg"):
        raise BadImageError("The image is neither JPEG nor PNG.")
    if not query.get("bytes", "0").isdigit() or int(query.get("bytes", "0")) > IMAGE_MAX:
        raise BadImageError("The image is over 50 MB.")
    if "truncated" in query:
        raise BadImageError("The image is truncated.")
    return int(found[1]), int(found[2])


def fetch(url: str, options: Options, redirects: int = 1) -> bytes:
    """The bytes at `url`, at most one redirect; raises BadImageError, OSError or HTTPException."""
    until = ticks() + FETCH_SECONDS
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise BadImageError("The image could not be fetched.")
    head = [f"GET {target(parts)} HTTP/1.1", f"Host: {origin(parts)}", "Accept: image/*", "Connection: close"]
    with connect(parts, options, until, public_only=False) as sock:
        send(sock, until, head)
        answer, data = receive(sock, until, most=IMAGE_MAX)
    place = answer.getheader("Location")
    if answer.status in (301, 302, 303, 307, 308) and place and redirects:
        return fetch(urljoin(url, place), options, redirects - 1)
    if answer.status != 200:
        raise BadImageError("The image could not be fetched.")
    if len(data) > IMAGE_MAX:
        raise BadImageError("The image is over 50 MB.")
    return data


def inspect(data: bytes) -> Size:
    """Width and height of a whole PNG or JPEG; the bytes decide, no name does. Raises BadImageError."""
    try:
        if data.startswith(PNG_START):
            return _png(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
    except IndexError:
        raise BadImageError("The image is truncated.") from None
    raise BadImageError("The image is neither JPEG nor PNG.")


def _png(data: bytes) -> Size:
    chunks = list(_png_chunks(data))
    if [chunks[0][0], chunks[-1][0]] != [b"IHDR", b"IEND"] or len(chunks[0][1]) != 13:
        raise BadImageError("The image is not a PNG.")
    head = chunks[0][1]
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    depth, colour, interlaced = head[8], head[9], head[12]
    if not width or not height or depth not in DEPTHS.get(colour, ()) or head[10] or head[11] or interlaced > 1:
        raise BadImageError("The image is not a PNG.")
    if colour == 3 and not any(name == b"PLTE" for name, _ in chunks):
        raise BadImageError("The image has no palette.")
    wanted = _png_bytes(width, height, depth * CHANNELS[colour], bool(interlaced))
    _check_pixels([content for name, content in chunks if name == b"IDAT"], wanted)
    return width, height


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, at = memoryview(data), len(PNG_START)
    while at < len(data):
        size = int.from_bytes(view[at : at + 4], "big")
        content, sum_at = view[at + 8 : at + 8 + size], at + 8 + size
        if sum_at + 4 > len(data):
            raise BadImageError("The image is truncated.")
        if zlib.crc32(view[at + 4 : sum_at]) != int.from_bytes(view[sum_at : sum_at + 4], "big"):
            raise BadImageError("The image is damaged.")
        name = bytes(view[at + 4 : at + 8])
        yield name, content
        if name == b"IEND":
            return
        at = sum_at + 4
    raise BadImageError("The image is truncated.")


def _png_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of the inflated pixel data: each row has a filter byte before it."""
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    total = 0
    for x, y, step_x, step_y in ADAM7:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _check_pixels(parts: list[memoryview], wanted: int) -> None:
    inflate, seen = zlib.decompressobj(), 0
    try:
        for part in parts:
            waiting: bytes | memoryview = part
            while waiting and seen < min(wanted, INFLATE_MAX):
                seen += len(inflate.decompress(waiting, 1 << 20))
                waiting = inflate.unconsumed_tail
    except zlib.error:
        raise BadImageError("The image is damaged.") from None
    if seen < min(wanted, INFLATE_MAX):
        raise BadImageError("The image is truncated.")


def _jpeg(data: bytes) -> Size:
    """Walk the segments to the end-of-image marker; dimensions stand in the first start-of-frame."""
    at, size, scans = 2, None, 0
    while True:
        marker, at = _jpeg_marker(data, at)
        if marker == 0xD9:
            break
        if marker in BARE_MARKERS:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise BadImageError("The image is truncated.")
        if 0xC0 <= marker <= 0xCF and marker not in NOT_A_SIZE and size is None:
            size = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 3 : at + 5], "big")
        at += length
        if marker == 0xDA:
            scans, at = scans + 1, _after_scan(data, at)
    if size is None or not all(size) or not scans:
        raise BadImageError("The image is not a JPEG.")
    return size


def _jpeg_marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at `at` (fill bytes skipped) and where its segment starts."""
    if data[at] != 0xFF:
        raise BadImageError("The image is damaged.")
    while data[at] == 0xFF:
        at += 1
    return data[at], at + 1


def _after_scan(data: bytes, at: int) -> int:
    """Where the next real marker is: in scan data FF 00 is a byte and FF D0..D7 a restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise BadImageError("The image is truncated.")
        if data[at + 1] not in (0x00, 0xFF, *range(0xD0, 0xD8)):
            return at
        at += 1 if data[at + 1] == 0xFF else 2
