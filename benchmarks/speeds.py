"""Creates and queries a second on each store, each next to its floor, interleaved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from deployments import Databases, Serving, fake, floor, one_task
from load import CREATE, Call, Cores, Sample, load_of, timed
from processes import ServerError
from report import CLEAN

SETUPS = (("memory", 1), ("sqlite", 1), ("sqlite", 2), ("postgresql", 1), ("postgresql", 2))
"""Store and workers."""
FREE = Cores(None, None)


@dataclass(frozen=True, slots=True)
class Extent:
    """How long and how often: seconds of a load, samples of each, loads that may be repeated because others disturbed them."""

    seconds: int
    rounds: int
    tries: int


@dataclass(slots=True)
class Pair:
    """What the fake and its floor did of one call on one setup."""

    store: str
    workers: int
    method: str
    fake: list[Sample] = field(default_factory=list)
    floor: list[Sample] = field(default_factory=list)
    trouble: str = ""

    def share(self) -> float | None:
        """Return the fake's speed as a share of the floor's; None where either was never measured undisturbed."""
        ours, theirs = clean(self.fake), clean(self.floor)
        if not ours or not theirs:
            return None
        return middle(ours) / middle(theirs)


def clean(samples: list[Sample]) -> list[Sample]:
    """Return the samples during which others left the processors alone."""
    return [sample for sample in samples if sample.disturbed <= CLEAN and not sample.failed]


def middle(samples: list[Sample]) -> float:
    """Return the median of requests a second."""
    return median(sample.per_second for sample in samples)


def sample(serving: Serving, it: Call, extent: Extent) -> Sample:
    """Return the first undisturbed load, or the least disturbed one."""
    tried: list[Sample] = []
    while len(tried) < extent.tries and not clean(tried):
        tried.append(timed(serving.watched, serving.base, it, extent.seconds, FREE))
    return min(tried, key=lambda one: (bool(one.failed), one.disturbed))


def measure(databases: Databases, body: Mapping[str, Any], extent: Extent) -> list[Pair]:
    """Return a pair for every setup and call; each round visits all of them."""
    pairs = [Pair(store, workers, method) for store, workers in SETUPS for method in ("POST", "GET")]
    for _ in range(extent.rounds):
        for pair in pairs:
            try:
                one_round(pair, databases, body, extent)
            except (ServerError, OSError) as error:
                pair.trouble = f"not measured: {str(error).splitlines()[-1][:200]}"
    return pairs


def one_round(pair: Pair, databases: Databases, body: Mapping[str, Any], extent: Extent) -> None:
    """One sample of the fake and one of the floor, each on a new store."""
    store = databases.new(pair.store)
    with fake(store, workers=pair.workers, databases=databases.watched(pair.store)) as serving:
        path, created, read = one_task(serving.base, body)
        it = load_of(pair.method, CREATE if pair.method == "POST" else path, body)
        timed(serving.watched, serving.base, it, 1, FREE)
        pair.fake.append(sample(serving, it, extent))
    size = created if pair.method == "POST" else read
    store, around = databases.new(pair.store), databases.watched(pair.store)
    with floor(store, pair.method, body, size, workers=pair.workers, databases=around) as serving:
        it = load_of(pair.method, "/", body)
        timed(serving.watched, serving.base, it, 1, FREE)
        pair.floor.append(sample(serving, it, extent))
