"""The bytes of a recording and of what stands with it, within bounds: a file may be packed, endless, or far larger than it looks."""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from kling_contract.history.events import HistoryError, plain

Attached = Callable[[str], bytes | None]

LARGEST = 256 * 1024 * 1024
"""Bytes of a recording, unpacked."""
LARGEST_BESIDE = 64 * 1024 * 1024
"""Bytes of a file that stands with a HAR; a larger one is not read."""
MOST_EVENTS = 50_000
"""Calls, callbacks and downloads of a recording."""


def opened(path: Path) -> tuple[bytes, Attached]:
    """Return the text of a recording, and how to find what it keeps in other files: of its archive, or of its folder.

    Raises:
        HistoryError: it is too large, or a broken archive. OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)  # a device has no size and no end
    if len(data) > LARGEST:
        raise _too_large(path)
    if not data.startswith(b"PK\x03\x04"):
        return plain(data), partial(_in_folder, path.parent)
    try:
        return _unpacked(path, ZipFile(BytesIO(data)))
    except (BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError, OSError) as error:
        if isinstance(error, HistoryError):
            raise
        raise HistoryError(f"{path}: not an archive that can be read: {' '.join(str(error).split())}") from error
    except Exception as error:  # what the decoders of its compressions raise: zlib.error, LZMAError, struct.error
        raise HistoryError(f"{path}: not an archive that can be read: {type(error).__name__}") from error


def check_count(count: int) -> None:
    """Do nothing where so many events can be judged.

    Raises:
        HistoryError: they are too many.
    """
    if count > MOST_EVENTS:
        raise HistoryError(too_many(count))


def too_many(count: int) -> str:
    """Return what is wrong with a recording of so many entries or lines, and what to do."""
    return f"it has {count} entries; at most {MOST_EVENTS} are judged, so cut it into parts"


def _too_large(path: Path) -> HistoryError:
    return HistoryError(f"{path}: larger than {LARGEST} bytes; cut it into parts, or leave the bodies of videos out")


def _unpacked(path: Path, archive: ZipFile) -> tuple[bytes, Attached]:
    """Return the HAR of an archive; its other files are unpacked when they are asked for."""
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    name = next((name for name in sorted(sizes, key=len) if name.lower().endswith(".har")), None)
    if name is None:
        raise HistoryError(f"{path}: an archive without a .har file")
    if sizes[name] > LARGEST:
        raise _too_large(path)
    folder = name.rpartition("/")[0]
    left = [LARGEST - sizes[name]]

    def attached(asked: str) -> bytes | None:
        inside = f"{folder}/{asked}" if folder else asked
        size = sizes.get(inside, LARGEST_BESIDE + 1)
        if size > min(LARGEST_BESIDE, left[0]):
            return None
        left[0] -= size
        return archive.read(inside)

    return plain(archive.read(name)), attached


def _in_folder(folder: Path, name: str) -> bytes | None:
    """Return the bytes of a file in *folder*, never of one outside of it."""
    if not name or "\0" in name:
        return None
    path = (folder / name).resolve()
    inside = path.is_relative_to(folder.resolve())
    return path.read_bytes() if inside and path.is_file() and path.stat().st_size <= LARGEST_BESIDE else None
