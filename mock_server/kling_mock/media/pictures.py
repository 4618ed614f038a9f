"""Pictures: opening the ones that others made, and painting our own. Nothing here knows of URLs, rules or videos.

Pillow is imported when a picture is first needed, because a server that is only started should be ready at once.
"""

import colorsys
import hashlib
import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from kling_mock.media import costs

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile

    Colour = tuple[int, int, int]

# A painting is made at this size at most and then enlarged: a gradient and five curves carry no finer detail, and the
# cost of a huge picture stays in its one last step.
CANVAS_SIDE = 1280

# `warnings.catch_warnings` swaps a list of the whole process; two threads in it at once would restore it wrongly.
_quiet = threading.Lock()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow's remarks about odd files (bombs, malformed MPO, bad EXIF) from becoming log lines or errors."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_picture(data: bytes, formats: tuple[str, ...] | None = None) -> tuple["ImageFile", tuple[int, int]]:
    """Header of the picture in *data*, pixels not yet read, and the (width, height) in pixels that a viewer sees.

    Only Pillow's readers of *formats* (lower case; None: any) look at the bytes. The viewer's size honours the EXIF
    orientation, which phones set instead of turning the pixels. Raises whatever Pillow raises: nearly anything.
    """
    from PIL import ExifTags, Image

    with _without_warnings():
        picture = Image.open(io.BytesIO(data), formats=formats)
        orientation = 1
        with suppress(Exception):  # broken EXIF is a matter of metadata; the picture is what it is
            # Past PngImageFile.getexif, which would decode all pixels in search of a late eXIf chunk.
            orientation = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
    width, height = picture.size
    turned = orientation in (5, 6, 7, 8)
    return picture, (height, width) if turned else (width, height)


def upright(data: bytes, enough: int) -> "Picture":
    """RGB pixels of the picture in *data* as a viewer sees them: turned upright, transparency on white.

    *enough*: pixels that the shorter side needs at most; a JPEG that has far more is decoded at a fraction of its size.
    """
    from PIL import ImageOps

    with costs.decoding:
        picture, _ = open_picture(data)
        picture.draft("RGB", (enough, enough))
        spare = min(picture.size) // (2 * enough)
        turned: Picture = picture.reduce(spare) if spare > 1 and picture.mode in ("L", "RGB", "RGBA") else picture
        with suppress(Exception):  # broken EXIF: it stays as it is
            turned = ImageOps.exif_transpose(turned)
        return _flat(turned)


def _flat(picture: "Picture") -> "Picture":
    """The same picture as plain RGB, whatever its mode."""
    from PIL import Image

    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return picture.convert("RGB")


def paint(width: int, height: int, seed: int) -> "Picture":
    """A landscape of *width* x *height* pixels, the same pixels for the same seed, with its size written on it.

    A sky, a low sun and waves: enough edges and slopes that a camera moving over it is seen to move.
    """
    from PIL import Image

    shrink = min(1.0, CANVAS_SIDE / max(width, height))
    canvas_size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    shares = _shares(seed)
    hue = next(shares)
    canvas = _sky(canvas_size, hue)
    _add_sun(canvas, hue, next(shares), next(shares))
    _add_waves(canvas, hue, shares)
    if canvas.size != (width, height):
        canvas = canvas.resize((width, height), Image.Resampling.BILINEAR)
    _write_size(canvas)
    return canvas


def _shares(seed: int) -> Iterator[float]:
    """Endless numbers in 0..1 that depend on *seed* alone, in every process and on every machine."""
    number = 0
    while True:
        digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
        yield int.from_bytes(digest) / 2**64
        number += 1


def _colour(hue: float, saturation: float, value: float) -> "Colour":
    """8-bit RGB of a hue (turns), saturation and value (0..1)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(size: tuple[int, int], hue: float) -> "Picture":
    """A vertical gradient from a deep colour to a pale neighbour of it."""
    from PIL import Image, ImageOps

    column = Image.linear_gradient("L").crop((0, 0, 1, 256)).resize((1, size[1]), Image.Resampling.BILINEAR)
    coloured = ImageOps.colorize(column, _colour(hue, 0.65, 0.55), _colour(hue + 0.12, 0.30, 1.0))
    return coloured.resize(size, Image.Resampling.NEAREST)


def _add_sun(canvas: "Picture", hue: float, across: float, up: float) -> None:
    """A disc with a glow, somewhere in the upper half."""
    from PIL import Image, ImageOps

    width, height = canvas.size
    glow = max(4, round(min(width, height) * 0.6))
    centre_x, centre_y = round(width * (0.25 + 0.5 * across)), round(height * (0.25 + 0.2 * up))
    light = ImageOps.invert(Image.radial_gradient("L"))
    # The gradient reaches past its square; taking its edge off keeps the square from being seen.
    halo = light.point([max(0, value - 75) for value in range(256)])
    disc = light.point([min(255, max(0, (value - 190) * 16)) for value in range(256)])
    for mask, colour in ((halo, _colour(hue + 0.12, 0.15, 1.0)), (disc, _colour(hue + 0.14, 0.05, 1.0))):
        canvas.paste(
            colour, (centre_x - glow // 2, centre_y - glow // 2), mask.resize((glow, glow), Image.Resampling.BILINEAR)
        )


def _add_waves(canvas: "Picture", hue: float, shares: Iterator[float]) -> None:
    """Five ranges of hills, darker and steeper towards the viewer."""
    from PIL import ImageDraw

    width, height = canvas.size
    pen = ImageDraw.Draw(canvas)
    layers = 5
    for layer in range(layers):
        near = layer / (layers - 1)
        base = height * (0.52 + 0.36 * near)
        rise = height * (0.03 + 0.05 * near)
        phase, turns = next(shares) * math.tau, 1.0 + 2.0 * next(shares)
        points: list[tuple[float, float]] = []
        for x in range(0, width + 4, 4):
            angle = phase + turns * math.tau * x / width
            points.append((x, base - rise * (math.sin(angle) + 0.4 * math.sin(2.3 * angle + 1.0))))
        outline = [(0.0, float(height)), *points, (float(width), float(height))]
        pen.polygon(outline, fill=_colour(hue + 0.06 - 0.08 * near, 0.40 + 0.30 * near, 0.75 - 0.55 * near))


def _write_size(canvas: "Picture") -> None:
    """Write `WIDTHxHEIGHT` in the lower left corner, where the picture is large enough to carry letters."""
    from PIL import ImageDraw, ImageFont

    width, height = canvas.size
    letter = min(width // 12, height // 6)
    if letter < 6:
        return
    font = ImageFont.load_default(letter)
    pen = ImageDraw.Draw(canvas)
    pen.text((letter // 2, height - letter // 2), f"{width} x {height}", fill="white", font=font, anchor="lb")
