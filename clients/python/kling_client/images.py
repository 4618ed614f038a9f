"""A cheap look at a local first frame, so that no credits and no upload are spent on one that the contract refuses."""

import warnings
from fractions import Fraction
from pathlib import Path

from kling_client.contract import ImageLimits
from kling_client.errors import RequestInvalid


def check_image(path: Path, limits: ImageLimits) -> str:
    """The media type of the image at *path*. Reads its header only; a damaged rest is for the service to find.

    Raises:
        RequestInvalid: there is no such file, or the contract refuses it.
    """
    from PIL import Image, UnidentifiedImageError  # only a local file needs it, and it is slow to import

    try:
        if path.exists() and not path.is_file():
            raise _refused(path, "is not a regular file")
        size = path.stat().st_size
        if size > limits.max_bytes:
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


def _check_size(path: Path, width: int, height: int, limits: ImageLimits) -> None:
    """Let pixels pass that are within the limits."""
    if min(width, height) < limits.min_side_px:
        raise _refused(path, f"is {width}x{height}; each side must have at least {limits.min_side_px} pixels")
    if not limits.ratio_min <= Fraction(width, height) <= limits.ratio_max:
        least, most = float(limits.ratio_min), float(limits.ratio_max)
        raise _refused(path, f"is {width}x{height}; width to height must be between {least:g} and {most:g}")


def _refused(path: Path, why: str) -> RequestInvalid:
    """The refusal of a first frame."""
    return RequestInvalid(f"{path.name} {why}", param="image_start")
