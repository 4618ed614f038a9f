"""How scenario files and settings are written, at the limits: the longest duration, the largest count, what a param may be."""

from math import inf
from typing import Any

import pytest

from kling_mock.core.notation import (
    calls,
    count,
    filled,
    holes,
    parse_choice,
    seconds,
    span,
    typed,
    write_choice,
    written,
)

CENTURY = 3_155_760_000.0


def complaint(function: Any, *given: Any) -> str:
    """What *function* says when it refuses."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are judged
        function(*given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("36525d", CENTURY),
        ("876599h60m", CENTURY),
        (CENTURY, CENTURY),
        ("1d1h1m1s1ms", 90_061.001),
        ("2h", 7200.0),
        ("1.25h", 4500.0),
        ("0", 0.0),
        ("0ms", 0.0),
    ],
)
def test_a_duration_may_be_a_century(text: str | float, value: float) -> None:
    """In one part or more."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["36525d1ms", "876601h", CENTURY + 1, "36525.1d", False, "1h 1m", "1.s", ".5s"])
def test_no_duration_is_longer(text: Any) -> None:
    """And none is written in another way."""
    assert "is not a duration" in complaint(seconds, text)


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ("never", (inf, inf)),
        ("5s", (5.0, 5.0)),
        ("5s..5s", (5.0, 5.0)),
        ("0..1h", (0.0, 3600.0)),
        (7, (7.0, 7.0)),
        ((1.0, 1.0), (1.0, 1.0)),
        ((1.0, 2.0), (1.0, 2.0)),
    ],
)
def test_a_span_is_a_pair_of_seconds(value: Any, pair: tuple[float, float]) -> None:
    """The same twice where there is one."""
    assert span(value) == pair


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("5s..4999ms", "'5s..4999ms' runs backwards"),
        ((2.0, 1.0), "(2.0, 1.0) runs backwards"),
        ((1.0,), "'(1.0,)' is not a duration"),
        ((1.0, 2.0, 3.0), "'(1.0, 2.0, 3.0)' is not a duration"),
        ("5s..", "'' is not a duration"),
        ("..5s", "'' is not a duration"),
        ("soon", "'soon' is not a duration"),
    ],
)
def test_what_is_no_span(value: Any, words: str) -> None:
    """The message repeats what was wrong."""
    assert complaint(span, value).startswith(words)


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        (1, ((1, 1),)),
        ("2..2", ((2, 2),)),
        ("2..", ((2, inf),)),
        ("999999999", ((999_999_999, 999_999_999),)),
        ([1, "3..4"], ((1, 1), (3, 4))),
        ((1, 2), ((1, 1), (2, 2))),
        ([], ()),
    ],
)
def test_calls_are_pairs_of_first_and_last(value: Any, pairs: Any) -> None:
    """The last may be the first, or none."""
    assert calls(value) == pairs


@pytest.mark.parametrize("value", ["1000000000", "1..1000000000", "01", "..2", "1.. 2", None])
def test_what_counts_no_calls(value: Any) -> None:
    """More than nine digits are none that somebody meant."""
    assert "does not count calls" in complaint(calls, value)


@pytest.mark.parametrize(
    ("value", "number"),
    [("never", inf), ("forever", inf), (inf, inf), (0, 0), ("0", 0), ("007", 7), (999_999_999, 999_999_999)],
)
def test_a_count_is_whole_or_without_end(value: Any, number: float) -> None:
    """Nought included."""
    assert count(value) == number


@pytest.mark.parametrize("value", [1_000_000_000, -1, 1.5, True, False, "", "x", None, "ever"])
def test_what_is_no_count(value: Any) -> None:
    """A truth is none."""
    assert "is not a count" in complaint(count, value)


@pytest.mark.parametrize(
    ("length", "shown"), [(58, f"'{'x' * 58}'"), (59, f"'{'x' * 56}..."), (400, f"'{'x' * 56}...")]
)
def test_a_message_repeats_sixty_characters_at_the_most(length: int, shown: str) -> None:
    """Of what was written; a longer one is cut."""
    assert complaint(seconds, "x" * length).startswith(f"{shown} is not")


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("5", 1, 5),
        ("5.5", 1, "5.5"),
        ("5", 1.0, 5),
        ("5.5", 1.0, 5.5),
        ("x", 1.0, "x"),
        ("true", False, True),
        ("false", True, False),
        ("yes", False, "yes"),
        ("1", True, "1"),
        (True, "x", "true"),
        (5, "x", "5"),
        ("5", "x", "5"),
        (5, 1, 5),
        (None, 1, None),
    ],
)
def test_a_param_has_the_type_of_its_default(text: Any, default: Any, value: Any) -> None:
    """Where it reads like one."""
    found = typed(text, default)

    assert (found, type(found)) == (value, type(value))


def test_holes_are_found_and_filled_wherever_they_stand() -> None:
    """A hole that is the whole text keeps the type of its param; one that nobody fills stays."""
    form = {"a-{x}": ["{y}", "{x} and {y}", "{z}", 5], "b": {"c": "{x}{x}"}, "d": None}

    assert [*holes(form)] == [
        ("x", ("a-{x}",)), ("y", ("a-{x}", 0)), ("x", ("a-{x}", 1)), ("y", ("a-{x}", 1)), ("z", ("a-{x}", 2)),
        ("x", ("b", "c")), ("x", ("b", "c")),
    ]  # fmt: skip
    assert filled(form, {"x": 1, "y": True}) == {
        "a-1": [True, "1 and true", "{z}", 5],
        "b": {"c": "11"},
        "d": None,
    }
    assert [written(value) for value in (True, False, 1, 1.5, "True")] == ["true", "false", "1", "1.5", "True"]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("", ("", {})),
        ("failed", ("failed", {})),
        ("  failed  at=40 ", ("failed", {"at": "40"})),
        ("x a=b=c d=", ("x", {"a": "b=c", "d": ""})),
        ("x a=1 a=2", ("x", {"a": "2"})),
    ],
)
def test_a_reference_is_a_name_and_pairs(text: str, choice: Any) -> None:
    """A value may hold what parts names and values."""
    assert parse_choice(text) == choice


def test_a_reference_has_one_spelling() -> None:
    """Params in order; what could not be read again is not written."""
    assert write_choice("x", {"b": True, "a": 1}) == "x a=1 b=true"
    assert "'5' is not a param; write it like code=service_error" in complaint(parse_choice, "x 5")
    for value in ("", "a b", " a", "a\n"):
        assert "a value is one word without blanks" in complaint(write_choice, "x", {"a": value})
