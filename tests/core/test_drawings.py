"""The drawing host `image.test`, and the pictures it paints."""

import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kling_mock.media import pictures
from kling_mock.media.images import Drawing, Drawn, draw, parse_drawing


def answer_to(path: str, query: str = "") -> Drawn:
    """What the drawing host answers a URL that names a size."""
    drawing = parse_drawing(path, query)
    assert drawing is not None
    return draw(drawing)


@pytest.mark.parametrize("form", ["gif", "webp", "bmp", "tiff", "png", "jpeg"])
@pytest.mark.parametrize("padding", ["", "&bytes=400000"])
def test_drawings_are_real_files_of_their_format(form, padding):
    """Every offered format decodes, padded or not, at the size asked for, and says what it is."""
    answer = answer_to("/320x200.png", f"as={form}{padding}")

    with Image.open(io.BytesIO(answer.data)) as picture:
        picture.load()
        assert (picture.format, picture.size) == (form.upper(), (320, 200))
    assert answer.content_type == f"image/{form}"
    if padding:
        assert len(answer.data) == 400_000


def test_a_padded_file_has_exactly_its_bytes_and_costs_them_once():
    """60 MB are 60 MB, not a multiple of them on the way, and still a picture."""
    drawing = parse_drawing("/1280x720.jpg", "bytes=60000000")
    assert drawing is not None
    draw(Drawing(1280, 720, "jpeg"))  # painted once and kept, so that only the padding is measured

    tracemalloc.start()
    try:
        data = draw(drawing).data
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(data) == 60_000_000
    assert peak < 61_000_000
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()


def test_a_status_is_a_page_and_no_picture():
    """`?status=404` answers as a host does that has no such picture."""
    answer = answer_to("/400x400.jpg", "status=404")

    assert answer.status == 404
    assert answer.content_type.startswith("text/html")
    assert answer.data.startswith(b"<!doctype html>")
    assert b"404 Not Found" in answer.data


@pytest.mark.parametrize(
    "path", ["/", "/cat.png", "/1280.png", "/1280x720", "/axb.png", "/1280x720.png/x", "/-1x5.png", ""]
)
def test_a_path_that_names_no_size_is_no_drawing(path):
    """The caller answers 404 for it."""
    assert parse_drawing(path, "") is None


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("/0x400.png", "", "0x400"),
        ("/20000x400.png", "", "16383"),
        ("/16000x16000.png", "", "33177600"),
        ("/400x400.gif", "", "?as="),
        ("/400x400.png", "as=heic", "heic"),
        ("/400x400.png", "bytes=10", "before it is padded"),
        ("/400x400.png", "bytes=0", "whole number"),
        ("/400x400.png", "bytes=-1", "whole number"),
        ("/400x400.png", "bytes=999999999999", "268435456"),
        ("/400x400.png", "bytes=" + "9" * 5000, "whole number"),
        ("/400x400.png", "bytes=%D9%A3%D9%A3%D9%A3", "whole number"),
        ("/400x400.png", "status=700", "status"),
        ("/400x400.png", "status=302", "status"),
        ("/400x400.png", "truncated=no", "truncated"),
        ("/400x400.png", "truncated&bytes=500000", "together"),
        ("/400x400.png", "size=3", "as, bytes, status, truncated"),
        ("/400x400.png", "as=png&as=gif", "twice"),
    ],
)
def test_a_drawing_that_cannot_be_made_says_why(path, query, told):
    """A 400 with one readable line."""
    answer = answer_to(path, query)

    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    text = answer.data.decode()
    assert told in text
    assert text.count("\n") == 1


@settings(max_examples=60, deadline=None)
@given(
    path=st.one_of(st.text(max_size=20), st.from_regex(r"/[0-9]{1,3}x[0-9]{1,3}\.(png|jpg|gif)", fullmatch=True)),
    query=st.one_of(
        st.text(max_size=30), st.from_regex(r"(as|bytes|status|truncated)=[a-z0-9%&=]{0,8}", fullmatch=True)
    ),
)
def test_any_url_gets_an_answer(path, query):
    """Arbitrary paths and queries give no drawing, or an answer that can be sent."""
    drawing = parse_drawing(path, query)
    if drawing is not None:
        answer = draw(drawing)
        assert 200 <= answer.status <= 599
        assert answer.data


def test_drawings_differ_by_size_and_repeat_exactly():
    """One URL is always the same bytes, and another size is another picture."""
    assert answer_to("/320x200.png") == answer_to("/320x200.png")
    assert answer_to("/320x200.png") != answer_to("/320x201.png")
    assert pictures.paint(320, 200, 1).tobytes() == pictures.paint(320, 200, 1).tobytes()
    assert pictures.paint(320, 200, 1).tobytes() != pictures.paint(320, 200, 2).tobytes()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 400), (400, 1), (16_383, 1), (1, 16_383), (20, 10), (3000, 1500)])
def test_any_size_can_be_painted(size):
    """From one pixel to a ribbon to more than the canvas, the size is exact."""
    assert pictures.paint(*size, 9).size == size
