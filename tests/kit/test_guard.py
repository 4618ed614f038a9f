"""The money guard by itself: what it lets pass, what it counts, and when it ends a run."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_contract.driving.balance import Books
from kling_contract.driving.drivers.running import guard_for
from kling_contract.driving.guard import Caps, Charge, Guard, Stopped, Withheld
from kling_contract.driving.guarded import GuardedSender
from kling_contract.driving.pricing import MARGIN, Price
from kling_contract.driving.sender import RawResponse, Sender
from kling_contract.reading.contract import shipped

CONTRACT = shipped()
PRICE = Price.of(CONTRACT, 0.1)
SHORT = {"duration": CONTRACT.duration_min}
CREATE = "https://service.example/v1/videos/generations"


def guard(max_usd: float | None = 1.0, creates: int | None = 1, **more: Any) -> Guard:
    """A guard at ten cents a second."""
    return guard_for(CONTRACT, PRICE, Caps(max_usd=max_usd, creates=creates, **more))


def accept(watch: Guard, body: object = None, task: str = "") -> None:
    """A create that is sent and accepted."""
    watch.after("POST", watch.before("POST", body or SHORT), 200, task_id=task)


def test_the_price_comes_from_the_contract_unless_the_user_knows_better() -> None:
    """Credits a second times dollars a credit, twice at worst; a price of the user's is the worst by itself."""
    assumed = Price.of(CONTRACT)
    least = CONTRACT.document["x-assumptions"]["minimum_credits"]["schema"]["default"]
    rates = CONTRACT.document["x-assumptions"]["credits_per_second"]["schema"]["default"]
    credit = CONTRACT.document["x-assumptions"]["usd_per_credit"]["schema"]["default"]

    assert assumed.expected({**SHORT, "quality": "720p"}, CONTRACT) == pytest.approx(least * credit)
    assert assumed.worst({**SHORT, "quality": "1080p"}, CONTRACT) == pytest.approx(MARGIN * 3 * rates["1080p"] * credit)
    assert assumed.expected({"duration": 15}, CONTRACT) == pytest.approx(15 * rates["720p"] * credit)
    assert Price.of(CONTRACT, 2.0).worst({**SHORT, "quality": "1080p"}, CONTRACT) == pytest.approx(6.0)


def test_another_model_of_the_family_has_its_own_price() -> None:
    """A client may ask for any of them through the proxy; the dearer reading counts."""
    body = {
        "model": "kling-v3-image-to-video",
        "image_start": "https://image.test/1280x720.jpg",
        "duration": 15,
        "quality": "1080p",
    }
    own = {**body, "model": CONTRACT.model}
    assumed = Price.of(CONTRACT)
    assert assumed.expected(body, CONTRACT) >= assumed.expected(own, CONTRACT)
    assert assumed.expected({"model": "kling-v3-image-to-video", "duration": []}, CONTRACT) > 0


@given(
    st.dictionaries(st.sampled_from(["duration", "quality", "prompt"]), st.none() | st.integers() | st.text())
    | st.text()
)
def test_no_body_is_cheaper_than_the_cheapest_task(body: object) -> None:
    """Whatever a body holds, the worst charge is never below that of the shortest task."""
    assert PRICE.worst(body, CONTRACT) >= CONTRACT.duration_min * 0.1 - 1e-9


@given(
    st.lists(
        st.tuples(st.integers(-3, 40), st.sampled_from([200, 303, 400, 402, 500, None]), st.booleans()), max_size=30
    ),
    st.floats(0, 5),
)
def test_no_sequence_of_answers_passes_the_cap(calls: list[tuple[int, int | None, bool]], cap: float) -> None:
    """Whatever is sent and whatever comes back, what may have been charged stays within the cap, and nothing follows a lost reply."""
    watch = guard(max_usd=cap, creates=None, at_once=None)
    watch.balance(1000.0)
    charged, doubtful, over = 0.0, 0.0, False
    for seconds, status, read in calls:
        try:
            charge = watch.before("POST", {"duration": seconds})
        except Stopped:
            continue
        assert not over
        taken = status is None or status in (200, 303, 500)
        charged += charge.worst if taken else 0.0
        doubtful += 0.0 if taken else charge.worst
        over = status in (None, 303, 500)
        watch.after("POST", charge, status)
        if read:
            watch.balance(1000.0, watch.refused)
            doubtful = 0.0
    assert charged + doubtful <= cap + 1e-6
    assert watch.spent.usd == pytest.approx(charged + doubtful)


@pytest.mark.parametrize(("expected", "worst", "shown"), [(0.3, 0.6, True), (0.3, 0.3, False), (0.0, 0.3, True)])
def test_the_refusal_says_what_a_create_is_expected_to_cost(expected: float, worst: float, shown: bool) -> None:
    """Where that is less than the worst that was counted, and only there."""
    watch = Guard(lambda _: Charge(expected, worst), Caps(max_usd=0.1))

    with pytest.raises(Withheld) as caught:
        watch.before("POST", SHORT)

    assert (f"(expected ${expected:.2f})" in str(caught.value)) is shown


def test_a_cap_that_was_passed_holds_as_well() -> None:
    """Two creates that were accepted where one was allowed leave no room for a third."""
    watch = Guard(lambda _: Charge(), Caps(creates=1))
    watch.spent.accepted = 2

    with pytest.raises(Withheld, match="the cap is 1 accepted create"):
        watch.before("POST", SHORT)


def test_a_create_over_the_cap_is_not_sent() -> None:
    """What was spent and the worst of the next one together stay within the cap."""
    watch = guard(max_usd=0.5, creates=None, at_once=None)
    accept(watch)

    with pytest.raises(Withheld, match=r"may cost \$0.30, and \$0.30 of \$0.50 may be spent already; raise --max-usd"):
        watch.before("POST", SHORT)
    assert (watch.spent.accepted, watch.spent.sent) == (1, 1)


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        ({"creates": 1}, "raise --max-creates"),
        ({"creates": None, "at_once": 1}, "tasks are under way"),
        ({"creates": None, "at_once": None, "seconds": 5.0}, "raise --max-seconds"),
    ],
)
def test_every_cap_by_itself(caps: dict[str, Any], said: str) -> None:
    """The second create is withheld, and the message names the option."""
    watch = guard(max_usd=9.0, **caps)
    accept(watch, task="task-1")
    with pytest.raises(Withheld, match=said):
        watch.before("POST", SHORT)


def test_the_seconds_of_all_creates_together_are_capped() -> None:
    """Up to the cap, counted from none; the refusal says how many there are."""
    watch = guard(max_usd=9.0, creates=None, at_once=None, seconds=6.0)
    accept(watch)
    accept(watch)

    with pytest.raises(Withheld, match=r"^6 of 6 s of video are made already; raise --max-seconds$"):
        watch.before("POST", SHORT)


def test_one_create_is_allowed_where_no_number_is_given() -> None:
    """The caution of a default: a second one needs to be asked for."""
    watch = Guard(lambda _: Charge(), Caps(max_usd=1.0, at_once=None))
    accept(watch)

    with pytest.raises(Withheld, match="the cap is 1 accepted create; raise --max-creates"):
        watch.before("POST", SHORT)


@pytest.mark.parametrize(("last", "stopped"), [(501.0, False), (500.0, False), (499.0, True)])
def test_a_balance_that_fell_by_more_than_the_cap_ends_the_run(last: float, stopped: bool) -> None:
    """Though what was accepted explains it: to the cap, and not a credit further."""
    watch = Guard(lambda _: Charge(), Caps(max_usd=5.0), usd_per_credit=0.01)
    watch.balance(1000.0)
    watch.after("POST", Charge(worst=9.0), 200, task_id="task-1")

    watch.balance(last)

    assert bool(watch.stopped) is stopped
    assert watch.stopped in ("", "the balance fell by $5.01, more than the cap of $5.00")


def test_a_task_that_is_over_makes_room_for_the_next() -> None:
    """One at a time, not one for ever."""
    watch = guard(max_usd=9.0, creates=None)
    accept(watch, task="task-1")
    watch.ended("task-1")
    accept(watch, task="task-2")
    assert watch.open == {"task-2"}


def test_the_wall_clock_is_a_cap() -> None:
    """After so many seconds nothing that may cost is sent."""
    now = [0.0]
    watch = Guard(caps=Caps(max_usd=1.0, wall=60.0), clock=lambda: now[0])
    now[0] = 61.0
    with pytest.raises(Withheld, match="raise --max-wall"):
        watch.before("POST", SHORT)


def test_a_refused_create_costs_nothing_once_the_balance_says_so() -> None:
    """Any number of refusals leaves the whole cap, where a reading after each is the same as before."""
    watch = guard(max_usd=0.3)
    watch.balance(100.0)
    for _ in range(50):
        watch.after("POST", watch.before("POST", SHORT), 400)
        watch.balance(100.0, watch.refused)

    assert watch.spent.usd == pytest.approx(0)
    assert watch.spent.sent == 50


@pytest.mark.parametrize("readings", [(), (None, 100.0), (100.0, None)])
def test_a_refused_create_counts_while_the_balance_cannot_be_read(readings: tuple[float | None, ...]) -> None:
    """A service may charge for what it refuses: only a reading before and one after show that it did not."""
    watch = guard(max_usd=0.5)
    before, after = readings or (None, None)
    if before is not None:
        watch.balance(before)
    watch.after("POST", watch.before("POST", SHORT), 400)
    if after is not None:
        watch.balance(after, watch.refused)

    with pytest.raises(Withheld, match=r"\$0.30 of \$0.50 may be spent already \(\$0.30 for a create that was refused"):
        watch.before("POST", SHORT)
    assert "no reading of the balance shows that it is free" in watch.bill()


def test_the_bill_says_what_a_run_may_have_cost() -> None:
    """Of nothing, of a create that was accepted, and with what the balance showed of it."""
    watch = Guard(lambda _: Charge(0.3, 0.6, 3.0), Caps(max_usd=5.0, at_once=None, creates=None), usd_per_credit=0.01)
    assert watch.bill() == "creates sent: 0, accepted: 0; may have cost $0.00 at worst"
    accept(watch)
    assert watch.bill() == (
        "creates sent: 1, accepted: 1; may have cost $0.60 at worst ($0.30 by the price list; the balance could not be read)"
    )
    watch.balance(1000.0)
    accept(watch)
    watch.balance(970.0)
    watch.after("POST", watch.before("POST", SHORT), 400)
    assert watch.bill() == (
        "creates sent: 3, accepted: 2; may have cost $1.80 at worst ($0.90 by the price list; the balance fell by 30 credits "
        "($0.30)) ($0.60 for a create that was refused, because no reading of the balance shows that it is free)"
    )


def test_a_reading_that_was_asked_for_before_a_refusal_says_nothing_of_it() -> None:
    """The two may cross on the way."""
    watch = guard(max_usd=0.5)
    watch.balance(100.0)
    asked = watch.refused
    watch.after("POST", watch.before("POST", SHORT), 400)
    watch.balance(100.0, asked)
    assert watch.spent.usd == pytest.approx(0.3)
    watch.balance(100.0, watch.refused)
    assert watch.spent.usd == pytest.approx(0)


def test_tasks_of_one_id_are_as_many_as_they_are() -> None:
    """A service that repeats an id does not make room for more at once."""
    watch = guard(max_usd=9.0, creates=None, at_once=2)
    accept(watch, task="task-1")
    accept(watch, task="task-1")
    with pytest.raises(Withheld, match="2 of at most 2 tasks are under way"):
        watch.before("POST", SHORT)


@pytest.mark.parametrize("status", [None, 103, 302, 307, 500, 502, 999])
def test_a_lost_reply_counts_as_charged_and_ends_the_run(status: int | None) -> None:
    """Whether the create was taken is unknown, as it is with a redirect; its name is in the message."""
    watch = guard()
    watch.after("POST", watch.before("POST", SHORT), status, name="POST duration: 3")

    assert "POST duration: 3 may have been accepted and may have cost $0.30" in watch.stopped
    assert watch.spent.usd == pytest.approx(0.3)
    with pytest.raises(Stopped):
        watch.before("POST", SHORT)
    assert watch.before("GET", None).worst == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "BREW"])
def test_every_method_but_the_safe_ones_may_create(method: str) -> None:
    """The guard does not trust a path or a verb to be harmless."""
    assert guard().before(method, SHORT).worst == pytest.approx(0.3)


def test_a_fake_is_not_guarded() -> None:
    """Without caps nothing is counted and nothing stops."""
    watch = Guard()
    watch.after("POST", watch.before("POST", {}), None)
    watch.balance(1.0)
    watch.balance(0.0)
    assert watch.free
    assert watch.stopped == ""


def test_pauses_are_kept_and_too_long_ones_end_the_run() -> None:
    """Retry-After is waited for; without one, or with one of minutes, nothing more is sent."""
    now = [0.0]
    watch = Guard(caps=Caps(max_usd=1.0), clock=lambda: now[0])
    watch.slow_down(30.0)
    assert watch.pause == 30.0
    now[0] = 31.0
    assert watch.pause == 0.0
    watch.slow_down(None)
    assert watch.silent
    assert "asks for a pause (429)" in watch.stopped


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, True), (119.9, True), (120.0, True), (120.1, False)])
def test_a_pause_of_two_minutes_is_the_longest_that_is_kept(seconds: float, kept: bool) -> None:
    """A longer one ends the run, which names it."""
    watch = Guard(caps=Caps(max_usd=1.0), clock=lambda: 0.0)

    watch.slow_down(seconds)

    assert (watch.silent, watch.pause) == (not kept, seconds if kept else 0.0)
    assert watch.stopped == ("" if kept else "the service asks for a pause of 120.1 s (429); nothing more is sent")


def test_the_fourth_pause_ends_the_run() -> None:
    """A service that asks again and again is left alone from then on."""
    watch = Guard(caps=Caps(max_usd=1.0), clock=lambda: 0.0)
    stopped = []
    for _ in range(6):
        watch.slow_down(1.0)
        stopped.append(watch.silent)

    assert stopped == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("owed", "readings", "said"),
    [
        (0.3, [100, 70], ""),
        (0.3, [100, 100, 70, 100], ""),
        (0.3, [100, 60], "what was accepted explains 30"),
        (0.0, [100, 99], "no accepted create explains it"),
        (0.3, [100, 70, 101], "no refund explains it"),
        (0.0, [100, 200], "no refund explains it"),
    ],
)
def test_every_move_of_the_balance_needs_a_cause(owed: float, readings: list[float], said: str) -> None:
    """A charge within the worst case, or its refund; nothing else."""
    books = Books(0.01)
    books.read(readings[0])
    books.owe(owed)
    reasons = [books.read(reading) for reading in readings[1:]]
    assert reasons[:-1] == [""] * (len(reasons) - 1)
    assert said in reasons[-1]
    assert bool(said) == bool(reasons[-1])


class _Deaf(Sender):
    """Remembers what was sent and answers the same to all of it."""

    def __init__(self, reply: RawResponse) -> None:
        super().__init__()
        self.reply, self.sent = reply, []

    def send(self, method: str, url: str, *rest: Any) -> RawResponse:
        """Nothing goes out."""
        self.sent.append((method, url))
        return self.reply


@pytest.mark.parametrize("place", ["header", "scheme", "basic", "url", "body"])
def test_without_spending_no_create_carries_the_key_anywhere(place: str) -> None:
    """Whatever a driver asks for, the sender refuses it: the mode is safe because of where it sends, not of what is planned."""
    deaf = _Deaf(RawResponse(200, (), b"{}"))
    sender = GuardedSender(deaf, guard(), CONTRACT, keys=["sk-key-0815"], spending=False)
    headers = {
        "header": [("Authorization", "Bearer sk-key-0815")],
        "scheme": [("X-Key", "sk-key-0815")],
        "basic": [("Authorization", "Basic c2sta2V5LTA4MTU=")],
    }
    url = CREATE + ("?key=sk-key-0815" if place == "url" else "")
    body = b'{"key": "sk-key-0815"}' if place == "body" else b"{}"
    with pytest.raises(Withheld, match="this mode never sends one"):
        sender.send("POST", url, headers.get(place, []), body)
    assert deaf.sent == []
    sender.send("POST", CREATE, [("Authorization", "Bearer sk-other")], b"{}")
    sender.send("GET", CREATE, [("Authorization", "Bearer sk-key-0815")], None)
    assert len(deaf.sent) == 2


@pytest.mark.parametrize(
    ("value", "stopped"),
    [("2", False), ("Wed, 21 Oct 2015 07:28:00 GMT", False), ("", True), ("9999", True), ("soon", True)],
)
def test_retry_after_is_honoured_before_the_next_request(value: str, stopped: bool) -> None:
    """Waited for through the sender, as seconds or as a date; a pause that nobody can read ends the run."""
    waits: list[float] = []
    deaf = _Deaf(RawResponse(429, (("Retry-After", value),), b""))
    sender = GuardedSender(deaf, guard(), CONTRACT, keys=["sk-key-0815"], wait=waits.append)
    sender.send("GET", CREATE, [], None)
    assert sender.guard.silent is stopped
    if value == "2":
        sender.send("GET", CREATE, [], None)
        assert waits[0] == pytest.approx(2, abs=1)


@pytest.mark.parametrize(("status", "believed"), [(199, False), (200, True), (299, True), (300, False)])
def test_only_a_granted_request_says_what_the_balance_is(status: int, believed: bool) -> None:
    """What stands in a refusal or a redirect is no reading."""
    deaf = _Deaf(
        RawResponse(status, (), b'{"data": {"token": {"remaining_credits": 70}, "user": {"remaining_credits": 70}}}')
    )
    sender = GuardedSender(deaf, guard(), CONTRACT, keys=["sk-key-0815"])

    sender.send("GET", "https://service.example/v1/credits", [], None)

    assert (sender.guard.books.last is not None) is believed


def test_without_a_key_to_look_for_every_create_may_cost_and_nothing_else() -> None:
    """A proxy knows its client's key only when it is too late: creates count, lookups and uploads do not."""
    sender = GuardedSender(_Deaf(RawResponse(200, (), b"{}")), guard(creates=None, at_once=None), CONTRACT)

    sender.send("POST", CREATE.replace("/videos/generations", "/tasks/batch"), [], b"{}")
    assert sender.guard.spent.sent == 0
    sender.send("POST", CREATE, [], b"{}")
    sender.send("POST", "https://service.example/v1/images/generations", [], b"{}")
    assert sender.guard.spent.sent == 2


@pytest.mark.parametrize(
    ("status", "body", "waits"),
    [
        (200, b'{"id": "task-1"}', True),
        (200, b'{"id": 5}', False),
        (200, b"{}", False),
        (400, b'{"id": "task-1"}', False),
        (402, b'{"id": "task-1"}', False),
    ],
)
def test_what_was_accepted_is_under_way(status: int, body: bytes, waits: bool) -> None:
    """Until its end was read, no other is begun; a refusal begins nothing, whatever it says."""
    sender = GuardedSender(
        _Deaf(RawResponse(status, (), body)), guard(max_usd=9.0, creates=None), CONTRACT, keys=["sk-key-0815"]
    )

    sender.send("POST", CREATE, [("Authorization", "Bearer sk-key-0815")], b"{}")

    assert sender.guard.open == ({"task-1"} if waits else set())


@pytest.mark.parametrize("cap", [1, 2, 3, 4])
@pytest.mark.parametrize("accepted", [0, 1, 2, 3])
@pytest.mark.parametrize("under_way", [0, 1, 2, 3])
def test_creates_on_their_way_count_with_those_that_were_accepted(cap: int, accepted: int, under_way: int) -> None:
    """For the number of creates, and for that of tasks at once; the message names the sum."""
    for caps in ({"creates": cap, "at_once": None}, {"creates": None, "at_once": cap}):
        watch = guard(max_usd=1000.0, **caps)
        watch.caps = replace(watch.caps, creates=None, at_once=None)
        for number in range(accepted):
            accept(watch, task=f"task-{number}")
        for _ in range(under_way):
            watch.before("POST", SHORT)
        watch.caps = replace(watch.caps, **caps)

        said = ""
        try:
            watch.before("POST", SHORT)
        except Withheld as no:
            said = str(no)
        assert bool(said) is (accepted + under_way >= cap)
        if said and caps["at_once"]:
            assert said == f"{accepted + under_way} of at most {cap} tasks are under way"
