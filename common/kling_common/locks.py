"""One process at a time: a lock on a file, which the system lets go of when its holder ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until nobody else is in here for *path*, an empty file that stays behind.

    Raises:
        OSError: the file cannot be made.
    """
    import fcntl

    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
