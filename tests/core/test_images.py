"""First frames judged on real bytes, and the host that draws them."""

import functools
import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from kling_mock.core.policies import ImageRules
from kling_mock.media import pictures
from kling_mock.media.images import BadImage, draw, inspect, is_picture, parse_drawing, read_capped

RULES = ImageRules(("jpeg", "png"), 52_428_800, 300, Fraction(2, 5), Fraction(5, 2))
ANY_SHAPE = ImageRules(("jpeg", "png"), 52_428_800, 1, Fraction(1, 1000), Fraction(1000))
CODES = {"image_processing_error", "image_dimension_mismatch"}


def drawn(path: str, query: str = "") -> bytes:
    """File that the drawing host gives for a URL that it can serve."""
    drawing = parse_drawing(path, query)
    assert drawing is not None
    answer = draw(drawing)
    assert answer.status == 200, answer.data
    return answer.data


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    """File of *picture* in Pillow's format *form*."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def refusal(data: bytes, rules: ImageRules = RULES) -> BadImage:
    """The BadImage that *data* meets, checked for what every refusal has."""
    with pytest.raises(BadImage) as caught:
        inspect(data, rules)
    assert caught.value.code in CODES
    assert caught.value.message == str(caught.value)
    assert "\n" not in caught.value.message
    return caught.value


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("path", "form"), [("/640x480.jpg", "jpeg"), ("/640x480.jpeg", "jpeg"), ("/640x480.png", "png")]
)
def test_a_good_frame_keeps_its_bytes(path, form):
    """What passes comes back with its own bytes, format and size."""
    data = drawn(path)

    frame = inspect(data, RULES)

    assert (frame.data, frame.format, frame.width, frame.height) == (data, form, 640, 480)


@pytest.mark.parametrize("other", ["gif", "webp", "bmp", "tiff"])
def test_a_disguised_file_is_refused_by_its_content(other):
    """A GIF named .jpg is a GIF, and the refusal names it and what is allowed."""
    error = refusal(drawn("/400x400.jpg", f"as={other}"))

    assert error.code == "image_processing_error"
    assert other.upper() in error.message
    assert "jpeg, png" in error.message


def test_a_png_named_jpg_is_fine():
    """The name is no evidence."""
    assert inspect(drawn("/400x400.jpg", "as=png"), RULES).format == "png"


def test_the_allowed_formats_are_the_rules_alone():
    """A contract that allows WebP and no JPEG is followed with no change of code."""
    rules = ImageRules(("webp",), RULES.max_bytes, 300, RULES.ratio_min, RULES.ratio_max)

    assert inspect(drawn("/400x400.jpg", "as=webp"), rules).format == "webp"
    assert "JPEG" in refusal(drawn("/400x400.jpg"), rules).message


@pytest.mark.parametrize("size", [(750, 300), (300, 750), (300, 300), (1000, 400), (400, 1000)])
def test_the_bounds_of_side_and_ratio_are_inside(size):
    """300 pixels and exactly 2.5:1 are allowed, both ways round."""
    frame = inspect(drawn("/{}x{}.png".format(*size)), RULES)

    assert (frame.width, frame.height) == size


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((751, 300), "2.5:1"),
        ((300, 751), "1:2.5"),
        ((2501, 1000), "2.501:1"),
        ((299, 300), "at least 300"),
        ((300, 299), "at least 300"),
        ((1, 1), "at least 300"),
    ],
)
def test_one_pixel_past_a_bound_is_refused(size, told):
    """The ratio is exact, not a rounded fraction, and the refusal says what was seen and what is allowed."""
    error = refusal(drawn("/{}x{}.png".format(*size)))

    assert error.code == "image_dimension_mismatch"
    assert "{}x{}".format(*size) in error.message
    assert told in error.message


@given(width=st.integers(1, 4000), height=st.integers(1, 4000))
@example(750, 300)
@example(751, 300)
def test_shape_is_judged_as_integers_say(width, height):
    """For any size, side and ratio are judged as whole-number arithmetic judges them."""
    fits = min(width, height) >= 300 and 5 * height >= 2 * width and 5 * width >= 2 * height
    error = refusal(png_header(width, height))

    # There are no pixels behind the header: a good shape fails later, in the decoder.
    assert error.code == ("image_processing_error" if fits else "image_dimension_mismatch")


def test_size_in_bytes_counts_to_the_last_one():
    """Exactly the limit passes, one byte more does not."""
    rules = ImageRules(("png",), 500_000, 300, RULES.ratio_min, RULES.ratio_max)

    assert len(inspect(drawn("/400x400.png", "bytes=500000"), rules).data) == 500_000
    error = refusal(drawn("/400x400.png", "bytes=500001"), rules)
    assert error.code == "image_processing_error"
    assert "500001" in error.message
    assert "500000" in error.message


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_file_is_refused(suffix):
    """A file cut half-way has a perfect header; only reading its pixels finds it."""
    error = refusal(drawn(f"/640x480.{suffix}", "truncated"))

    assert error.code == "image_processing_error"
    assert "truncated" in error.message


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_anywhere_is_found(suffix, share):
    """Early or late, a cut in the pixels is found; a progressive JPEG included."""
    picture = pictures.paint(320, 320, 1)
    files = [drawn(f"/320x320.{suffix}")]
    if suffix == "jpg":
        files.append(saved(picture, "JPEG", progressive=True))

    for data in files:
        assert refusal(data[: int(len(data) * share)]).code == "image_processing_error"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"no image",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"<!doctype html><title>404</title>",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='400' height='400'/>",
        b"%PDF-1.7\n",
        b"\0\0\0\x20ftypheic" + bytes(64),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 400 400\n",
    ],
)
def test_garbage_is_refused(data):
    """What is no image, or only begins like one, is one clear refusal."""
    assert refusal(data).code == "image_processing_error"


@pytest.mark.parametrize("size", [(9_500, 9_500), (12_000, 12_000)])
def test_a_large_picture_without_data_is_refused(size):
    """A header that promises many pixels and brings none."""
    assert refusal(png_header(*size)).code == "image_processing_error"


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_never_decoded(size):
    """A picture that would fill the memory is refused on its header, however far past the bound it is."""
    assert refusal(png_header(*size)).code == "image_dimension_mismatch"


MODES = {
    "animated PNG": lambda picture: saved(picture, "PNG", save_all=True, append_images=[picture.rotate(180)]),
    "grey PNG": lambda picture: saved(picture.convert("L"), "PNG"),
    "16-bit PNG": lambda picture: saved(picture.convert("L").convert("I;16").point(lambda v: v * 257), "PNG"),
    "palette PNG": lambda picture: saved(picture.quantize(64), "PNG"),
    "palette PNG with a clear colour": lambda picture: saved(picture.quantize(64), "PNG", transparency=3),
    "black and white PNG": lambda picture: saved(picture.convert("1"), "PNG"),
    "RGBA PNG": lambda picture: saved(picture.convert("RGBA"), "PNG"),
    "grey and alpha PNG": lambda picture: saved(picture.convert("LA"), "PNG"),
    "grey JPEG": lambda picture: saved(picture.convert("L"), "JPEG"),
    "CMYK JPEG": lambda picture: saved(picture.convert("CMYK"), "JPEG"),
    "progressive JPEG": lambda picture: saved(picture, "JPEG", progressive=True),
    "phone JPEG (MPO)": lambda picture: saved(picture, "MPO", save_all=True, append_images=[picture.resize((80, 60))]),
}


@pytest.mark.parametrize("kind", MODES)
def test_every_kind_of_png_and_jpeg_is_taken_and_seen(kind):
    """Whatever its mode, it passes, under its family's name, and becomes RGB that looks like the original."""
    original = pictures.paint(400, 300, 5)
    data = MODES[kind](original)

    frame = inspect(data, RULES)

    assert (frame.width, frame.height) == (400, 300)
    assert frame.format == ("png" if "PNG" in kind else "jpeg")
    seen = pictures.upright(data, 400)
    assert (seen.mode, seen.size) == ("RGB", (400, 300))
    if kind != "black and white PNG":
        apart = ImageStat.Stat(ImageChops.difference(seen.convert("L"), original.convert("L"))).mean[0]
        assert apart < 12


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_what_a_viewer_sees(form, orientation):
    """EXIF orientations 5 to 8 lie on their side: width and height change places, as in any viewer."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(pictures.paint(600, 300, 5), form, exif=exif)

    frame = inspect(data, RULES)

    assert (frame.width, frame.height) == ((300, 600) if orientation >= 5 else (600, 300))
    assert pictures.upright(data, 600).size == (frame.width, frame.height)


def test_clear_pixels_are_seen_on_white():
    """What a viewer shows behind transparency is no leftover colour."""
    data = saved(Image.new("RGBA", (300, 300), (255, 0, 0, 0)), "PNG")

    assert pictures.upright(data, 300).getpixel((10, 10)) == (255, 255, 255)


@functools.cache
def _seeds() -> list[bytes]:
    """Small real files to damage."""
    picture = pictures.paint(64, 48, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    return [
        saved(picture, "JPEG", exif=exif),
        saved(picture, "JPEG", progressive=True),
        saved(picture, "PNG", exif=exif),
        MODES["animated PNG"](picture),
        MODES["phone JPEG (MPO)"](picture),
        saved(picture, "GIF"),
        saved(picture, "WEBP"),
        saved(picture, "TIFF"),
    ]


@st.composite
def damaged(draw_from):
    """A real file with some bytes changed, a piece cut out or put in, or its end missing."""
    data = bytearray(draw_from(st.sampled_from(_seeds())))
    for _ in range(draw_from(st.integers(0, 6))):
        place = draw_from(st.integers(0, max(0, len(data) - 1)))
        # Most of the interest is in the headers.
        place = min(place, draw_from(st.sampled_from([40, 300, len(data)])))
        piece = draw_from(st.binary(max_size=8))
        data[place : place + draw_from(st.integers(0, 8))] = piece
    return bytes(data[: draw_from(st.integers(0, len(data)))]) if draw_from(st.booleans()) else bytes(data)


@settings(max_examples=400, deadline=None)
@given(data=st.one_of(damaged(), st.binary(max_size=200)))
def test_whatever_arrives_is_a_frame_or_a_bad_image(data):
    """No bytes make anything but a FirstFrame or a BadImage with a documented code and one line."""
    try:
        frame = inspect(data, ANY_SHAPE)
    except BadImage as error:
        assert error.code in CODES  # noqa: PT017 - either end is right, this checks the one that came
        assert "\n" not in error.message  # noqa: PT017
    else:
        assert frame.data == data
        assert frame.format in ANY_SHAPE.formats


@given(chunks=st.lists(st.binary(max_size=20)), limit=st.integers(0, 100))
def test_capped_reading_gives_all_or_refuses(chunks, limit):
    """Up to the limit the bytes come back unchanged; past it nothing does."""
    whole = b"".join(chunks)
    if len(whole) <= limit:
        assert read_capped(chunks, limit) == whole
    else:
        with pytest.raises(BadImage, match=f"at most {limit} bytes"):
            read_capped(chunks, limit)


def test_capped_reading_stops_at_once_and_holds_little():
    """An endless body is left at the chunk that passes the limit, with no more than the limit and that chunk held."""
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(100_000)

    tracemalloc.start()
    try:
        with pytest.raises(BadImage):
            read_capped(endless(), 10_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken == 101
    assert peak < 12_000_000


def test_importing_the_modules_loads_neither_pillow_nor_pyav():
    """A server that only starts pays for neither."""
    code = (
        "import sys, kling_mock.media.images, kling_mock.media.videos; print(sorted({'PIL', 'av'} & set(sys.modules)))"
    )

    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert seen.stdout.strip() == "[]"


@pytest.mark.parametrize("text", [b"P3\n3 2\n255\n1 2 3\nsecret", b"P1 1 1 1"])
def test_text_is_no_picture(text: bytes) -> None:
    """Formats without a mark of their own: Pillow opens them, and a page of words may pass for one."""
    assert Image.open(io.BytesIO(text)).size
    assert not is_picture(text)
