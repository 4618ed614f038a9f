"""Small files that ask for much work: refused, or judged without being decoded; and large pictures that are merely large."""

import functools
import io
import struct
import threading
import zlib
from fractions import Fraction
from typing import Any

import pytest

from kling_mock.core.policies import ImageRules
from kling_mock.media import costs, images, pictures
from kling_mock.media.images import BadImage, inspect

RULES = ImageRules(("jpeg", "png"), 52_428_800, 300, Fraction(2, 5), Fraction(5, 2))
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@functools.cache
def png(width: int, height: int, *more: bytes, cut: int = 0) -> bytes:
    """A PNG of one bit a pixel, its data cut short by so many bytes, with *more* chunks."""
    rows = zlib.compress(bytes(-(-width // 8) + 1) * height, 1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return SIGNATURE + header + b"".join(more) + chunk(b"IDAT", rows[: len(rows) - cut]) + chunk(b"IEND")


def jpeg(width: int = 640, height: int = 480, **options: Any) -> bytes:
    """A progressive JPEG."""
    buffer = io.BytesIO()
    pictures.paint(width, height, 1).save(buffer, "JPEG", progressive=True, **options)
    return buffer.getvalue()


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = jpeg()
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[start:end] * count + data[end:]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was decoded."""
    seen: list[Any] = []
    decode = images._decode
    monkeypatch.setattr(images, "_decode", lambda picture: seen.append(picture.size) or decode(picture))
    return seen


def refusal(data: bytes) -> BadImage:
    """Why *data* is refused."""
    with pytest.raises(BadImage) as caught:
        inspect(data, RULES)
    return caught.value


def test_a_jpeg_of_thousands_of_scans(decoded: list[Any]) -> None:
    """Refused by counting them."""
    error = refusal(many_scans(2000))

    assert error.code == "image_processing_error"
    assert "scans" in error.message
    assert not decoded


def test_a_progressive_jpeg_as_cameras_and_tools_make_it(decoded: list[Any]) -> None:
    """Some ten scans, and a few more, are decoded at any size that is decoded at all."""
    for data in (jpeg(), many_scans(4)):
        assert inspect(data, RULES).width == 640
    assert len(decoded) == 2


def test_a_png_of_many_chunks(decoded: list[Any]) -> None:
    """Refused before any decoder goes through them."""
    error = refusal(png(400, 400, chunk(b"teXt") * 100_000))

    assert error.code == "image_processing_error"
    assert "chunks" in error.message
    assert not decoded


def test_a_hundred_megapixels_break_no_limit(decoded: list[Any]) -> None:
    """Within the bytes of a first frame, judged by its header and gone through, not decoded."""
    found = inspect(png(12_000, 9_000), RULES)

    assert (found.width, found.height) == (12_000, 9_000)
    assert not decoded


@pytest.mark.parametrize("cut", [100, 1000])
def test_a_large_picture_that_is_cut(cut: int) -> None:
    """It is seen without decoding."""
    assert refusal(png(12_000, 9_000, cut=cut)).code == "image_processing_error"


def test_a_large_picture_with_broken_data() -> None:
    """So is data that is none."""
    data = bytearray(png(12_000, 9_000))
    data[200:300] = bytes(100)

    assert refusal(bytes(data)).code == "image_processing_error"


def test_a_large_progressive_jpeg_is_not_decoded(monkeypatch: pytest.MonkeyPatch, decoded: list[Any]) -> None:
    """Its coefficients would all be held; a baseline one is decoded at an eighth of its size."""
    monkeypatch.setattr(costs, "_MOST_PROGRESSIVE", 100_000)

    assert inspect(jpeg(), RULES).width == 640
    assert refusal(jpeg()[:-300]).code == "image_processing_error"
    assert not decoded
    buffer = io.BytesIO()
    pictures.paint(640, 480, 1).save(buffer, "JPEG")
    assert inspect(buffer.getvalue(), RULES).width == 640
    assert decoded


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"Exif\0\0garbage", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 9])
def test_broken_exif_is_metadata(exif: bytes) -> None:
    """A picture with it is a picture, and a video can be made of it."""
    data = png(400, 400, chunk(b"eXIf", exif))

    assert inspect(data, RULES).width == 400
    assert pictures.upright(data, 100).size == (400, 400)


def test_few_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests bring one."""
    inside, most, both = [0], [0], threading.Barrier(2, timeout=20)
    lock = threading.Lock()

    def decode(picture: Any) -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        both.wait()
        with lock:
            inside[0] -= 1

    monkeypatch.setattr(images, "_decode", decode)
    data = png(400, 400)
    threads = [threading.Thread(target=inspect, args=(data, RULES)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert most[0] == 2


GUARDS = {
    "scans": (many_scans(2000), "_MOST_SCANS", 10**6, "_MOST_SCANNED_PIXELS", 10**12),
    "chunks": (png(400, 400, chunk(b"teXt") * 100_000), "_MOST_CHUNKS", 10**6, "_MOST_CHUNKS", 10**6),
    "pixels": (png(12_000, 9_000), "MOST_PIXELS", 2**30, "MOST_PIXELS", 2**30),
}


@pytest.mark.parametrize("name", GUARDS)
def test_each_bound_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the file goes to the decoder."""
    data, first, most, second, more = GUARDS[name]
    seen: list[Any] = []
    monkeypatch.setattr(images, "_decode", seen.append)
    monkeypatch.setattr(costs, first, most)
    monkeypatch.setattr(costs, second, more)

    inspect(data, RULES)

    assert seen


ANY = ImageRules(("jpeg", "png", "webp", "bmp"), 52_428_800, 300, None, None)


def painted(form: str, width: int = 640, height: int = 480) -> bytes:
    """A picture of another format."""
    buffer = io.BytesIO()
    pictures.paint(width, height, 1).save(buffer, form)
    return buffer.getvalue()


def huge_webp() -> bytes:
    """34 bytes that stand for 131 megapixels, of which a decoder makes two gigabytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (1200, 900)).save(buffer, "WEBP", lossless=True, method=0)
    data = bytearray(buffer.getvalue())
    at = data.index(b"VP8L") + 9
    sides = int.from_bytes(data[at : at + 4], "little") & ~((1 << 28) - 1) | (16_383 - 1) | (8_000 - 1) << 14
    data[at : at + 4] = sides.to_bytes(4, "little")
    return bytes(data)


def test_a_huge_webp_is_judged_by_its_header(decoded: list[Any]) -> None:
    """Its sides are in its first bytes."""
    found = inspect(huge_webp(), ANY)

    assert (found.width, found.height) == (16_383, 8_000)
    assert not decoded
    assert refusal_of(huge_webp()[:-4]).code == "image_processing_error"


def refusal_of(data: bytes) -> BadImage:
    """Why *data* is refused where all formats are taken."""
    with pytest.raises(BadImage) as caught:
        inspect(data, ANY)
    return caught.value


@pytest.mark.parametrize(("form", "bound"), [("WEBP", "_MOST_WEBP"), ("BMP", "MOST_PIXELS")])
def test_other_formats_have_bounds_too(
    form: str, bound: str, monkeypatch: pytest.MonkeyPatch, decoded: list[Any]
) -> None:
    """Decoded up to it, and beyond it only gone by their own length."""
    data = painted(form)
    assert inspect(data, ANY).width == 640
    assert len(decoded) == 1

    monkeypatch.setattr(costs, bound, 100_000)
    assert inspect(data, ANY).width == 640
    assert refusal_of(data[:-300]).code == "image_processing_error"
    assert len(decoded) == 1


def test_no_more_is_inflated_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that is too large to be decoded is gone through so far, and no further, however much its data comes to."""
    pieces = []

    class Counting:
        """Inflates, and notes each piece."""

        def __init__(self) -> None:
            self._real = zlib_decompressobj()
            self.unconsumed_tail = b""

        def decompress(self, data: bytes, most: int) -> bytes:
            """One piece."""
            found = self._real.decompress(data, most)
            self.unconsumed_tail = self._real.unconsumed_tail
            pieces.append(len(found))
            return found

    zlib_decompressobj = zlib.decompressobj
    monkeypatch.setattr(costs, "_MOST_INFLATED", 1 << 20)
    monkeypatch.setattr(costs.zlib, "decompressobj", Counting)

    assert inspect(png(12_000, 9_000), RULES).width == 12_000
    assert sum(pieces) <= (1 << 20) + costs._PIECE
