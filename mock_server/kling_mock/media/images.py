"""First frames: the checks on their real bytes, and `image.test`, the host whose pictures the fake generates itself.

What a first frame must be stands in the contract and comes in as `ImageRules`. Size, sides and ratio are judged as a
viewer sees the picture, EXIF orientation applied, because the video is made to look like that.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from kling_mock.core.policies import ImageRules
from kling_mock.media import costs, pictures
from kling_mock.media.cache import ByteCache
from kling_mock.media.signatures import recognised

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Most pixels that are drawn: 8K video (7680 x 4320), a size above any camera frame that a caller will try.
MAX_DRAWN_PIXELS = 7680 * 4320

# Longest side that every format `?as=` offers can hold; WebP's is the shortest.
MAX_DRAWN_SIDE = 16_383

# Largest padded drawing: several times any limit worth testing, and still no way to fill the memory with one URL.
MAX_DRAWN_BYTES = 2**28

# Memory that drawings may keep between requests; a 1280x720 picture takes about a tenth of a megabyte.
DRAWINGS_KEPT_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """A picture that passed every check: its file, and format and pixels of what a viewer sees of it."""

    data: bytes
    format: str
    width: int
    height: int


class BadImage(Exception):
    """A first frame that the service would not take.

    *code* is the documented task error (wire-facts, task error codes): `image_processing_error` where another file is
    needed, `image_dimension_mismatch` where the same picture in another size or shape would do.
    """

    def __init__(self, code: str, message: str) -> None:
        """*message*: one line with what was seen and what is allowed."""
        super().__init__(message)
        self.code = code
        self.message = message


def _unusable(message: str) -> BadImage:
    return BadImage("image_processing_error", message)


def _misshapen(message: str) -> BadImage:
    return BadImage("image_dimension_mismatch", message)


def inspect(data: bytes, rules: ImageRules) -> FirstFrame:
    """The first frame in *data*, decoded to be sure of it, or gone through where it is too large for that.

    The cheap checks come first: bytes, format by content (a file's name never counts), sides, ratio, pixels. Raises
    `BadImage` for whatever is wrong, and never anything else.
    """
    if len(data) > rules.max_bytes:
        raise _unusable(_too_large(f"has {len(data)} bytes", rules.max_bytes))
    if not data:
        raise _unusable(f"the image is empty; {_allowed(rules)}")
    from PIL.Image import DecompressionBombError

    try:
        return _decoded(data, rules)
    except BadImage:
        raise
    except DecompressionBombError as error:  # so large that Pillow will not even say how large
        raise _misshapen("the image has more pixels than any decoder takes") from error
    except costs.Costly as error:
        raise _unusable(f"the image would take too long to decode: {error}") from error
    except Exception as error:  # Pillow's readers raise anything: OSError, SyntaxError, struct.error, MemoryError, ...
        raise _unusable(_unreadable(data, rules, error)) from error


def is_picture(data: bytes) -> bool:
    """Return whether *data* is a picture of pixels, by its header.

    Only in formats that are known here: some that Pillow reads have no mark of their own, so that text may pass for them.
    """
    known = recognised(data)
    if known is None or not known.media_type.startswith("image/"):
        return False
    try:
        pictures.open_picture(data, (known.name.lower(),))
    except Exception:  # Pillow's readers raise anything
        return False
    return True


def read_capped(chunks: Iterable[bytes], limit: int) -> bytes:
    """All *chunks* as one, or `BadImage` as soon as they pass *limit* bytes; holds no more than that and one chunk."""
    # BytesIO gives its buffer away without a copy, so the whole is never held twice.
    buffer = io.BytesIO()
    for chunk in chunks:
        if buffer.tell() + len(chunk) > limit:
            raise _unusable(_too_large("is larger", limit))
        buffer.write(chunk)
    return buffer.getvalue()


def _decoded(data: bytes, rules: ImageRules) -> FirstFrame:
    """The first frame in *data*; raises `BadImage` for its shape and whatever Pillow raises for its content."""
    picture, (width, height) = pictures.open_picture(data, rules.formats)
    with picture:
        _check_shape(width, height, rules)
        costs.check(data, width * height)
        if costs.is_decoded(data, width * height):
            with costs.decoding:
                _decode(picture)
    return FirstFrame(data, _format_of(picture), width, height)


def _decode(picture: "ImageFile") -> None:
    """Read every byte of the pixels. Raises what Pillow raises where they are cut short or broken."""
    # A JPEG may be rebuilt at an eighth of its size: all of its data is still read, in less time and memory.
    picture.draft(None, (picture.width // 8, picture.height // 8))
    picture.load()


def _format_of(picture: "ImageFile") -> str:
    """Lower-case name of the picture's format; phones' JPEG files with several pictures in them are JPEG files."""
    name = (picture.format or "").lower()
    return "jpeg" if name == "mpo" else name


def _check_shape(width: int, height: int, rules: ImageRules) -> None:
    """Raise `BadImage` for a picture that is too small or too long."""
    seen = f"the image is {width}x{height} pixels"
    if min(width, height) < rules.min_side:
        raise _misshapen(f"{seen}; width and height must be at least {rules.min_side}")
    if rules.max_side is not None and max(width, height) > rules.max_side:
        raise _misshapen(f"{seen}; width and height must be at most {rules.max_side}")
    low, high = rules.ratio_min, rules.ratio_max
    if (low is not None and Fraction(width, height) < low) or (high is not None and Fraction(width, height) > high):
        allowed = " to ".join(_ratio(bound) for bound in (low, high) if bound is not None)
        raise _misshapen(f"{seen}, a ratio of {_ratio(Fraction(width, height))}; allowed is {allowed}")


def _ratio(ratio: Fraction) -> str:
    """A ratio as people write it: `2.5:1`, `1:2.5`."""
    return f"{float(ratio):g}:1" if ratio >= 1 else f"1:{float(1 / ratio):g}"


def _too_large(seen: str, limit: int) -> str:
    return f"the image {seen}; at most {limit} bytes are allowed"


def _allowed(rules: ImageRules) -> str:
    return f"allowed formats: {', '.join(rules.formats)}"


def _unreadable(data: bytes, rules: ImageRules, error: Exception) -> str:
    """One line for a file that Pillow did not read: another format, or one of the right ones that is broken."""
    known = recognised(data)
    if known is None:
        return f"the file is no image of a known format; {_allowed(rules)}"
    seen = known.name
    if seen.lower() not in rules.formats:
        return f"the image is {seen}, whatever its name says; {_allowed(rules)}"
    why = " ".join(str(error).split()) or type(error).__name__
    if "cannot identify" in why:
        why = "its header is damaged"  # Pillow's own words name an object in memory
    return f"the {seen} image cannot be decoded: {why}"


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture of `image.test`, as its URL asks for it.

    *format*: lower-case Pillow name. *padded_to*: exact size of the file in bytes. *truncated*: cut half-way.
    *page_status*: answer a web page with this status, and no picture. *complaint*: what is wrong with the URL.
    """

    width: int
    height: int
    format: str
    padded_to: int | None = None
    truncated: bool = False
    page_status: int | None = None
    complaint: str | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a host of drawn pictures, videos or sounds responds with."""

    status: int
    content_type: str
    data: bytes


_FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg"}
_AS_FORMATS = ("gif", "webp", "bmp", "tiff", "png", "jpeg")
_OPTIONS = ("as", "bytes", "status", "truncated")
_PATH = re.compile(r"/(\d{1,9})x(\d{1,9})\.([a-z0-9]+)", re.IGNORECASE | re.ASCII)
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {"png": {"compress_level": 1}, "jpeg": {"quality": 88}}

_drawings: ByteCache[tuple[int, int, str], bytes] = ByteCache(DRAWINGS_KEPT_BYTES, len)


def parse_drawing(path: str, query: str) -> Drawing | None:
    """The drawing that `https://image.test{path}?{query}` asks for; None where the path names no picture at all.

    *path* and *query* as they stand in the URL, the query without its question mark. A drawing that cannot be made
    (size, suffix, options) comes back with its complaint, and `draw` answers it with a 400.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    width, height, suffix = int(match[1]), int(match[2]), match[3].lower()
    try:
        _check_drawable(width, height)
        if suffix not in _FORMATS:
            raise ValueError(f"suffix .{suffix}: use .png, .jpg or .jpeg, and ?as= for the content of another format")
        return Drawing(width, height, **_options(_FORMATS[suffix], query))
    except ValueError as error:
        return Drawing(width, height, suffix, complaint=str(error))


def draw(drawing: Drawing) -> Drawn:
    """The answer to a drawing's URL: the same bytes every time; 400 and a line of text where there is a complaint."""
    if drawing.complaint is not None:
        return _refused(drawing.complaint)
    if drawing.page_status is not None:
        return _page(drawing.page_status)
    key = (drawing.width, drawing.height, drawing.format)
    data = _drawings.get(key, lambda: _encode(drawing))
    if drawing.truncated:
        data = data[: len(data) // 2]
    if drawing.padded_to is not None:
        if drawing.padded_to < len(data):
            return _refused(f"bytes={drawing.padded_to}: this picture has {len(data)} bytes before it is padded")
        data = data.ljust(drawing.padded_to, b"\0")
    return Drawn(HTTPStatus.OK, f"image/{drawing.format}", data)


def _check_drawable(width: int, height: int) -> None:
    """Raise ValueError for a size that is not drawn."""
    if not (1 <= width <= MAX_DRAWN_SIDE and 1 <= height <= MAX_DRAWN_SIDE):
        raise ValueError(f"{width}x{height}: each side of a drawing has 1 to {MAX_DRAWN_SIDE} pixels")
    if width * height > MAX_DRAWN_PIXELS:
        raise ValueError(f"{width}x{height}: a drawing has at most {MAX_DRAWN_PIXELS} pixels")


def _options(suffix_format: str, query: str) -> dict[str, Any]:
    """Fields of a Drawing that the query sets. Raises ValueError with a readable line for one that it cannot set."""
    given = parse_qsl(query, keep_blank_values=True)
    options = dict(given)
    if len(options) < len(given):
        raise ValueError("an option is given twice")
    for name in options:
        if name not in _OPTIONS:
            raise ValueError(f"option {name!r} is not known; there are {', '.join(_OPTIONS)}")
    if "truncated" in options and "bytes" in options:
        raise ValueError("truncated and bytes do not go together: padding would hide the cut")
    fields: dict[str, Any] = {"format": _one_of("as", options.get("as", suffix_format), _AS_FORMATS)}
    if "truncated" in options:
        _one_of("truncated", options["truncated"], ("", "1", "true"))
        fields["truncated"] = True
    if "bytes" in options:
        fields["padded_to"] = _number("bytes", options["bytes"], 1, MAX_DRAWN_BYTES)
    if "status" in options:
        fields["page_status"] = _status(options["status"])
    return fields


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """*value* if it is allowed, else ValueError."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: use one of {', '.join(each or 'nothing' for each in allowed)}")
    return value


def _number(name: str, value: str, low: int, high: int) -> int:
    """*value* as a whole number in *low*..*high*, else ValueError."""
    if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
        raise ValueError(f"{name}={value!r}: a whole number from {low} to {high}")
    return int(value)


def _status(value: str) -> int:
    """An HTTP status that can carry a page: 200, or any error."""
    if value == str(HTTPStatus.OK):
        return HTTPStatus.OK
    return _number("status", value, HTTPStatus.BAD_REQUEST, 599)


def _encode(drawing: Drawing) -> bytes:
    """File of the painted picture; its size seeds its colours, so that two sizes look different."""
    picture = pictures.paint(drawing.width, drawing.height, drawing.width * MAX_DRAWN_SIDE + drawing.height)
    buffer = io.BytesIO()
    picture.save(buffer, drawing.format.upper(), **_SAVE_OPTIONS.get(drawing.format, {}))
    return buffer.getvalue()


def _refused(complaint: str) -> Drawn:
    return Drawn(HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", f"{complaint}\n".encode(errors="replace"))


def _page(status: int) -> Drawn:
    """A short web page such as a host sends in place of a missing picture."""
    phrase = next((known.phrase for known in HTTPStatus if known == status), "Status")
    page = f"<!doctype html>\n<title>{status} {phrase}</title>\n<h1>{status} {phrase}</h1>\n"
    return Drawn(status, "text/html; charset=utf-8", page.encode())
