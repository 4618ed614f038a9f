"""Faults that a sample of planted ones slipped through: edges after encoding, work due exactly now, queries in URLs, and locks."""

import sys
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml

import kling_openapi
from kling_mock.store.journal import Journal

KEY = "sk-test"
HOOK = "https://8.8.8.8/hook"
BASE64 = "/api/v1/files/upload/base64"


def gif(size: int) -> bytes:
    """So many bytes that begin as a GIF does."""
    return b"GIF89a".ljust(size, b"x")


@pytest.fixture
def limited(make: Callable[..., Any], tmp_path: Any) -> Callable[[int], Any]:
    """`limited(1000)`: a fake whose uploads have at most so many bytes."""

    def build(most: int) -> Any:
        document = deepcopy(kling_openapi.service())
        document["components"]["schemas"]["UploadedFile"]["x-files"]["max_bytes"] = most
        path = tmp_path / f"{most}.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return make(contract=str(path))

    return build


@pytest.mark.parametrize("most", [999, 1000, 1001])
def test_base64_is_measured_as_the_file_that_it_stands_for(limited: Callable[[int], Any], most: int) -> None:
    """The same limit whatever padding, line breaks and prefix add: the last byte is taken, the next one is not."""
    rig = limited(most)

    def status(size: int, form: str) -> int:
        text = b64encode(gif(size)).decode()
        text = "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)) if "lines" in form else text
        text = f"data:image/gif;base64,{text}" if "prefix" in form else text
        response = rig.call("POST", BASE64, json={"base64_data": text, "file_name": f"{form}-{size}.gif"})
        return int(response.json["code"])

    for form in ("bare", "lines", "prefix", "prefix and lines"):
        assert [status(most + step, form) for step in (-1, 0, 1, 2, 3)] == [200, 200, 40001, 40001, 40001], form


@pytest.mark.parametrize(
    "query", ["page=1", "a=1&b=%2Fx%20y&c=", "x=%C3%A4&x=2", "a=b?c=d", "token=%26"], ids=lambda query: query[:8]
)
@pytest.mark.parametrize("path", ["/v1/tasks/nonsense", "/v1/credits", "/v1/unknown", "/__mock/unknown"])
def test_the_journal_keeps_the_query_as_it_came(rig: Any, path: str, query: str) -> None:
    """Letter by letter, whatever became of the request."""
    rig.call("GET", f"{path}?{query}", bent=True)

    entries = rig.control("GET", "/journal")["entries"]
    urls = [one["request"]["url"] for one in entries if one.get("request")]
    if path.startswith("/__mock"):
        assert not urls, "control calls are not in it"
    elif "token=" in query:
        assert urls[-1].startswith(f"{path}?token=")
        assert "%26" not in urls[-1]
    else:
        assert urls[-1] == f"{path}?{query}"


def settled(rig: Any, task_id: str) -> tuple[str, int]:
    """The task's state and how many callbacks its receiver has had."""
    return rig.shown(task_id)["status"], len(rig.receiver.calls)


@pytest.mark.parametrize("before", [0.0, 0.001, 2.5, 11.999])
def test_what_is_due_exactly_now_happens_now(rig: Any, before: float) -> None:
    """In however many steps the clock gets there; a thousandth earlier it has not."""
    task_id = rig.task("completed queued=2 runs=10", callback_url=HOOK)
    rig.advance(before)
    rig.advance(round(11.999 - before, 3))
    assert settled(rig, task_id) == ("processing", 0)

    fired = rig.advance(0.001)

    assert settled(rig, task_id) == ("completed", 1)
    assert len(fired) >= 1


@pytest.mark.parametrize(("step", "times"), [(0.1, 120), (0.3, 40), (1.2, 10), (0.007, 1714), (1 / 3, 36)])
def test_steps_add_up_to_what_they_say(rig: Any, step: float, times: int) -> None:
    """A hundred and twenty steps of 0.1 s are twelve seconds: sums of floating-point seconds end where decimal ones do."""
    task_id = rig.task("completed queued=2 runs=10", callback_url=HOOK)
    for _ in range(times):
        rig.fake.courier.advance(None, step)
    rig.advance(round(12 - times * round(step, 6), 6))

    assert settled(rig, task_id) == ("completed", 1)


@pytest.mark.parametrize(("nth", "wait"), [(1, 1), (2, 2), (3, 4)])
def test_a_retry_due_exactly_now_is_sent_now(rig: Any, nth: int, wait: int) -> None:
    """The attempt after *nth* failures leaves at its very second and not a thousandth sooner."""
    rig.receiver.script.extend([500] * nth)
    rig.task("completed queued=0 runs=1", callback_url=HOOK)
    rig.advance(1 + sum((1, 2, 4)[: nth - 1]))
    assert len(rig.receiver.calls) == nth
    rig.advance(round(wait - 0.001, 3))
    assert len(rig.receiver.calls) == nth

    rig.advance(0.001)

    assert len(rig.receiver.calls) == nth + 1


def at_once(number: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run *work* in so many threads that begin together; what they raised."""
    begin, raised = threading.Barrier(number), list[BaseException]()

    def runner(which: int) -> None:
        begin.wait()
        try:
            work(which)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=runner, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns as often as Python can, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_a_rate_limit_lets_through_what_it_says_whoever_asks(rig: Any) -> None:
    """Eight callers at once, thirty requests, a limit of ten: ten are served."""
    rig.control("PUT", "/account", {"rate_limit": 10}, key=KEY)
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def ask(_: int) -> None:
        for _ in range(5):
            status = rig.app.test_client().get("/v1/credits", headers={"Authorization": f"Bearer {KEY}"}).status_code
            with lock:
                statuses[status] += 1

    assert at_once(6, ask) == []
    assert statuses == {200: 10, 429: 20}


@pytest.mark.usefixtures("hasty")
def test_reads_at_once_are_each_counted(rig: Any) -> None:
    """A task that goes by reads needs as many as its scenario says, whoever makes them: none is lost, and none counts twice.

    What reads at once show may be a step further than their own, so those that come after them tell.
    """
    task_id = rig.task("completed pending=10 processing=11")

    def read(_: int) -> Any:
        client = rig.app.test_client()
        return client.get(f"/v1/tasks/{task_id}", headers={"Authorization": f"Bearer {KEY}"}).json["status"]

    def some(which: int) -> None:
        for _ in range(5):
            read(which)

    assert at_once(4, some) == []
    assert [read(0), read(0)] == ["processing", "completed"]


@pytest.mark.usefixtures("hasty")
def test_tasks_are_listed_while_they_are_made(rig: Any) -> None:
    """No listing fails, none shows a task twice, and in the end all are there."""
    made: list[str] = []

    def work(which: int) -> None:
        for _ in range(8):
            if which % 2:
                made.append(rig.task())
            else:
                listed = [one["id"] for one in rig.control("GET", "/tasks", key=KEY)["tasks"]]
                assert len(listed) == len(set(listed))

    assert at_once(6, work) == []
    assert {one["id"] for one in rig.control("GET", "/tasks", key=KEY)["tasks"]} == set(made)
    assert len(made) == 24


def test_headers_and_urls_weigh_in_the_journal() -> None:
    """Entries without any body still have to fit: what they hold on to counts, not what was asked of the service."""
    journal = Journal(entries=1000, total=100_000)
    for number in range(60):
        headers = {f"x-{number}-{name}": "v" * 1000 for name in range(3)}
        journal.add(0.0, None, "exchange", method="GET", url="/" + "u" * 2000, request_headers=headers)

    kept = journal.entries()
    assert 1 <= len(kept) < 25
    assert sum(len(one.url) + sum(map(len, one.request_headers.values())) for one in kept) <= 100_000


def test_long_headers_and_urls_are_cut_in_the_journal() -> None:
    """An entry that weighs much is cut when it is added, and says so with dots."""
    journal = Journal()
    entry = journal.add(
        0.0, None, "exchange", method="GET", url="/" + "u" * 40_000, request_headers={"x-long": "v" * 40_000}
    )

    assert len(entry.url) < 9_000
    assert len(entry.request_headers["x-long"]) < 5_000
    assert entry.request_headers["x-long"].endswith("v...")
