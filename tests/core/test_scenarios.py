"""Scenario files: what they may say, in which words they are refused, and what becomes of them."""

from functools import partial
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_mock.core.errors import ApiError, TaskNotFound, documented
from kling_mock.core.notation import TAG, parse_choice, seconds, typed, write_choice
from kling_mock.core.records import Invalid
from kling_mock.core.scenarios import Act, Answer, Behaviour, Callback, Edit, Outcome, Pace, Scenario, Wire, plan
from kling_mock.core.tasks import CANCELLED, Status

FAILED: dict[str, Any] = {
    "name": "failed",
    "summary": "accepted, then fails while it runs",
    "params": {"code": "service_error", "at": 40},
    "pace": {"by": "time", "queued": "5s", "runs": "20s..30s"},
    "outcome": {"status": "failed", "code": "{code}", "progress": "{at}"},
}


EDIT: dict[str, Any] = {"drop": ["usage"]}


def scenario(**more: Any) -> Scenario:
    """A scenario with these members."""
    return Scenario.of({"name": "one", "summary": "a story", **more})


def complaint(function: Any, *given: Any, **named: Any) -> str:
    """What *function* says when it refuses."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - Invalid is one; the words are judged
        function(*given, **named)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5s", 5.0),
        ("250ms", 0.25),
        ("1.5m", 90.0),
        ("24h", 86_400.0),
        ("30d", 2_592_000.0),
        ("7", 7.0),
        (" 3s ", 3.0),
        (0, 0.0),
        (2.5, 2.5),
    ],
)
def test_durations_read_as_people_write_them(text: str | float, value: float) -> None:
    """With a unit, or bare seconds."""
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "5 s", "-1s", "5sec", "1h30", "s", "soon", -1, True, float("nan"), float("inf"), "1e3", "9" * 400]
)
def test_other_durations_are_refused_with_an_example(text: Any) -> None:
    """The message shows how to write one."""
    assert "write it like 5s, 250ms, 2m or 24h" in complaint(seconds, text)


def test_spans_are_fixed_drawn_or_endless() -> None:
    """One number, two with dots between them, `never`, or a bare pair."""
    pace = Pace(queued="5s", runs="40s..2m")  # type: ignore[arg-type]

    assert (pace.queued, pace.runs) == ((5.0, 5.0), (40.0, 120.0))
    assert Pace(runs="never").runs == (inf, inf)  # type: ignore[arg-type]
    assert Pace(runs=(1.0, 2.0)).runs == (1.0, 2.0)
    assert "runs backwards" in complaint(Pace, runs="5s..1s")


@pytest.mark.parametrize(
    ("written", "acts"),
    [
        ([1], {1}),
        ([1, 3], {1, 3}),
        (["2..4"], {2, 3, 4}),
        (["3.."], {3, 4, 5, 6}),
        (2, {2}),
        ("2..3", {2, 3}),
        ([1, "5.."], {1, 5, 6}),
    ],
)
def test_calls_are_counted_from_one(written: Any, acts: set[int]) -> None:
    """Single ones, ranges, and from one on."""
    act = Act(when={"create": written}, answer=Answer(status=500))

    assert {nth for nth in range(1, 7) if act.acts("create", nth)} == acts
    assert not any(act.acts("query", nth) for nth in range(1, 7))


@pytest.mark.parametrize("written", [0, -1, "0..2", "x", "1-3", [1.5], True])
def test_other_counts_are_refused(written: Any) -> None:
    """The message shows how to count."""
    assert "write 1, 2..4 or 2.." in complaint(Act, when={"create": written}, answer=Answer(status=500))


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        (Answer, {}, "a status or a documented error"),
        (Act, {"when": {"create": 1}}, "exactly one of answer, wire, edit"),
        (Act, {"when": {"create": 1}, "edit": EDIT, "wire": {"endless": True}}, "exactly one of answer, wire, edit"),
        (Act, {"when": {}, "edit": EDIT}, "should say at which calls, such as {query: [1, 3]}"),
        (Act, {"when": {"update": 1}, "edit": EDIT}, "'create', 'query', 'link' or 'callback'"),
        (Act, {"when": {"callback": 1}, "wire": {"endless": True}}, "a callback can only be edited"),
        (Act, {"when": {"link": 1}, "edit": EDIT}, "a video cannot be edited"),
        (Act, {"when": {"query": "3..2"}, "edit": EDIT}, "'3..2' runs backwards"),
        (Act, {"when": {"query": 1}, "times": 0, "edit": EDIT}, "greater than or equal to 1"),
        (Act, {"when": {"query": 1}, "times": "often", "edit": EDIT}, "'often' is not a count"),
        (Pace, {"pending": True}, "True is not a count; write a whole number, or never or forever"),
        (Edit, {}, "an edit sets or drops something"),
        (Edit, {"set": {"a": 1 << 70}}, "more than 64 bits"),
        (Edit, {"set": {"a": ["\ud800"]}}, "cannot be sent as UTF-8"),
        (Edit, {"set": {"a": {"\ud800": 1}}}, "cannot be sent as UTF-8"),
        (Edit, {"drop": ["a"], "only": ["done"]}, "'pending', 'processing', 'completed' or 'failed'"),
        (Answer, {"status": 302, "headers": {"Location": "a\r\nb"}}, "cannot stand in a header"),
        (Answer, {"status": 302, "headers": {"Bad Name": "a"}}, "is no name of a header"),
        (Answer, {"error": "unauthorized", "body": "x"}, "a documented error or a body, not both"),
        (Answer, {"status": 100}, "greater than or equal to 200"),
        (Behaviour, {"name": "x", "mixture": {"a": 1}, "outcome": {}}, "a behaviour by itself, without outcome"),
        (Behaviour, {"name": "x", "callbacks": [{"before_reply": True}]}, "a task that ends at once"),
        (Behaviour, {"name": "x", "pace": 3}, "'3' is no mapping; it takes by, queued, runs"),
        (Wire, {}, "exactly one of cut, silent, short, drip, endless"),
        (Wire, {"cut": "after", "endless": True}, "exactly one of cut, silent, short, drip, endless"),
        (Outcome, {"code": "service_error"}, "a failed outcome, and only that, has a code"),
        (Outcome, {"status": "failed"}, "a failed outcome, and only that, has a code"),
        (Outcome, {"progress": 100}, "less than or equal to 99"),
        (Behaviour, {"name": "x", "surprise": 1}, "there is no 'surprise' here; there are name, summary, pace"),
    ],
)
def test_what_makes_no_sense_is_refused(model: Any, given: dict[str, Any], words: str) -> None:
    """Each in words that say what would be right."""
    assert words in complaint(model, **given)


@pytest.mark.parametrize(
    ("model", "member", "inside", "outside"),
    [
        (Edit, "set", [{"a": -(1 << 63)}, {"a": (1 << 63) - 1}], [{"a": -(1 << 63) - 1}, {"a": 1 << 63}]),
        (Answer, "status", [200, 599], [199, 600]),
        (partial(Answer, status=503), "retry_after", [0, 1_000_000], [-1, 1_000_001]),
        (Outcome, "progress", [0, 99], [-1, 100]),
        (Wire, "short", [0.0, 0.999], [-0.001, 1.0]),
        (Wire, "drip", [0, 3600, "1h"], [-1, 3600.001]),
        (Callback, "padding", [0, 64 * 1024 * 1024], [-1, 64 * 1024 * 1024 + 1]),
        (partial(Behaviour, name="x"), "callbacks", [[], [{}] * 10], [[{}] * 11]),
        (partial(Behaviour, name="x"), "mixture", [{"a": 0.001}, {"a": 1_000_000}], [{"a": 0}, {"a": 1_000_000.5}]),
        (partial(Act, edit=EDIT), "when", [{"query": 1}, {"create": 1, "query": 2}], [{}]),
        (partial(Act, when={"query": 1}, edit=EDIT), "times", [1, 2], [0]),
        (partial(Scenario, summary="x"), "name", ["x" * 60], ["x" * 61]),
        (partial(Scenario, name="x"), "summary", ["x", "x" * 200], ["", "x" * 201]),
    ],
)
def test_numbers_and_texts_up_to_their_limits(model: Any, member: str, inside: list[Any], outside: list[Any]) -> None:
    """The last that is taken, and the first that is not."""
    for value in inside:
        assert model(**{member: value})
    for value in outside:
        complaint(model, **{member: value})


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ({"cut": "after"}, "cut after"),
        ({"silent": "before"}, "silent before"),
        ({"short": 0.5}, "short"),
        ({"drip": "2s"}, "drip"),
        ({"endless": True}, "endless"),
    ],
)
def test_a_wire_fault_has_a_name(wire: dict[str, Any], name: str) -> None:
    """The journal calls it so."""
    assert Wire(**wire).fault == name


def test_params_fill_the_holes_with_their_own_type() -> None:
    """A whole hole keeps number and truth; one inside a text becomes text; a hole without a param stays."""
    one = scenario(
        params={"at": 40, "code": "service_error", "accepted": True, "on": "query", "long": "5"},
        outcome={"status": "failed", "code": "{code}", "progress": "{at}"},
        when={"{on}": "{at}.."},
        edit={"set": {"a": ["{code} at {at} {accepted}", 1], "b": "{other}", "c": "{accepted}", "d": "{long}"}},
    )

    story = one.fill({"at": "7", "long": 6})

    assert (story.outcome.progress, story.outcome.code) == (7, "service_error")
    assert story.acts[0].when == {"query": ((7.0, inf),)}
    assert story.acts[0].edit is not None
    assert story.acts[0].edit.set == {"a": ["service_error at 7 true", 1], "b": "{other}", "c": True, "d": "6"}


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("7", 1, 7),
        ("x", 1, "x"),
        ("7.5", 1, "7.5"),
        ("7", 0.5, 7),
        ("7.5", 0.5, 7.5),
        ("true", False, True),
        ("yes", False, "yes"),
        ("007", "x", "007"),
        (True, "x", "true"),
        (3, 1, 3),
    ],
)
def test_a_value_takes_the_type_of_its_default(text: Any, default: Any, value: Any) -> None:
    """Where it reads like one; else it stays, and what it fills says what it wants."""
    assert typed(text, default) == value
    assert type(typed(text, default)) is type(value)


def test_every_scenario_takes_the_members_of_its_pace() -> None:
    """Reads pace a task where only they are given."""
    one = Scenario.of(FAILED)

    assert one.fill({"queued": "1s"}).pace.queued == (1.0, 1.0)
    assert one.fill({"queued": "1s", "pending": "3"}).pace.by == "time"
    by_reads = one.fill({"pending": "0", "processing": "never"}).pace
    assert (by_reads.by, by_reads.pending, by_reads.processing) == ("polls", 0, inf)
    assert "a count" in complaint(one.fill, {"pending": "few"})
    assert "no mapping" in complaint(scenario(pace=5).fill, {"pending": "1"})


def test_a_mixture_hands_its_pace_on() -> None:
    """To everything it is made of."""
    one = scenario(mixture={"failed code=service_error": 2, "slow": 1})

    assert one.fill({"processing": 4}).mixture == {
        "failed code=service_error by=polls processing=4": 2.0,
        "slow by=polls processing=4": 1.0,
    }


def test_an_act_ends_after_so_many_calls() -> None:
    """`times` cuts an open range short, never lengthens a closed one."""
    act = Act(when={"query": "3.."}, times=2, edit=EDIT)  # type: ignore[arg-type]
    closed = Act(when={"query": [1, "4..5"]}, times=9, edit=EDIT)  # type: ignore[arg-type]

    assert [nth for nth in range(1, 9) if act.acts("query", nth)] == [3, 4]
    assert [nth for nth in range(1, 9) if closed.acts("query", nth)] == [1, 4, 5]


@pytest.mark.parametrize(
    ("part", "accepts"),
    [
        ({"answer": {"status": 500}}, False),
        ({"answer": {"status": 500, "accepted": True}}, True),
        ({"edit": {"drop": ["usage"]}}, True),
        ({"wire": {"cut": "before"}}, False),
        ({"wire": {"silent": "before"}}, False),
        ({"wire": {"silent": "after"}}, True),
        ({"wire": {"short": 0.5}}, True),
    ],
)
def test_an_act_says_whether_a_create_is_accepted(part: dict[str, Any], accepts: bool) -> None:
    """Answers in its place refuse it unless they say otherwise; a broken wire carries what was done."""
    assert Act(when={"create": 1}, **part).accepts is accepts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("callback", "nth", "fault"),
    [
        ({}, 1, None),
        ({}, 2, "callback copy"),
        ({"after": "2s"}, 1, "callback late"),
        ({"after": "2s"}, 2, "callback copy"),
        ({"edit": EDIT}, 1, "callback edit usage"),
        ({"body": "x"}, 1, "callback body"),
        ({"padding": 3}, 1, "callback padding"),
        ({"content_type": "text/plain"}, 1, "callback content type"),
        ({"before_reply": True}, 1, "callback before reply"),
    ],
)
def test_a_callback_has_a_name_for_what_is_wrong_with_it(callback: dict[str, Any], nth: int, fault: str | None) -> None:
    """None where it is the one that is right."""
    assert Callback(**callback).fault(nth) == fault


def test_a_param_that_the_scenario_has_not_is_refused() -> None:
    """The message lists those that it has."""
    assert "has no param 'speed'; it has at, code, by, queued" in complaint(Scenario.of(FAILED).fill, {"speed": 1})
    assert "it has by, queued, runs, pending, processing" in complaint(scenario().fill, {"speed": 1})


def test_a_flat_act_is_a_list_of_one() -> None:
    """`when` beside `answer` is short for `acts`, and goes before those that are listed."""
    one = scenario(
        when={"create": 1}, answer={"status": 500}, acts=[{"when": {"query": 1}, "edit": {"drop": ["usage"]}}]
    )

    story = one.fill({})

    assert [tuple(act.when) for act in story.acts] == [("create",), ("query",)]
    assert story.act("create", 1) is story.acts[0]
    assert story.act("create", 2) is None


@pytest.mark.parametrize(
    "data", [None, 3, [], {"name": "Bad Name", "summary": "x"}, {"name": "x", "summary": ""}, {"summary": "x"}]
)
def test_a_file_that_is_no_scenario_is_refused(data: Any) -> None:
    """Not a mapping, a name that is none, no summary."""
    with pytest.raises(Invalid):
        Scenario.of(data)


def test_a_story_that_is_spelled_out_is_taken_as_it_is() -> None:
    """The form with `story` is what the flat form becomes."""
    assert Scenario.of({"name": "one", "summary": "s", "story": {}}) == Scenario(name="one", summary="s", story={})


def test_a_plan_is_drawn_from_the_story() -> None:
    """Spans are drawn, the outcome is copied, the seed goes along."""
    story = Scenario.of(FAILED).fill({})

    drawn = plan(story, lambda low, high: (low + high) / 2, 99)

    assert (drawn.outcome, drawn.code, drawn.stops_at) == (Status.FAILED, "service_error", 40)
    assert (drawn.queued_for, drawn.runs_for, drawn.polls, drawn.seed) == (5.0, 25.0, None, 99)


def test_a_cancelled_outcome_is_a_failure_with_its_own_code() -> None:
    """As the service shows it."""
    drawn = plan(scenario(outcome={"status": "cancelled", "progress": 30}).fill({}), max, 0)

    assert (drawn.outcome, drawn.code, drawn.stops_at) == (Status.FAILED, CANCELLED, 30)


def test_a_poll_paced_plan_draws_no_time() -> None:
    """Counts of reads, and no estimate."""
    drawn = plan(scenario(pace={"by": "polls", "pending": 2, "processing": 3}).fill({}), max, 0)

    assert (drawn.polls, drawn.queued_for, drawn.runs_for, drawn.stops_at) == ((2, 3), 0.0, 0.0, 100)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("failed", ("failed", {})),
        ("failed code=service_error at=40", ("failed", {"code": "service_error", "at": "40"})),
        ("slow  queued=2.5  x=true y=false", ("slow", {"queued": "2.5", "x": "true", "y": "false"})),
        ("slow queued=2s..3s", ("slow", {"queued": "2s..3s"})),
        ("", ("", {})),
    ],
)
def test_a_choice_names_a_scenario_and_its_params(text: str, choice: tuple[str, dict[str, Any]]) -> None:
    """Values stay as they are written."""
    assert parse_choice(text) == choice
    assert parse_choice(write_choice(*choice)) == choice


def test_a_value_with_blanks_cannot_be_written() -> None:
    """It would be read as something else."""
    assert "one word without blanks" in complaint(write_choice, "failed", {"code": "a b"})
    assert write_choice("x", {"b": 1, "a": True}) == "x a=true b=1"


def test_a_choice_that_does_not_read_like_one_is_refused() -> None:
    """The message shows a param."""
    assert "write it like code=service_error" in complaint(parse_choice, "failed code")


@given(text=st.text(max_size=60))
def test_any_text_is_a_choice_or_refused(text: str) -> None:
    """Nothing but ValueError comes out."""
    try:
        name, params = parse_choice(text)
    except ValueError:
        return
    assert isinstance(name, str)
    assert all(isinstance(key, str) for key in params)


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a cat [[failed code=service_error at=3]] runs", "failed code=service_error at=3"),
        ("[[slow]]", "slow"),
        ("[[slow ]]", "slow"),
        ("[[Slow]]", None),
        ("[[]]", None),
        ("[ [slow]]", None),
    ],
)
def test_a_tag_in_a_prompt_is_found(prompt: str, found: str | None) -> None:
    """Between double brackets, in lower case."""
    tag = TAG.search(prompt)

    assert (tag and tag[1] + tag[2]) == found


def test_every_failure_is_documented_under_its_own_name() -> None:
    """A failure knows its entry, what was wrong, and more headers."""
    error = TaskNotFound("no task has this id", param="task_id", headers={"Retry-After": "1"})

    assert documented()["TaskNotFound"] is TaskNotFound
    assert all(issubclass(one, ApiError) for one in documented().values())
    assert (error.entry, error.message, error.param, error.headers) == (
        "TaskNotFound",
        "no task has this id",
        "task_id",
        {"Retry-After": "1"},
    )
    assert TaskNotFound("x").headers == {}


def test_a_part_may_be_given_as_it_is() -> None:
    """As an object, or as the mapping that makes it."""
    assert Behaviour(name="x", pace=Pace(by="polls")) == Behaviour.of({"name": "x", "pace": {"by": "polls"}})
    assert Behaviour.of(Behaviour(name="x")) == Behaviour(name="x")
