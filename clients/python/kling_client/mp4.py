"""The least that tells an MP4 from an error page, and a whole one from a cut one."""

import struct
from typing import BinaryIO

from kling_client.errors import NotAVideo

_HEADER = struct.Struct(">I4s")
_LONG = struct.Struct(">Q")


def check_start(file: BinaryIO) -> None:
    """Let a file pass that begins with a file-type box.

    Raises:
        NotAVideo: it does not.
    """
    file.seek(0)
    start = file.read(_HEADER.size)
    if len(start) < _HEADER.size or start[4:] != b"ftyp":
        raise NotAVideo("what the link serves is not an MP4")


def check_whole(file: BinaryIO, size: int) -> None:
    """Let a file pass whose boxes end exactly where the file does, with index and pictures among them.

    Raises:
        NotAVideo: a box goes beyond the end, or there is no index or no picture.
    """
    kinds: set[bytes] = set()
    position = 0
    while position < size:
        length, kind = _box(file, position, size)
        kinds.add(kind)
        position += length
    if position != size or not {b"moov", b"mdat"} <= kinds:
        raise NotAVideo("the video is cut")


def _box(file: BinaryIO, position: int, size: int) -> tuple[int, bytes]:
    """Length in bytes and kind of the box at *position*; a length of 0 means up to the end."""
    file.seek(position)
    head = file.read(_HEADER.size + _LONG.size)
    if len(head) < _HEADER.size:
        raise NotAVideo("the video is cut")
    length, kind = _HEADER.unpack_from(head)
    if length == 1 and len(head) == _HEADER.size + _LONG.size:
        (length,) = _LONG.unpack_from(head, _HEADER.size)
    length = length or size - position
    if length < _HEADER.size or position + length > size:
        raise NotAVideo("the video is cut")
    return int(length), bytes(kind)
