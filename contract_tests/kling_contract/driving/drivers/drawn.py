"""What the drivers that draw their calls share: a seed, bounds, and no file left behind."""

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.configuration import set_hypothesis_home_dir

_CODEC = "utf-8"
_TEXT = [[0, 0xD7FF], [0xE000, sys.maxunicode]]
"""The characters that have an encoding: all but the surrogates."""


@contextmanager
def no_traces() -> Iterator[None]:
    """Hypothesis keeps its caches in a folder that goes with the block, not in the user's, and draws nothing from the kit's source.

    It would parse every module outside of site-packages for values to try, which takes a second, and makes what a seed draws depend on
    how the kit is installed.
    """
    with tempfile.TemporaryDirectory(prefix="kling-contract-") as folder:
        set_hypothesis_home_dir(Path(folder))
        try:
            with _prepared():
                yield
        finally:
            set_hypothesis_home_dir(None)


@contextmanager
def _prepared() -> Iterator[None]:
    """Spare Hypothesis what takes it seconds. It does not promise these parts of it, so a version without them only takes longer."""
    try:
        from hypothesis.internal.charmap import charmap_file
        from hypothesis.internal.conjecture import providers
        from hypothesis.internal.constants_ast import Constants
    except ImportError:
        yield
        return
    # What it would find by encoding every character there is.
    table = charmap_file(f"codec-v2-{_CODEC}")
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(gzip.compress(json.dumps([_TEXT, []]).encode()))
    usual = providers._get_local_constants
    providers._get_local_constants = Constants
    try:
        yield
    finally:
        providers._get_local_constants = usual


def bounds(examples: int, *, shrink: bool = True, **more: Any) -> settings:
    """Settings with *examples* draws, no database and no deadline: a server may be slow."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    quiet: dict[str, Any] = {"verbosity": Verbosity.quiet, "suppress_health_check": list(HealthCheck)}
    return settings(max_examples=examples, database=None, deadline=None, phases=phases, **quiet, **more)
