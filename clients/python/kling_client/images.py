"""A cheap look at a local first frame, so that no credits and no upload are spent on one that the contract refuses."""

import os
import re
import warnings
from fractions import Fraction
from pathlib import Path

from kling_client.errors import RequestInvalid
from kling_openapi.media import Limits

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def is_url(image: str | os.PathLike[str]) -> bool:
    """Return whether *image* names a URL; anything else is the name of a file. A drive letter is no scheme."""
    return isinstance(image, str) and _URL.match(image) is not None


def check_image(path: Path, limits: Limits) -> str:
    """The media type of the image at *path*. Reads its header only; a damaged rest is for the service to find.

    Raises:
        RequestInvalid: there is no such file, or the contract refuses it.
    """
    from PIL import Image, UnidentifiedImageError  # only a local file needs it, and it is slow to import

    try:
        if path.exists() and not path.is_file():
            raise _refused(path, "is not a regular file")
        size = path.stat().st_size
        if limits.max_bytes is not None and size > limits.max_bytes:
            raise _refused(path, f"has {size} bytes, the limit is {limits.max_bytes}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                kind, (width, height) = (image.format or "").lower(), image.size
                media_type = image.get_format_mimetype() or "application/octet-stream"
    except UnidentifiedImageError:
        raise _refused(path, "is not an image") from None
    except Image.DecompressionBombError:
        raise _refused(path, "has far too many pixels") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise _refused(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if kind not in limits.formats:
        raise _refused(path, f"is {kind or 'unknown'}; taken are {', '.join(sorted(limits.formats))}")
    _check_size(path, width, height, limits)
    return media_type


def _check_size(path: Path, width: int, height: int, limits: Limits) -> None:
    """Let pixels pass that are within the limits."""
    if min(width, height) < (limits.min_side_px or 1):
        raise _refused(path, f"is {width}x{height}; each side must have at least {limits.min_side_px} pixels")
    ratio, least = Fraction(width, height), limits.ratio_min or Fraction(0)
    if ratio < least or (limits.ratio_max is not None and ratio > limits.ratio_max):
        most = "any" if limits.ratio_max is None else f"{float(limits.ratio_max):g}"
        raise _refused(path, f"is {width}x{height}; width to height must be between {float(least):g} and {most}")


def _refused(path: Path, why: str) -> RequestInvalid:
    """The refusal of a first frame."""
    return RequestInvalid(f"{path.name} {why}", param="image_start")
