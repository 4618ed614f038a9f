"""One process at a time: a lock on a file, which the system releases when its holder ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock on *path*, an empty file that is left behind; wait while another process holds it.

    Raises:
        OSError: the file cannot be made.
    """
    import fcntl

    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
