"""docs/benchmarks.md from the samples."""

from collections.abc import Iterable, Sequence
from functools import partial
from statistics import median
from typing import Any

from report import CLEAN, MB

GOAL = 0.6
_LATEST = 20.0
_DAY = 86_400
_BILLION = 10**9
_CALLS = {"POST": "create", "GET": "query"}

_HEAD = """# Benchmarks

Measured by one command, which wrote this page: `{command}` on {date}. {machine}

{versions}

A **floor** is a bare WSGI callable, on granian with 16 threads a process, that runs the statements of the same call through the same
pool, recorded from the fake and repeated: the same transactions and commits, each thread on a connection that it keeps, and writers of
one process queue for SQLite's one writer. A query of the floor writes the recorded task's row, as the fake's do. Nothing is validated,
decided or rendered, and no older task is settled. What the fake saves under load, journal entries of several calls in one transaction
and a thread for each call, the floor does not save. For the memory store the floor is a callable that parses the same JSON and returns
as many bytes.

Fake and floor take turns within one run, so a ratio means more than a number. Load: wrk, 1 thread, 16 connections. Medians, with the
range in brackets. While a sample runs, the share of the processors that went to others is measured: above {clean:.0%} of a core the
sample does not count, and where no sample counts the table says "too noisy" in place of a number.

Durability: SQLite with write-ahead logging and `synchronous=NORMAL`; PostgreSQL as installed, `fsync=on` and `synchronous_commit=on`, the
journal's entries with `synchronous_commit=off`.
"""


def page(found: dict[str, Any], crashes: list[dict[str, Any]]) -> str:
    """Return the whole page."""
    about = found["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items())
    quick = " A quick run: short samples, to see that all works." if found["quick"] else ""
    head = _HEAD.format(
        command=found["command"],
        date=found["date"],
        machine=f"{about['cpu']}, {about['cores']} cores.{quick}",
        versions=versions,
        clean=CLEAN,
    )
    parts = [
        head if any(name in found for name in _SECTIONS) else f"{head}\nStill to be measured on a quiet machine.\n"
    ]
    for name, section in _SECTIONS.items():
        if name in found:
            title, write = section
            trouble = found[name].get("trouble") if isinstance(found[name], dict) else None
            parts.append(
                "\n".join(
                    [
                        f"## {title}",
                        "",
                        *_measured(found, name),
                        *([f"Not measured: {trouble}"] if trouble else write(found[name])),
                        "",
                    ]
                )
            )
    return "\n".join([*parts, *_crashes(crashes), "", *_billion(found)]).rstrip() + "\n"


def _measured(found: dict[str, Any], name: str) -> list[str]:
    """Return a line about a part that was measured by another command, or at another commit, than the page says."""
    own = found.get("measured", {}).get(name)
    if own is None or (own["command"], own["commit"]) == (found["command"], found["versions"]["commit"]):
        return []
    return [f"Measured by `{own['command']}` on {own['date']}, at commit {own['commit']}.", ""]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def spread(values: Sequence[float], form: str = "{:,.0f}") -> str:
    """Return the median and the range."""
    return f"{form.format(median(values))} [{form.format(min(values))}..{form.format(max(values))}]"


def _rate(samples: list[dict[str, Any]]) -> str:
    if good := _good(samples):
        return spread(good)
    if any(one["failed"] for one in samples):
        return f"{sum(one['failed'] for one in samples)} requests failed"
    return (
        f"too noisy: others took {min(one['disturbed'] for one in samples):.0%} of a core"
        if samples
        else "not measured"
    )


def _speeds(pairs: list[dict[str, Any]]) -> list[str]:
    columns = (
        "store",
        "workers",
        "call",
        "fake /s",
        "floor /s",
        "of the floor",
        "p50 / p99 ms",
        "the floor's",
        "processor us",
        "of it",
    )
    rows = []
    for pair in pairs:
        share = _against(pair["share"], GOAL, "{:.0%}")
        measured = [_rate(pair["fake"]), _rate(pair["floor"])] if not pair["trouble"] else [pair["trouble"], ""]
        rows.append(
            [
                pair["store"],
                str(pair["workers"]),
                _CALLS[pair["method"]],
                *measured,
                share,
                _late(pair["fake"]),
                _late(pair["floor"]),
                *_processor(pair),
            ]
        )
    return [*table(columns, rows), "", _PROCESSOR]


_PROCESSOR = """The last columns are the processor time of a call, of the fake and of its floor, the database's included, and the floor's
share of the fake's. Every sample counts in them: others on the machine slow a call down more than they make it dearer."""


def _processor(pair: dict[str, Any]) -> tuple[str, str]:
    """Return microseconds of processor a call, of fake and floor, and what part of the fake's the floor's is."""
    spent = [
        [
            one["server_cores"] / one["per_second"] * 1e6
            for one in pair[which]
            if one["per_second"] and not one["failed"]
        ]
        for which in ("fake", "floor")
    ]
    if not all(spent):
        return "", ""
    fake, floor = map(median, spent)
    return f"{fake:,.0f} / {floor:,.0f}", f"{floor / fake:.0%}" if fake else ""


_DELIVERIES = """The floor is the fake's own sender between the statements of the fake's courier: recorded from how it takes as many
callbacks as it waits for, and from how it writes down what became of them, and repeated on the same rows, two such rounds at a
time in each process. Nothing is decided, rendered or masked. All is owed before the first courier begins, and fake and floor, in turn,
are measured between a tenth and nine tenths of the callbacks: what the first ones take and the last ones leave behind lies outside for
both. The last column is the processor time of a callback, of couriers and of bare ones, the database's included."""


def _deliveries(found: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        [
            *name.split(),
            f"{one['per_second']:,.0f}",
            f"{one['floor']:,.0f}",
            _against(one["per_second"] / one["floor"], GOAL, "{:.0%}"),
            f"{one['processor']:,.0f} / {one['floor_processor']:,.0f}" if "processor" in one else "",
        ]
        for name, one in found.items()
    ]
    columns = ("store", "couriers", "callbacks /s", "floor /s", "of the floor", "processor us")
    return [*table(columns, rows), "", _DELIVERIES]


def _lag(found: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        [kind, f"{one['p50'] * 1000:,.0f}", f"{one['p99'] * 1000:,.0f}", f"{one['count']:,.0f}"]
        for kind, one in found.items()
    ]
    return [
        "From due to sent, in milliseconds, when 1,000 fall due in each second, spread over 16 accounts, with one courier.",
        "",
        *table(("store", "p50", "p99", "callbacks"), rows),
        "",
        f"In memory the goal is {_LATEST:.0f} ms (p99).",
    ]


def _advances(found: list[dict[str, float]]) -> list[str]:
    rows = [
        [
            f"{one['events']:,.0f}",
            f"{one['posts']:,.0f}",
            f"{one['wall']:.2f}" + ("" if one["wall"] < one["goal"] else f" (goal {one['goal']:.0f})"),
            f"{one['own']:.2f}",
        ]
        for one in found
    ]
    return [
        "Seconds until one call has moved a manual clock past everything that is due, in memory; by itself `python benchmarks/advance.py`.",
        "Each POST goes over a connection of its own to a receiver in a process of its own, one moment after the other.",
        "",
        *table(("due events", "of them POSTs", "seconds", "processor of the fake"), rows),
    ]


def _recovery(found: dict[str, list[float]]) -> list[str]:
    rows = [[kind, spread(one, "{:.2f}"), str(len(one))] for kind, one in found.items()]
    return [
        "Seconds from `kill -9` to the first create that a new process accepts, its start included.",
        "",
        *table(("store", "seconds", "kills"), rows),
    ]


def _growth(
    found: dict[str, list[dict[str, float]]], what: str = "tasks", title: str = "tasks in the account"
) -> list[str]:
    rows = []
    for kind, sizes in found.items():
        for one in sizes:
            noisy = max(one["POST others"], one["GET others"]) > CLEAN
            rates = [f"{one[method]:,.0f}" + (" (noisy)" if noisy else "") for method in ("POST", "GET")]
            rows.append([kind, f"{one[what]:,}", *rates, f"{one['rss'] / MB:,.0f}"])
    return table(("store", title, "creates /s", "queries /s", "resident MB before"), rows)


def _cold_starts(found: list[float]) -> list[str]:
    return [
        f"Seconds from spawn to the first 200 of `GET /__mock/ready`, memory store: {spread(found, '{:.2f}')}, {len(found)} starts."
    ]


_PATH_GOALS = {"create": (0.5, 2.5), "query": (0.8, 3.0)}
"""What is asked for, by the first word of a call: a share of the floor, a multiple of the fastest peer."""


def _paths(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    fastest = {}
    for word in _PATH_GOALS:
        rates = [
            (_middle(peer["loads"][word]), peer["name"].split()[0])
            for peer in found["peers"]
            if _good(peer["loads"][word])
        ]
        if rates:
            fastest[word] = max(rates)
    rows = []
    for pair in found["calls"]:
        share, times = _PATH_GOALS.get(pair["method"].partition(":")[0], (0.25, 0.0))
        rate, peer = (
            (_middle(pair["fake"]) if _good(pair["fake"]) else 0.0),
            fastest.get(pair["method"].partition(":")[0]),
        )
        rows.append([
            pair["method"], pair["trouble"] or _rate(pair["fake"]), _rate(pair["floor"]), _against(pair["share"], share, "{:.0%}"),
            _against(rate / peer[0], times, "{:.1f}x") if peer and rate else "", _late(pair["fake"]), _late(pair["floor"]),
        ])  # fmt: skip
    columns = ("call", "fake /s", "floor /s", "of the floor", "of the fastest peer", "p50 / p99 ms", "the floor's")
    peers = [
        [peer["name"], *([peer["trouble"], ""] if peer["trouble"] else map(_rate, peer["loads"].values()))]
        for peer in found["peers"]
    ]
    return [
        "`--images offline`, one worker. What a share or a multiple is asked to be stands behind it where it is less.", "",
        *table(columns, rows), "", *table(("peer", "create /s", "query /s"), peers),
    ]  # fmt: skip


def _late(samples: list[dict[str, Any]]) -> str:
    """Return the medians of the middle and of the slowest hundredth, in milliseconds."""
    return " / ".join(f"{median(one[name] for one in samples):.1f}" for name in ("p50_ms", "p99_ms")) if samples else ""


def _good(samples: list[dict[str, Any]]) -> list[float]:
    """Return the speeds of the samples that count."""
    return [one["per_second"] for one in samples if one["disturbed"] <= CLEAN and not one["failed"]]


def _middle(samples: list[dict[str, Any]]) -> float:
    return median(_good(samples))


def _against(value: float | None, goal: float, form: str) -> str:
    """Return a ratio, with the goal where it is missed."""
    if value is None:
        return ""
    return form.format(value) + ("" if value >= goal else f" (goal {form.format(goal)})")


def start_lines(found: dict[str, Any]) -> list[str]:
    """Return what starts cost, as lines of the page; seconds from end to end only of a machine that others left alone."""
    quiet = found["load"] <= 1 + CLEAN
    rows = []
    for name, by_tree in found["programs"].items():
        now, before = by_tree["now"], by_tree.get("before", [])
        earlier = f"{median(one[0] for one in before) * 1000:.0f}" if before else ""
        cpu, wall, memory = (median(one[index] for one in now) for index in range(3))
        waited = f"{wall * 1000:.0f}" if quiet else "too noisy"
        rows.append([name, earlier, f"{cpu * 1000:.0f}", waited, f"{memory / MB:.0f}" if memory else ""])
    parts = ", ".join(f"{name} {share:.0%}" for name, share in found["groups"].items())
    return [
        "Medians. Processor time of all threads up to the end, or for the fake up to its first answer, with its resident memory at that",
        "moment. Before: the commit ahead of this work, started in turn with this one. What others do on the machine makes each start",
        f"dearer, in both columns alike; its load average was {found['load']:.0f}.",
        "",
        *table(("start", "ms of processor, before", "now", "ms wall", "MB resident"), rows),
        "",
        f"Where the time of the fake's imports goes: {parts}.",
    ]


def footprint_lines(found: dict[str, Any]) -> list[str]:
    """Return what the fake has in memory, as lines of the page."""
    rows = [
        ["one query answered", f"{found['start'] / MB:.0f}"],
        [
            f"{found['requests']:,} requests: queries, refused and repeated creates",
            f"{found['after_requests'] / MB:.0f}",
        ],
        [f"and {found['renders']} videos of 15 s in 1080p, each rendered", f"{found['after_renders'] / MB:.0f}"],
    ]
    return [
        *table(("after", "MB resident"), rows),
        "",
        f"A rendering took {found['seconds']:.2f} s of processor, its create and download included.",
    ]


_SECTIONS: dict[str, tuple[str, Any]] = {
    "paths": ("Every call that needs no I/O, in memory", _paths),
    "speeds": ("Creates and queries a second", _speeds),
    "deliveries": ("Deliveries a second", _deliveries),
    "advances": ("A manual clock", _advances),
    "lag": ("Delivery lag", _lag),
    "recovery": ("Recovery", _recovery),
    "growth": ("Cost as tasks grow", _growth),
    "accounts": ("Cost as accounts grow", partial(_growth, what="accounts", title="accounts that have a task")),
    "cold_starts": ("Cold start", _cold_starts),
    "footprint": ("Memory", footprint_lines),
    "starts": ("What a start costs", start_lines),
}


def _crashes(runs: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            run["store"], str(run["seed"]), str(run["web"]), str(run["courier"]), f"{run['accepted']:,}", f"{run['callbacks']:,}",
            str(run["unknown"]), run["found"], run["date"],
        ]
        for run in runs
    ]  # fmt: skip
    columns = (
        "store",
        "seed",
        "web kills",
        "courier kills",
        "accepted",
        "callbacks",
        "attempts of unknown outcome",
        "found",
        "date",
    )
    return [
        "## Crashes",
        "",
        *_CRASHES,
        "",
        *table(columns, rows),
    ]


_CRASHES = """`kill -9` of the web process and of the courier at random moments while two clients create tasks; afterwards every accepted
task is read, every callback counted at the receiver, every attempt held against the policy, every balance added up. A receiver refuses
the callbacks of every fifth task. One run: `python tests/store/crashes.py --store STORE --kills 200 --seed SEED`; CI runs ten kills
each.""".splitlines()


def _billion(found: dict[str, Any]) -> list[str]:
    """What 10^9 tasks a day need, from the figures of this run."""
    wanted = _BILLION / _DAY
    lines = [
        "## A thousand million tasks a day, on paper",
        "",
        f"{_BILLION:,} tasks a day are {wanted:,.0f} creates a second on average, about three times that at the peak of a day,",
        f"with as many callbacks, and some ten queries a task: {10 * wanted:,.0f} a second.",
        "",
    ]
    for pair in found.get("speeds", ()):
        good = [one["per_second"] for one in pair["fake"]]
        if pair["store"] == "postgresql" and pair["workers"] == 2 and good:
            rate, call = median(good), _CALLS[pair["method"]]
            need = 3 * wanted * (1 if pair["method"] == "POST" else 10) / rate
            lines.append(
                f"- One machine like this one, with its database, does {rate:,.0f} {call} calls a second: {need:,.0f} for the peak."
            )
    return [*lines, *_BILLION_TEXT]


_BILLION_TEXT = """\
- **The shard key is the account.** Money, numbers, clock, rate limit and agenda of an account are one row and what hangs on it; no
  transaction spans two accounts. So databases split by account need nothing of each other: the load balancer picks one by a hash of the
  key, as `hash $http_authorization consistent` in nginx does. Calls without a key (result links, control calls about all) name no
  account: links need the shard in their path, and `POST /__mock/clock/advance` for all goes to each shard.
- **Disk.** A task with its delivery and two journal entries takes about 5 kB: 5 TB a day. The journal is a ring and stays as it is; the
  retention of 30 days would keep 150 TB, so `task_retention_seconds` of a load test is an hour: 200 GB over all shards.
- **What breaks first.** One account: its row takes one transaction at a time, so a single key cannot pass what one commit to disk
  allows, whatever the number of machines. Then the journal of one database, whose entries are numbered one after the other (`--journal`
  bounds its size, not its rate). Then connections: each web process holds up to 64 and PostgreSQL wants hundreds at most, so beyond
  some ten processes a shard needs a pooler such as pgbouncer in session mode, since `FOR UPDATE SKIP LOCKED` and advisory locks are
  within transactions. Last the rendering of videos, which is a processor's work and only cached: `--videos tiny` for load tests.
- **What does not break.** Tasks in an account: cost stays as they grow, see above. Accounts: each is a row. Couriers: what is due is
  handed out by the database, skipping what another has taken.""".splitlines()
