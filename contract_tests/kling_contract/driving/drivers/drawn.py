"""What the drivers that draw their calls share: a seed, bounds, and no file left behind."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.configuration import set_hypothesis_home_dir


@contextmanager
def no_traces() -> Iterator[None]:
    """Hypothesis keeps its caches in a folder that goes with the block, not in the user's."""
    with tempfile.TemporaryDirectory(prefix="kling-contract-") as folder:
        set_hypothesis_home_dir(Path(folder))
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


def bounds(examples: int, *, shrink: bool = True, **more: Any) -> settings:
    """Settings with *examples* draws, no database and no deadline: a server may be slow."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    quiet: dict[str, Any] = {"verbosity": Verbosity.quiet, "suppress_health_check": list(HealthCheck)}
    return settings(max_examples=examples, database=None, deadline=None, phases=phases, **quiet, **more)
