"""How the lab finds a client's pace, starts clients in turn, and follows the fake's journal."""

import threading
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from kling_contract.driving.control import ControlFailed
from kling_contract.lab.lab import Case, Ended, short_of_time
from kling_contract.lab.pace import Pace, deadline, pace_for
from kling_contract.lab.results import RunRequest, RunResult
from kling_contract.lab.run import bound_of
from kling_contract.lab.scheduler import Scheduler
from kling_contract.lab.start_limiter import StartLimiter
from kling_contract.lab.stories import Story, load
from kling_contract.lab.watch import Seen, Watch
from kling_contract.reading.contract import shipped
from kling_contract.rules.verdicts import SetupError

STORIES = load(shipped())
TURN = attrgetter("turn")
CREATE, UPLOAD = (shipped().named(name).template for name in ("createVideo", "uploadBase64"))


def read(at: float, status: int = 200, account: str = "a") -> dict[str, Any]:
    """A read in the journal."""
    request = {"method": "GET", "url": "/v1/tasks/x", "headers": {}, "body": None}
    return {"kind": "exchange", "account": account, "at": at, "request": request, "response": {"status": status}}


def post(path: str, **body: str) -> dict[str, Any]:
    """A call in the journal that posts something, at the first second."""
    return {**read(1.0), "request": {"method": "POST", "url": path, "headers": {}, "body": body}}


def test_what_nobody_told_is_the_contracts() -> None:
    """
    Untold, a client keeps the contract's pause in the stories about it and may hurry in the rest; told, it keeps what it was told.
    """
    pace = pace_for(shipped(), None, None)

    assert (pace.for_story(STORIES["happy"]), pace.for_story(STORIES["read-500"])) == (2.0, 0.2)
    assert (pace.given, pace.deadline) == (False, None)
    assert pace_for(shipped(), 3.0, None) == Pace(3.0, 3.0, deadline(3.0), pause=3.0)
    assert pace_for(shipped(), 3.0, 9.0).deadline == 9.0
    short = pace_for(shipped(), None, 9.0)
    assert short == Pace(shipped().min_poll, 0.2, 9.0, fixed=True)
    assert (short.limit_for(STORIES["read-500"]), short.limit_for(STORIES["stuck"])) == (9.0, 5.4)
    assert pace_for(shipped(), None, None).limit_for(STORIES["happy"]) == 60.0
    assert pace_for(shipped(), 3.0, 9.0).limit_for(STORIES["happy"]) == 9.0


def test_a_pause_is_the_wait_after_a_good_read() -> None:
    """
    Waits that an error may have stretched tell nothing of a client's own pace.
    """
    seen = Seen()
    for entry in (post(UPLOAD), post(CREATE), read(3.0, 503), read(9.0)):
        seen.take(entry)
    before = seen.pause
    seen.take(read(9.5, 500))

    assert (before, seen.pause, seen.first) == (None, 0.5, 1.0)
    assert (len(seen.posted(CREATE)), len(seen.reads)) == (1, 3)


class Control:
    """A fake's control protocol: accounts by key, and a journal that grows."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.gone = False
        self.key = ""

    def of(self, key: str) -> "Control":
        """The same for a key."""
        found = Control()
        found.key = key
        return found

    def call(self, method: str, path: str) -> Any:
        """An answer, or none any more."""
        assert method == "GET"
        if path == "/accounts":
            return {"accounts": [{"account": f"account of {self.key}"}]}
        if self.gone:
            raise ControlFailed("gone")
        since = int(path.partition("since=")[2].partition("&")[0])
        return {"entries": self.entries[since:], "next": len(self.entries)}


def test_watch_tells_cases_apart() -> None:
    """
    Each case hears of its own account's exchanges, once each, and of the first as soon as it is seen; the fake may go away.
    """
    control = Control()
    mine, other, called = Seen(), Seen(), threading.Event()
    mine.called = called.set
    with Watch(control) as watch:  # type: ignore[arg-type]
        watch.follow("mine", mine)
        watch.follow("other", other)
        control.entries += [read(1.0, account="account of mine"), {"kind": "clock", "account": "account of mine"}]
        assert called.wait(5.0)
        control.entries += [read(2.0, account="account of mine"), read(2.0, account="nobody's")]
        assert watch.until(lambda: len(mine.calls) == 2, 5.0)
        assert not watch.until(lambda: bool(other.calls), 0.0)
        control.gone = True

    assert [call["at"] for call in mine.calls] == [1.0, 2.0]
    assert not watch.until(lambda: False, 5.0)


def order(**more: Any) -> RunRequest:
    """An order that nobody carries out."""
    given: dict[str, Any] = {
        "case": "x", "job": 1, "base_url": "", "api_key": "", "request": {}, "folder": None, "out": None, "min_poll": 1.0,
        "deadline": 1.0, "grace": 1.0,
    }  # fmt: skip
    return RunRequest(**{**given, **more})


def test_those_that_take_long_start_first() -> None:
    """
    So many start at a time; the next one does when one is up, and one whose story takes long goes before those that waited longer.
    """
    stile, entered, lock = StartLimiter(1), list[str](), threading.Condition()
    assert stile.idle
    first, orders = order(), {"short": order(turn=(1.0, -1.0)), "long": order(turn=(1.0, -9.0))}

    def enter(name: str) -> None:
        stile.take(orders[name])
        with lock:
            entered.append(name)
            lock.notify_all()

    stile.take(first)
    threads = []
    for waiting, name in enumerate(orders, 1):
        threads.append(threading.Thread(target=enter, args=(name,)))
        threads[-1].start()
        with stile._news:
            assert stile._news.wait_for(lambda waiting=waiting: len(stile._waiting) == waiting, 5.0)  # type: ignore[misc]
    before = list(entered)
    for one, count in ((first, 1), (orders["long"], 2)):
        one.up.set()
        with lock:
            assert lock.wait_for(lambda count=count: len(entered) == count, 5.0)  # type: ignore[misc]
    orders["short"].up.set()
    for thread in threads:
        thread.join()

    assert (before, entered) == ([], ["long", "short"])


class Lab:
    """A lab whose client waits *pause* between reads, or *hurried* where it is told that it may, and has a deadline of its own or not."""

    def __init__(self, pause: float, *, hurries: bool = True, says: bool = True, dies: bool = False) -> None:
        self.pace = pace_for(shipped(), None, None)
        self.pause, self.hurries, self.says, self.dies = pause, hurries, says, dies
        self.fake = self.watch = self
        self.strays: list[Any] = []
        self.runs: list[tuple[str, float, bool]] = []
        self.kept: list[str] = []
        self.contract, self.asks = shipped(), {"model": "m"}
        self.lock = threading.Lock()
        self.aborted = self.impersonate = False
        self.out_of_time = ""
        self.slow, self.glimpsed = threading.Event(), threading.Event()

    def until(self, found: Any, seconds: float) -> bool:
        """As the watch has it; a glimpse is over before a slow client has read twice."""
        for _ in range(5000):
            if found() or (seconds < 10.0 and self.slow.is_set()):
                break
            threading.Event().wait(0.001)
        so = bool(found())
        if seconds < 10.0:
            self.glimpsed.set()
        return so

    def run_story(self, story: Story, adapter: Any, seen: Seen | None = None, *, final: bool = True) -> Ended:
        """One story: five reads, at the client's pace; one that takes longer than a few seconds shows its reads late."""
        del adapter
        limit = self.pace.limit_for(story)
        wait = max(self.pause, self.pace.for_story(story)) if self.hurries else self.pause
        with self.lock:
            self.runs.append((story.name, limit, final))
        if self.dies:
            return Ended(story, (RunResult(exit=1, stderr="I am broken"),), (), called=False, hooked=False)
        seen = seen or Seen()
        seen.take(post(UPLOAD))
        threading.Event().wait(0.1)
        seen.take(post(CREATE, **self.asks))
        if wait > 3.0 and story.name == "all-options":
            self.slow.set()
            self.glimpsed.wait(5.0)
        for number in range(5):
            seen.take(read(number * wait))
        short = 5 * wait > limit and story.right.completes is True and not final
        how = "gave up" if self.says else "cut short"
        return Ended(
            story, (RunResult(exit=0),), (), called=True, hooked="callback_url" in self.asks, short=how if short else ""
        )  # type: ignore[arg-type]

    def abort(self) -> None:
        """Remember that everything was stopped."""
        self.aborted = True

    def keep(self, ended: Ended) -> Ended:
        """Keep what is not repeated."""
        self.kept.append(ended.story.name)
        return replace(ended, short="")


class Hanging(Lab):
    """A lab whose client never ends in one story until it may."""

    def __init__(self) -> None:
        super().__init__(0.2)
        self.may_end = threading.Event()

    def run_story(self, story: Story, adapter: Any, seen: Seen | None = None, *, final: bool = True) -> Ended:
        """One story, or the one that does not end; its first call was long ago."""
        if story.name == "stuck":
            assert seen is not None
            seen.take(read(1.0))
            self.may_end.wait(120)
        return super().run_story(story, adapter, seen, final=final)


def test_who_hangs_is_not_waited_for_alone() -> None:
    """What is over can be looked at while a client that is past its limit still runs."""
    lab = Hanging()
    with Scheduler(lab, Adapter(), lambda _: None) as party:  # type: ignore[arg-type]
        chosen = sorted((STORIES[name] for name in NAMES), key=TURN)
        party.begin(chosen)
        party.start(chosen)
        for _ in range(
            1200
        ):  # the times of this lab's calls are made up, so each client seems to hang until it has ended
            early = {over.story.name for some in party.settled() for over in some}
            if early == {*NAMES} - {"stuck"}:
                break
            threading.Event().wait(0.05)
        lab.may_end.set()

    assert early == {*NAMES} - {"stuck"}
    assert {over.story.name for over in party.repeat()} == {*NAMES}


class Waiting(Lab):
    """A lab whose client has not called yet in one story, until it may."""

    def __init__(self) -> None:
        super().__init__(0.2)
        self.may_go_on = threading.Event()

    def run_story(self, story: Story, adapter: Any, seen: Seen | None = None, *, final: bool = True) -> Ended:
        """One story, or the one that has time."""
        if story.name == "stuck":
            self.may_go_on.wait(120)
        return super().run_story(story, adapter, seen, final=final)


def test_what_is_over_can_be_looked_at_while_others_wait() -> None:
    """Each case is given once; the one that is waited for comes last, by itself."""
    lab, given = Waiting(), list[list[str]]()
    with Scheduler(lab, Adapter(), lambda _: None) as party:  # type: ignore[arg-type]
        chosen = sorted((STORIES[name] for name in NAMES), key=TURN)
        party.begin(chosen)
        party.start(chosen)
        for some in party.settled():
            given.append([over.story.name for over in some])
            if sum(map(len, given)) == len(NAMES) - 1:
                lab.may_go_on.set()

    assert given[-1] == ["stuck"]
    assert sorted(name for some in given for name in some) == sorted(NAMES)


def test_a_whole_run_has_a_bound() -> None:
    """Five times what one client may take: ten minutes, or more for one that keeps a longer pause."""
    assert bound_of(pace_for(shipped(), None, None)) == 600.0
    assert bound_of(pace_for(shipped(), None, 300.0)) == 5 * 302.5


class Adapter:
    """Drives nobody."""

    parallel = 1000


def gone_through(lab: Lab, names: list[str]) -> tuple[str, list[Ended], list[str]]:
    """What a party of these stories comes to: why no webhooks, the cases, and whose end was told."""
    heard: list[str] = []
    chosen = sorted((STORIES[name] for name in names), key=TURN)
    with Scheduler(lab, Adapter(), lambda over: heard.append(over.story.name)) as party:  # type: ignore[arg-type]
        silent = party.begin(chosen)
        party.start(chosen)
    return silent, party.repeat(), heard


NAMES = ["happy", "all-options", "read-500", "stuck", "create-400"]


def test_a_client_that_hurries_shows_its_pace_at_once() -> None:
    """
    The second story shows how fast the client is where it may hurry; the others get the deadline that goes with it.
    """
    lab = Lab(0.2)

    silent, ended, heard = gone_through(lab, NAMES)

    assert silent == "the client registered no callback: its command names none"
    assert sorted(over.story.name for over in ended) == sorted(heard) == sorted(NAMES)
    assert {name: limit / STORIES[name].share for name, limit, _ in lab.runs} == {
        "happy": 60.0, "all-options": 60.0, "read-500": deadline(0.2), "stuck": deadline(0.2), "create-400": deadline(0.2),
    }  # fmt: skip
    assert all(not final for _, _, final in lab.runs)


def test_a_client_that_uploads_first_may_register_a_callback() -> None:
    """
    Whether callbacks are asked for shows in the create, not in whatever else is posted before it.
    """
    lab = Lab(0.2)
    lab.asks = {"callback_url": "https://hooks.example.com/x"}

    silent, _, _ = gone_through(lab, NAMES)

    assert silent == ""


@pytest.mark.parametrize("says", [True, False])
def test_a_slow_client_has_its_time(says: bool) -> None:
    """
    One that neither hurries nor keeps to the contract's pause is judged all the same: what was too short is repeated with more time.
    """
    lab = Lab(12.0, hurries=False, says=says)

    _, ended, heard = gone_through(lab, NAMES)

    assert {over.short for over in ended} == {""}
    assert sorted(heard) == sorted(NAMES)
    assert [run for run in lab.runs if run[1] == deadline(12.0)] == [("read-500", deadline(12.0), False)]
    assert not lab.kept


def test_a_busy_machine_is_no_fault() -> None:
    """
    Where the pace was told, a client that gave up for want of time runs once more, alone; one that was ended by force does not.
    """
    for says, again in ((True, [("read-500", 4.0, True)]), (False, [])):
        lab = Lab(1.0, says=says)
        lab.pace = pace_for(shipped(), 1.0, 4.0)

        _, ended, _ = gone_through(lab, ["happy", "read-500"])

        assert len(ended) == 2
        assert [run for run in lab.runs if run[2]][1:] == again
        assert sorted(lab.kept) == ([] if says else ["happy", "read-500"])


def test_a_client_that_never_calls_is_not_tried_further() -> None:
    """
    The first story tells that there is no client, and what it said instead.
    """
    lab = Lab(0.2, dies=True)

    with pytest.raises(
        SetupError,
        match=r"never called the lab \(exit code 1\); it said: I am broken; give it {base_url}.* --impersonate",
    ):
        gone_through(lab, NAMES)

    assert len(lab.runs) <= 2
    assert lab.aborted


def test_what_comes_first() -> None:
    """
    The story that shows whether there is a client, then what takes even a good one long, then what takes others long, webhooks before the
    rest.
    """
    names = [story.name for story in sorted(STORIES.values(), key=TURN)]

    assert STORIES[names[0]].canary
    lasting = [STORIES[name].lasts for name in names[1:]]
    assert lasting == sorted(lasting, reverse=True)
    assert (
        names.index("read-429")
        < names.index("long")
        < names.index("stuck")
        < names.index("create-500")
        < names.index("create-400")
    )
    assert names.index("webhook-twice") < names.index("link-cut")


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("read-5xx-row", 7.0),
        ("read-429", 0.8 + 6.0),
        ("create-400", 0.2),
        ("killed", 2 * 0.6),
        ("stuck", 6.0 * 0.6),
        ("link-dead", 0.2),
    ],
)
def test_what_a_story_takes_of_a_good_client(name: str, seconds: float) -> None:
    """Its reads, what it asks to wait, the whole deadline where nothing comes, and all of it once for each run."""
    assert STORIES[name].lasts == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("result", "short"),
    [(RunResult(exit=5, seconds=7.0), "gave up"), (RunResult(exit=0, seconds=7.0), ""), (RunResult(exit=5, seconds=3.0), ""),
     (RunResult(exit=5, seconds=1.0, said={"outcome": "gave_up"}), "gave up"), (RunResult(ended="deadline", seconds=9.0), "cut short"),
     (RunResult(ended="deadline", seconds=120.0), "")],
)  # fmt: skip
def test_who_used_its_whole_limit_is_asked_again(result: RunResult, short: str, tmp_path: Path) -> None:
    """A client without a word for it, too, may have given up for want of time, which a busy machine takes from it."""
    seen = Seen()
    seen.take(read(1.0))
    case = Case(STORIES["happy"], "sk-lab-x", tmp_path, seen, results=[result])

    assert short_of_time(case, 8.0) == short
