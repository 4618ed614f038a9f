"""Stores asked directly, at their limits: the moment at which something falls due or is over, the last use, the first that counts."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from kling_mock import clock as clocks
from kling_mock.clock import Clock
from kling_mock.core.deliveries import Delivery
from kling_mock.core.tasks import Frame, Plan, Status, Task
from kling_mock.store.alarms import Alarms
from kling_mock.store.interface import Queued, Remembered
from kling_mock.store.journal import Journal
from kling_mock.store.memory import MemoryStore

START = 1_757_169_743.0
HOOK = "https://8.8.8.8/hook"


def a_task(number: int, *, settled: bool = True) -> Task:
    """Return a task that is over, or one that is still to come to its end."""
    plan = Plan(Status.COMPLETED, 0.0, 0.0)
    made = Task(f"task-{number}", number, START, "m", "i", Frame(1, 1), 720, 5, None, 1.0, 1.0, "completed", plan)
    made.settled = settled
    return made


@pytest.fixture
def store(any_url: str, process: Callable[..., Any]) -> Any:
    """A store of each kind, under a manual clock."""
    return process(any_url).fake.world.store


def move_to(store: Any, moment: float) -> None:
    """Set every clock forward."""
    for clock in store.clocks(None):
        store.move_clock(clock, moment)


# What is set


def test_what_is_set_for_all_holds_for_those_to_come(store: Any) -> None:
    """For one alone it holds for no other; what is not named stays."""
    one, other = store.seen("sk-one"), store.seen("sk-other")
    store.configure(None, {"credits": 7.0, "rate_limit": 3})
    store.configure(one, {"models": frozenset({"m"}), "rate_limit": None})
    store.configure(other, {"credits": 0.0})
    store.set_relays(None, {"https://a.example": "http://127.0.0.1:1"})
    store.set_relays(other, {})

    def shown(key: str) -> tuple[Any, ...]:
        now = store.refresh(store.seen(key))
        return now.credits, now.models, now.rate_limit, [*now.relays]

    assert shown("sk-one") == (7.0, frozenset({"m"}), None, ["https://a.example"])
    assert shown("sk-other") == (0.0, None, 3, [])
    assert shown("sk-new") == (7.0, None, 3, ["https://a.example"])


def test_a_reset_forgets_what_an_account_did_and_what_was_set(store: Any) -> None:
    """Not where callbacks go and what names lead to. Of one account, or of all and with it what was queued and set for all."""
    initial = store.seen("sk-new").credits
    store.configure(None, {"credits": 7.0})
    store.queue(None, Queued("any", {}, 1))
    for key in ("sk-one", "sk-other"):
        account = store.seen(key)
        store.configure(account, {"models": frozenset({"m"}), "rate_limit": 3})
        store.set_relays(account, {"https://a.example": "http://127.0.0.1:1"})
        store.set_names(account, {"a.example": []})
        store.queue(account, Queued("mine", {}, 1))
        store.count_request(store.refresh(account), 60.0)
        with store.begin(store.refresh(account)) as facts:
            task = a_task(facts.next_number())
            facts.add_task(task)
            facts.schedule(START + 5, task)
            facts.count("upload")
            facts.used = 2.0

    def shown(key: str) -> tuple[Any, ...]:
        now = store.refresh(store.seen(key))
        kept = [*now.relays], [*now.names]
        assert kept == (["https://a.example"], ["a.example"])
        with store.begin(now) as facts:
            counted = facts.count("upload"), facts.next_number(), facts.used
        return now.credits, now.models, now.rate_limit, store.count_tasks(now), len(store.queued(now)), counted

    def due() -> list[str]:
        found = store.earliest(None, [(clock, START + 5) for clock in store.clocks(None)])
        return [] if found is None else [found[1].key]

    before = store.changes(store.seen("sk-one"))
    store.reset(store.refresh(store.seen("sk-one")))
    assert store.changes(store.seen("sk-one")) != before
    assert shown("sk-one") == (initial, None, None, 0, 0, (1, 1, 0.0))
    assert shown("sk-other") == (7.0, frozenset({"m"}), 3, 1, 1, (2, 2, 2.0))
    assert ([one.name for one in store.queued(None)], due()) == (["any"], ["sk-other"])

    store.reset(None)
    assert shown("sk-other") == (initial, None, None, 0, 0, (1, 1, 0.0))
    assert (store.queued(None), due(), store.refresh(store.seen("sk-later")).credits) == ([], [], initial)


def test_queued_scenarios_are_used_as_often_as_they_say(store: Any) -> None:
    """The account's own first, each for its number of creates, then those for anybody."""
    account = store.seen("sk-one")
    store.queue(None, Queued("any", {}, 1))
    store.queue(account, Queued("mine", {"at": 40}, 2))
    store.queue(account, Queued("next", {}, 1))
    used = []
    for _ in range(5):
        with store.begin(store.refresh(account)) as facts:
            found = facts.next_queued()
        left = [(one.name, one.used) for one in (*store.queued(account), *store.queued(None))]
        used.append((found and (found.name, found.used), left))

    assert used == [
        (("mine", 1), [("mine", 1), ("next", 0), ("any", 0)]),
        (("mine", 2), [("next", 0), ("any", 0)]),
        (("next", 1), [("any", 0)]),
        (("any", 1), []),
        (None, []),
    ]


# What is over


@pytest.mark.parametrize(("seconds", "known"), [(9, True), (10, False), (11, False)])
def test_a_key_stands_for_its_task_until_its_last_moment(store: Any, seconds: float, known: bool) -> None:
    """At which it does not any more."""
    account = store.seen("sk-one")
    kept = Remembered("body", START + 10, "task")
    with store.begin(account) as facts:
        facts.remember("a-key", kept)
        assert facts.remembered("another") is None
    move_to(store, START + seconds)

    with store.begin(store.refresh(account)) as facts:
        assert facts.remembered("a-key") == (kept if known else None)


def test_a_key_that_is_used_anew_is_the_youngest(store: Any) -> None:
    """Those that are older end before it."""
    account = store.seen("sk-one")
    with store.begin(account) as facts:
        for key, seconds in (("first", 10), ("second", 20), ("first", 30)):
            facts.remember(key, Remembered("body", START + seconds, "task"))
    move_to(store, START + 25)

    with store.begin(store.refresh(account)) as facts:
        assert facts.remembered("second") is None
        assert facts.remembered("first") == Remembered("body", START + 30, "task")


def test_the_oldest_that_have_ended_are_dropped_some_at_a_time(store: Any) -> None:
    """A sixteenth of what is kept, so two of 32; one that has not ended stays, and so does what it has on the agenda."""
    account, kept = store.seen("sk-one"), []
    for number in range(1, 38):
        with store.begin(account) as facts:
            task = a_task(facts.next_number(), settled=number != 3)
            facts.add_task(task)
            facts.schedule(START + 100 - number, task)
            facts.forget_beyond(32)
        kept.append(store.count_tasks(account))

    assert kept[30:] == [31, 32, 33, 32, 33, 33, 34]
    assert [task.number for task in store.tasks(account)][:3] == [3, 5, 6]
    with store.begin(account) as facts:
        popped = [facts.pop_due(START + 99) for _ in range(35)]
    assert [None if one is None else one[1].number for one in popped] == [*range(37, 4, -1), 3, None]


def test_so_many_of_the_newest_tasks_are_listed(store: Any) -> None:
    """Oldest first, all where no number is given; deliveries by their task."""
    account = store.seen("sk-one")
    with store.begin(account) as facts:
        for number in range(1, 5):
            facts.add_task(a_task(facts.next_number()))
            facts.add_delivery(Delivery(f"d-{number}", f"task-{(number + 1) // 2}", HOOK, START, (number, 1)))

    def listed(newest: int | None) -> list[int]:
        return [task.number for task in store.tasks(account, newest)]

    assert [listed(many) for many in (0, 1, 3, 4, 9, None)] == [[], [4], [2, 3, 4], *[[1, 2, 3, 4]] * 3]
    assert [one.id for one in store.deliveries(account)] == ["d-1", "d-2", "d-3", "d-4"]
    assert [[one.id for one in store.deliveries(account, f"task-{n}")] for n in (1, 2, 3)] == [
        ["d-1", "d-2"],
        ["d-3", "d-4"],
        [],
    ]


# What is due


@pytest.mark.parametrize(("seconds", "due"), [(4.999, None), (5, "sk-b"), (6, "sk-b"), (1000, "sk-b")])
def test_what_is_due_up_to_a_moment(store: Any, seconds: float, due: str | None) -> None:
    """That moment included; of two at one moment the account that was seen first."""
    for key, after in (("sk-a", 7), ("sk-b", 5), ("sk-c", 5)):
        with store.begin(store.seen(key)) as facts:
            task = a_task(facts.next_number())
            facts.add_task(task)
            facts.schedule(START + after, task)

    def earliest(account: Any) -> Any:
        found = store.earliest(account, [(clock, START + seconds) for clock in store.clocks(None)])
        return None if found is None else (found[0] - START, found[1].key)

    assert earliest(None) == (None if due is None else (5, due))
    assert earliest(store.seen("sk-c")) == (None if due is None else (5, "sk-c"))
    with store.begin(store.seen("sk-b")) as facts:
        popped = facts.pop_due(START + seconds)
        assert (popped is None) is (due is None)


def test_a_call_about_one_account_moves_its_clock_alone(store: Any) -> None:
    """It has one of its own from then on, and each clock is named once."""
    one, other = store.seen("sk-one"), store.seen("sk-other")
    assert len(store.clocks(None)) == 1
    (mine,) = store.clocks(one)
    store.move_clock(mine, START + 5)

    assert [store.refresh(account).clock.now() - START for account in (one, other, store.seen("sk-new"))] == [5, 0, 0]
    assert (len(store.clocks(None)), len(store.clocks(store.refresh(one)))) == (2, 1)
    assert store.clocks(store.refresh(one))[0].now() == START + 5


# Who is woken, and when: the memory store alone, whose alarms are a matter of this process


@dataclass
class Sleeper:
    """A condition in which a wait takes no real time: it is written down, and the clocks move on by it."""

    now: list[float]
    waits: list[float] = field(default_factory=list)
    notified: int = 0
    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def __enter__(self) -> "Sleeper":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def wait(self, seconds: float) -> None:
        """Let *seconds* pass, once what happens meanwhile has happened."""
        self.waits.append(seconds)
        while self.meanwhile:
            self.meanwhile.pop()()
        self.now[0] += seconds

    def notify(self) -> None:
        """Count it."""
        self.notified += 1

    notify_all = notify


@dataclass
class Alarmed:
    """A store in memory on clocks that move only while somebody sleeps."""

    store: MemoryStore
    sleeper: Sleeper

    def schedule(self, key: str, seconds: float) -> None:
        """Put something on the account's agenda, so many seconds of its clock from now."""
        with self.store.begin(self.store.seen(key)) as facts:
            facts.schedule(facts.now() + seconds, a_task(facts.next_number()))

    def next(self, timeout: float = 100.0) -> tuple[str, list[float]]:
        """Return whose alarm went off, and the waits until then."""
        self.sleeper.waits.clear()
        account = self.store.next_account(timeout)
        return "" if account is None else account.key, [*self.sleeper.waits]


@pytest.fixture
def alarmed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Alarmed]]:
    """`alarmed("scaled", 10)`: a store whose clocks run like this."""
    now = [START]
    monkeypatch.setattr(clocks, "wall", lambda: now[0])
    monkeypatch.setattr(clocks, "monotonic", lambda: now[0] - START + 50.0)

    def build(mode: Any = "real", rate: float = 1.0) -> Alarmed:
        sleeper = Sleeper(now)
        monkeypatch.setattr("kling_mock.store.memory.Alarms", lambda: Alarms(sleeper))  # type: ignore[arg-type]
        made = MemoryStore(lambda: Clock(mode, rate), 1000.0, Journal())
        return Alarmed(made, sleeper)

    return build


def test_an_account_that_is_busy_rings_32_times_a_second(alarmed: Callable[..., Alarmed]) -> None:
    """Of its clock; the first thing after a while is on time, and so is another account's."""
    for mode, rate in (("real", 1.0), ("scaled", 8.0)):
        here = alarmed(mode, rate)
        here.schedule("sk-a", 8)
        assert here.next() == ("sk-a", [8 / rate])
        here.schedule("sk-a", 1 / 1024)
        here.schedule("sk-b", 1 / 512)

        assert here.next() == ("sk-b", [1 / 512 / rate])
        assert here.next() == ("sk-a", [(1 / 32 - 1 / 512) / rate])


def test_alarms_go_off_in_the_order_of_their_moments(alarmed: Callable[..., Alarmed]) -> None:
    """Each is slept for once, whatever the order in which they were set."""
    here = alarmed()
    for key, seconds in (("sk-a", 30), ("sk-b", 10), ("sk-c", 20)):
        here.schedule(key, seconds)

    assert [here.next() for _ in range(4)] == [("sk-b", [10]), ("sk-c", [10]), ("sk-a", [10]), ("", [100])]


@pytest.mark.parametrize(
    ("timeout", "found"), [(4.0, ("", [4.0])), (9.0, ("", [9.0])), (10.0, ("sk-a", [10.0])), (11.0, ("sk-a", [10.0]))]
)
def test_nobody_sleeps_longer_than_asked(
    alarmed: Callable[..., Alarmed], timeout: float, found: tuple[str, list[float]]
) -> None:
    """An alarm at the last moment is one."""
    here = alarmed()
    here.schedule("sk-a", 10)

    assert here.next(timeout) == found


@pytest.mark.parametrize(
    ("mode", "rate", "found"),
    [("real", 1.0, ("sk-a", [10.0])), ("scaled", 4.0, ("sk-a", [2.5])), ("manual", 0.0, ("", [100.0]))],
)
def test_an_alarm_is_set_in_real_seconds(
    alarmed: Callable[..., Alarmed], mode: str, rate: float, found: tuple[str, list[float]]
) -> None:
    """Of a clock that runs faster sooner, of one that is moved by hand never."""
    here = alarmed(mode, rate)
    here.schedule("sk-a", 10)

    assert here.next() == found


@pytest.mark.parametrize(("seconds", "notified"), [(5.0, 1), (9.75, 1), (10.0, 0), (20.0, 0)])
def test_whoever_sleeps_is_woken_for_what_comes_sooner(
    alarmed: Callable[..., Alarmed], seconds: float, notified: int
) -> None:
    """Not for what comes as late as that what is slept for, and not where nobody sleeps."""
    here = alarmed()
    here.schedule("sk-a", 10)
    assert here.sleeper.notified == 0
    here.sleeper.meanwhile.append(lambda: here.schedule("sk-b", seconds))

    assert here.next()[1] == [10.0]
    assert here.sleeper.notified == notified
    here.schedule("sk-c", 0)
    assert here.sleeper.notified == notified


def test_an_account_has_one_alarm_at_a_time(alarmed: Callable[..., Alarmed]) -> None:
    """For the first on its agenda; once it has gone off, the next transaction sets another, in whatever mode the clock is."""
    here = alarmed()
    for seconds in (10, 20):
        here.schedule("sk-a", seconds)
    assert here.next() == ("sk-a", [10])
    assert here.next(5.0) == ("", [5.0])

    with here.store.begin(here.store.seen("sk-a")) as facts:
        assert facts.pop_due(facts.now()) is not None
    assert here.next() == ("sk-a", [5.0])

    here.schedule("sk-b", 50)
    here.store.set_clock(here.store.seen("sk-b"), "scaled", 128.0)
    here.schedule("sk-b", 40)
    assert here.next() == ("sk-b", [0.3125])


def test_whoever_is_woken_is_handed_nothing_once(alarmed: Callable[..., Alarmed]) -> None:
    """Also where an alarm has gone off already, which is handed out next."""
    here = alarmed()
    here.schedule("sk-a", 0)
    here.store.wake()

    assert [here.next() for _ in range(2)] == [("", []), ("sk-a", [])]
    here.sleeper.meanwhile.append(here.store.wake)
    assert here.next() == ("", [100.0])


def test_an_account_that_was_just_seen_has_no_limits() -> None:
    """It has the credits of the store, every model, and has done nothing."""
    with closing(MemoryStore(lambda: Clock("manual", now=START), 1000.0, Journal())) as store:
        account = store.seen("sk-a")
        assert (account.credits, account.used, account.models, account.rate_limit) == (1000.0, 0.0, None, None)
        assert (store.changes(account), account.holds_anything, account.next_due()) == (0, False, None)
        assert [store.count_request(account, 60.0) for _ in range(1000)] == [None] * 1000
