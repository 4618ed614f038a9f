"""How a program starts: what it imports and builds stays for good, so looking for garbage among it is time lost."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Look for no garbage while the block runs, and never among what it leaves: a tenth of the time of a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
