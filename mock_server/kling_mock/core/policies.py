"""What the contract's `x-` extensions ask for, typed: of a first frame, a result link, a task's id and an upload."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What a model asks of a picture.

    *formats*: lower-case names as Pillow gives them (`jpeg`, `png`). *max_bytes*: size of the file. *min_side*, *max_side*:
    pixels of width and height. *ratio_min*, *ratio_max*: bounds of width / height, both allowed. None is no limit.
    """

    formats: tuple[str, ...]
    max_bytes: int
    min_side: int = 1
    ratio_min: Fraction | None = None
    ratio_max: Fraction | None = None
    max_side: int | None = None


@dataclass(frozen=True, slots=True)
class LinkRules:
    """How long a result link lives, in seconds, and the media type behind it."""

    lifetime: float
    content_type: str


@dataclass(frozen=True, slots=True)
class IdRules:
    """How task ids are written: a prefix, the second of the create, and a suffix drawn from an alphabet."""

    prefix: str
    suffix_length: int
    suffix_alphabet: str


@dataclass(frozen=True, slots=True)
class FileRules:
    """How large an upload may be, how many an account may hold, how many seconds each lives, and of which media types."""

    max_bytes: int
    max_files: int
    lifetime: float
    types: tuple[str, ...]
