"""Recordings that are bent anywhere: each is judged, or refused in one line; nothing of the kit breaks, its reports included.

`python tests/kit/test_mutated_recordings.py 5000 1` bends so many more with that seed.
"""

import io
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import histories
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scene import Scene, hook

from kling_contract.history.events import HistoryError, to_json
from kling_contract.history.har import to_har
from kling_contract.judging import again, finish, judge_history, recorded
from kling_contract.rules.verdicts import Choice

HERE = Path(__file__).parent / "recordings"
DEEP: Any = 1
for _ in range(200):
    DEEP = [DEEP]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 0.5, 599, 99999, 2**53, -(2**53), 2**63 - 1, 10**18, 1e18, 1e308, -1e308, 10**30),
    *("", "x", "0", "-1", "nan", "inf", "\0", "\u2028", "😀", "A" * 70_000, "base64", "%00", "%ff", "{}", "[" * 300),
    *(
        "2026-13-45",
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
    ),
    *("https://[", "//[", "http://a:99999/", "http://[::1", "data:,x", "/v1/tasks/x", "http://x/v1/videos/generations"),
    *(
        "GET",
        "POST",
        "callback",
        "download",
        "clock",
        "attempt",
        "exchange",
        "note",
        "balance",
        "run",
        "case",
        "result",
    ),
    *("Bearer sk-x", "..", "../../etc/passwd", "task-unified-1-aaaaaaaa", '{"id":[1]}', '{"status":{}}', "Wed, 99 Foo"),
    *(
        [],
        {},
        [[]],
        [None],
        [1],
        [{}],
        {"name": 1},
        [{"name": None}],
        [{"name": "a", "value": ["x"]}],
        {"": {"": []}},
        DEEP,
    ),
]
NAMES = (
    *(
        "_event",
        "_events",
        "_clock",
        "_at",
        "_kind",
        "_account",
        "_ended",
        "_resent",
        "_task_id",
        "_error",
        "_fault",
        "_file",
    ),
    *(
        "_kept",
        "text",
        "params",
        "encoding",
        "size",
        "time",
        "name",
        "topic",
        "data",
        "who",
        "case",
        "mode",
        "rate",
        "video",
    ),
)


def documents() -> list[tuple[str, Any]]:
    """What is bent: HAR files of several tools and of the kit itself, a journal, histories of a server's run and a client's."""
    hars = [HERE / f"{name}.har" for name in ("chrome", "charles", "insomnia", "no-timings", "wrong-client")]
    found = [("har", orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))) for path in hars]
    good = histories.good()
    client = list(hook("CW-01").create(sent={"x": 1}).poll().back().poll("completed").fetch().told().recorder.events)
    plain = list(Scene("CP-01").create().poll().poll("completed").fetch().told().recorder.events)
    found += [("har", to_har([*good[:12], *good[-12:]])), ("har", to_har(client))]
    found += [("jsonl", [to_json(event) for event in events]) for events in (good[:10] + good[-30:], client, plain)]
    request = {
        "method": "POST",
        "url": "/v1/videos/generations",
        "headers": {"host": "x", "a": "b"},
        "body": {"model": "m"},
    }
    response = {
        "status": 200,
        "headers": {"content-type": "application/json"},
        "body": {"id": "task-unified-1-aaaaaaaa"},
    }
    entry = {
        "seq": 1,
        "at": 5.0,
        "account": "a",
        "kind": "call",
        "request": request,
        "response": response,
        "seconds": 0.1,
    }
    moves = [{"seq": 2, "at": 6.0, "account": None, "kind": "clock", "mode": "manual", "before": 5.0, "after": 6.0}]
    return [*found, ("journal", {"entries": [entry, *moves, {**entry, "kind": "attempt", "ended": 7.0}], "next": 4})]


DOCUMENTS = documents()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list) and len(path) < 20
        else ()
    )
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def bent(document: Any, changes: list[tuple[str, int, int, Any]]) -> Any:
    """*document* with its places deleted, replaced, copied from others, or given more members."""
    document = deepcopy(document)
    for kind, first, second, value in changes:
        paths = list(_paths(document))
        path, other = paths[first % len(paths)], paths[second % len(paths)]
        if not path:
            continue
        holder, last, inner = _at(document, path[:-1]), path[-1], _at(document, path)
        if kind == "delete":
            del holder[last]
        elif kind == "copy":
            holder[last] = deepcopy(_at(document, other))
        elif kind == "add" and isinstance(inner, dict):
            inner[NAMES[second % len(NAMES)]] = deepcopy(value)
        elif kind == "add" and isinstance(inner, list):
            inner.append(deepcopy(value))
        else:
            holder[last] = deepcopy(value)
    return document


def written(kind: str, document: Any) -> bytes:
    """The bytes of a bent document."""
    lines = document if kind == "jsonl" and isinstance(document, list) else [document]
    return "\n".join(json.dumps(line) for line in lines).encode()


def come_to(data: bytes, folder: Path) -> str:
    """What a recording comes to: refused in one line, or judged and reported, with what broke in the kit."""
    path = folder / "recording.har"
    path.write_bytes(data)
    try:
        events = recorded(path)
    except HistoryError as error:
        in_a_line = "\n" not in str(error) and str(error).startswith(str(path))
        return "refused" if in_a_line else f"refused in other words: {error}"
    run = judge_history(events, Choice(), again("check", [str(path)]))
    finish(run, folder / "report", Console(file=io.StringIO()))
    broken = [f"{one.rule.id}: {one.reason}" for one in run.verdicts if str(one.result) == "kit-error"]
    return f"broken: {broken}" if broken else "judged"


CHANGES = st.tuples(
    st.sampled_from(["delete", "copy", "add", "replace", "replace"]),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.sampled_from(VALUES) | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
)


@settings(max_examples=settings.default.max_examples // 3, deadline=None)
@given(st.sampled_from(DOCUMENTS), st.lists(CHANGES, min_size=1, max_size=8))
def test_a_bent_recording_is_judged_or_refused(base: tuple[str, Any], changes: list[tuple[str, int, int, Any]]) -> None:
    """Whatever is wrong in it, wherever: no traceback, and no judge that breaks."""
    kind, document = base
    with tempfile.TemporaryDirectory() as folder:
        found = come_to(written(kind, bent(document, changes)), Path(folder))

    assert found in ("judged", "refused")


def test_both_ends_are_reached() -> None:
    """As they are, all of them are judged; with its entries replaced, each is refused."""
    with tempfile.TemporaryDirectory() as folder:
        assert {come_to(written(*one), Path(folder)) for one in DOCUMENTS} == {"judged"}
        assert come_to(b'{"log": {"entries": [7]}}', Path(folder)) == "refused"


def main(count: int, seed: int) -> int:
    """Bend so many; 1 where one of them breaks the kit."""
    found: Counter[str] = Counter()
    for number in range(count):
        rng = random.Random(f"{seed}:{number}")
        kinds = ("delete", "copy", "add", "replace")
        changes = [
            (rng.choice(kinds), rng.randrange(10_000), rng.randrange(10_000), rng.choice(VALUES))
            for _ in range(rng.choice([1, 1, 2, 4, 8]))
        ]
        kind, document = rng.choice(DOCUMENTS)
        with tempfile.TemporaryDirectory() as folder:
            try:
                end = come_to(written(kind, bent(document, changes)), Path(folder))
            except Exception as error:
                end = f"raised {type(error).__name__}: {str(error)[:200]}"
        end = end[:240]
        if end not in ("judged", "refused") and end not in found:
            print(number, end, flush=True)
        found[end] += 1
    print(dict(found))
    return int(set(found) - {"judged", "refused"} != set())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
