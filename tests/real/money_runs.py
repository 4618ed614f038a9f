"""Seeded runs against stand-ins that misbehave: what their own books say must stay within the cap, whatever the kit believes.

    python tests/real/money_runs.py 500 tests/real/money-runs.json

draws the stand-in, the mode and the cap of each run from its seed, and writes what was found. `test_money_runs.py` does a few of them.
"""

import json
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from runs import run
from standins.service import ANSWERS, Behaviour, Service

CLASSES = ("aspect_ratio", "duration", "quality", "prompt", "callback_url", "image_start", "model", "body")
IMPATIENT = ("answers late", "answers what is no task")
"""Kinds that keep a caller waiting."""


@dataclass(frozen=True)
class Outcome:
    """One run: how it was drawn, and what the stand-in's books say. usd and cap in dollars; twice: creates that were repeated."""

    seed: int
    kind: str
    mode: str
    cap: float
    usd: float
    accepted: int
    twice: int
    stopped: str

    @property
    def problem(self) -> str:
        """What must never be; empty when all is well."""
        if self.usd > self.cap + 1e-9:
            return f"seed {self.seed}: ${self.usd:.2f} were charged, and the cap is ${self.cap:.2f}"
        if self.mode == "readonly" and (self.usd or self.accepted):
            return f"seed {self.seed}: readonly cost ${self.usd:.2f}"
        if self.twice:
            return f"seed {self.seed}: {self.twice} creates were sent again after their reply was lost"
        return ""


def behaviour(kind: str, rng: random.Random) -> Behaviour:
    """A stand-in of one kind."""
    made: dict[str, Any] = {
        "honest": {},
        "accepts everything": {"accepts": "everything"},
        "accepts one class": {"accepts": rng.choice(CLASSES)},
        "charges double": {"charges": 2.0, "accepts": rng.choice(("right", "everything"))},
        "loses replies": {"loses": rng.choice((0.3, 1.0)), "accepts": rng.choice(("right", "everything"))},
        "answers late": {"late": 0.5, "accepts": rng.choice(("right", "duration"))},
        "lies about the balance": {"balance": rng.choice(("fixed", "random")), "accepts": rng.choice(("right", "everything"))},
        "moves its balance": {"drifts": 1.0, "accepts": "everything"},
        "dies": {"dies_after": rng.randrange(5, 60), "accepts": "everything"},
        "cuts": {"cuts": rng.choice((0.02, 0.2)), "accepts": rng.choice(("right", "everything"))},
        "charges for refusals": {"refusals_cost": True},
        "fails every task": {"fails": True, "accepts": "everything"},
        "hides the balance": {"hides_balance": True, "refusals_cost": True, "accepts": rng.choice(("right", "everything"))},
        "answers what is no task": {"answer": rng.choice(ANSWERS[1:]), "accepts": rng.choice(("right", "everything"))},
    }  # fmt: skip
    return Behaviour(**made[kind])


KINDS = (
    "honest",
    "accepts everything",
    "accepts one class",
    "charges double",
    "loses replies",
    "answers late",
    "lies about the balance",
    "moves its balance",
    "dies",
    "cuts",
    "charges for refusals",
    "fails every task",
    "hides the balance",
    "answers what is no task",
)


def one(seed: int) -> Outcome:
    """The run of *seed*."""
    rng = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    mode = rng.choice(("readonly", "refusals", "refusals", "paid"))
    cap = 0.0 if mode == "readonly" else rng.choice((0.0, 0.3, 0.61, 1.3, 3.5, 7.0))
    with Service(behaviour(kind, rng), seed=seed) as service:
        try:
            ran = run(service, mode, None if mode == "readonly" else cap, timeout=0.25 if kind in IMPATIENT else 5.0)
            stopped = ran.stopped
        except Exception as error:  # a run that cannot begin costs nothing either
            stopped = f"{type(error).__name__}: {error}"
        ledger = service.ledger
        return Outcome(
            seed, kind, mode, cap, round(ledger.usd, 6), len(ledger.rows), repeated(ledger.seen), stopped[:200]
        )


def repeated(seen: list[dict[str, Any]]) -> int:
    """How many creates with the key were sent after one whose reply never came."""
    creates = [row for row in seen if row["method"] == "POST" and row["keyed"]]
    lost = next((number for number, row in enumerate(creates) if row.get("lost")), len(creates) - 1)
    return max(len(creates) - 1 - lost, 0)


def summary(found: list[Outcome]) -> dict[str, Any]:
    """What the runs amount to."""
    kinds = {kind: [one for one in found if one.kind == kind] for kind in KINDS}
    return {
        "runs": len(found),
        "over_the_cap": sum(one.usd > one.cap + 1e-9 for one in found),
        "readonly_runs": sum(one.mode == "readonly" for one in found),
        "readonly_usd": sum(one.usd for one in found if one.mode == "readonly"),
        "creates_sent_again": sum(one.twice for one in found),
        "usd_charged": round(sum(one.usd for one in found), 2),
        "modes": dict(sorted(Counter(one.mode for one in found).items())),
        "kinds": {
            kind: {
                "runs": len(rows), "stopped": sum(bool(row.stopped) for row in rows), "accepted": sum(row.accepted for row in rows),
                "dearest": asdict(max(rows, key=lambda row: row.usd)) if rows else None,
            }
            for kind, rows in kinds.items()
        },
    }  # fmt: skip


def main() -> None:
    """Run as many as asked, three at a time: they mostly wait."""
    count, target = int(sys.argv[1]), Path(sys.argv[2])
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(one, range(count)))
    target.write_text(json.dumps(summary(found), indent=1) + "\n", encoding="utf-8")
    problems = [outcome.problem for outcome in found if outcome.problem]
    print("\n".join(problems) or f"{count} runs: nothing over the cap, readonly free, no create sent again; {target}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
