"""What a picture would cost to decode, found from its bytes: files that are small and costly are refused or judged by their structure.

The bounds protect the fake. The service has none of them, so a large picture that is merely large is taken: its header says what
counts, and its data is gone through without keeping it.
"""

import threading
import zlib
from collections.abc import Iterator

MOST_PIXELS = 2**25
"""Pixels of a picture that is decoded whole: 128 MiB at four bytes each."""

_MOST_PROGRESSIVE = 2**24  # six bytes a pixel
_MOST_WEBP = 2**23  # sixteen: three canvases for its animations, and the picture

_MOST_CHUNKS = 20_000  # 50 MB in pieces of 8 KB, as common encoders write them, are 6,400
_SCANS_AT_ANY_SIZE = 16  # a progressive JPEG has about ten
_MOST_SCANS = 100
_MOST_SCANNED_PIXELS = 2**28
_MOST_INFLATED = 2**29
_PIECE = 2**16
_CHANNELS = {2: 3, 4: 2, 6: 4}
_PNG, _JPEG, _WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF"
_PROGRESSIVE = (b"\xff\xc2", b"\xff\xc6", b"\xff\xca", b"\xff\xce")

decoding = threading.BoundedSemaphore(2)
"""Held while a picture is decoded: so many at once, whatever the number of requests."""


class Costly(Exception):
    """The file asks for more work than any picture needs; the message says of what."""


def is_decoded(data: bytes, pixels: int) -> bool:
    """Return whether a picture of so many *pixels* is decoded to be sure of it; one that is not has passed `check` alone."""
    if data.startswith(_WEBP):
        return pixels <= _MOST_WEBP
    if not data.startswith(_JPEG):
        return pixels <= MOST_PIXELS
    return pixels <= _MOST_PROGRESSIVE or not _is_progressive(data)  # the others are decoded at an eighth of their size


def check(data: bytes, pixels: int) -> None:
    """Go through the structure of a picture.

    Raises:
        Costly: it has more scans or chunks than a picture needs.
        ValueError: it is too large to be decoded, and cut short or broken.
    """
    if data.startswith(_PNG):
        _check_png(data, whole=pixels <= MOST_PIXELS)
    elif data.startswith(_JPEG):
        _check_jpeg(data, pixels)
    elif not is_decoded(data, pixels) and len(data) < _announced(data):
        raise ValueError("image file is truncated")


def _announced(data: bytes) -> int:
    """Return the bytes that a WebP or BMP says it has."""
    if data.startswith(_WEBP):
        return int.from_bytes(data[4:8], "little") + 8
    return int.from_bytes(data[2:6], "little") if data.startswith(b"BM") else 0


def _check_jpeg(data: bytes, pixels: int) -> None:
    scans = data.count(b"\xff\xda")  # in a scan's own data 0xFF is followed by 0
    if scans > _SCANS_AT_ANY_SIZE and (scans > _MOST_SCANS or scans * pixels > _MOST_SCANNED_PIXELS):
        raise Costly(f"it has {scans} scans; a progressive JPEG needs about ten")
    if not is_decoded(data, pixels) and b"\xff\xd9" not in data[-_PIECE:]:
        raise ValueError("image file is truncated")


def _is_progressive(data: bytes) -> bool:
    head = data[: data.find(b"\xff\xda") + 2 or None]
    return any(marker in head for marker in _PROGRESSIVE)


def _check_png(data: bytes, *, whole: bool) -> None:
    pieces = _image_data(data)
    if whole:
        for _ in pieces:
            continue
        return
    inflate, size = zlib.decompressobj(), 0
    for piece in pieces:
        rest = piece
        while rest and size < _MOST_INFLATED:
            try:
                size += len(inflate.decompress(rest, _PIECE))
            except zlib.error as error:
                raise ValueError(f"broken PNG file: {error}") from error
            rest = inflate.unconsumed_tail
    if size < min(_least(data), _MOST_INFLATED):
        raise ValueError("image file is truncated")


def _least(data: bytes) -> int:
    """Return the bytes that the pixels of a PNG take at least, by its header."""
    width, height, bits, colours = int.from_bytes(data[16:20]), int.from_bytes(data[20:24]), data[24], data[25]
    return height * (width * bits * _CHANNELS.get(colours, 1) // 8)


def _image_data(data: bytes) -> Iterator[bytes]:
    """Yield the content of each IDAT chunk.

    Raises:
        Costly: there are too many chunks.
    """
    at, chunks = len(_PNG), 0
    while at + 8 <= len(data):
        chunks += 1
        if chunks > _MOST_CHUNKS:
            raise Costly(f"it has more than {_MOST_CHUNKS} chunks")
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        if kind == b"IEND":
            return
        at += length + 12
