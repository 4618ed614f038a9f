"""Records that check their members: what each reader takes, what it refuses and in which words, and where a mistake is said to be."""

from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any

import pytest

from kling_mock.core.shaped import (
    Invalid,
    Shaped,
    choice,
    items,
    json,
    mapping,
    member,
    number,
    optional,
    path,
    text,
    truth,
    whole,
    within,
)


class Colour(StrEnum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


class Inner(Shaped):
    """A record in another."""

    size: int = member(whole(1, 9), default=3)


class Outer(Shaped):
    """A record with all that a record can have."""

    name: str = member(text(shortest=1))
    inner: Inner = member(Inner.of, default=Inner())
    many: tuple[Inner, ...] = member(items(Inner.of), default=())
    low: int = member(whole(), default=0)

    @classmethod
    def prepared(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Refuse one name as a whole, and take a member by another name."""
        if given.get("name") == "refused":
            raise ValueError("not that one")
        return {("low" if key == "lowest" else key): value for key, value in given.items()}

    def check(self) -> None:
        """Hold two members to each other."""
        if self.low > self.inner.size:
            raise ValueError("low is above size")


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (whole(), "3", 3),
        (whole(), " +3.0 ", 3),
        (whole(), "1_000", 1000),
        (whole(), 3.0, 3),
        (whole(), True, 1),
        (whole(1, 3), 3, 3),
        (number(), "1.5", 1.5),
        (number(), 2, 2.0),
        (number(float), "2", 2.0),
        (number(least=0, below=1), 0, 0.0),
        (number(above=0), 0.1, 0.1),
        (within(len, 2), "ab", 2),
        (truth, "Yes", True),
        (truth, "off", False),
        (truth, 1, True),
        (truth, 0.0, False),
        (truth, False, False),
        (text(), "", ""),
        (text(shortest=1, longest=2), "ab", "ab"),
        (text(pattern="^a"), "ab", "ab"),
        (text(then=str.upper), "ab", "AB"),
        (choice(("a", "b")), "b", "b"),
        (choice(Colour), "red", Colour.RED),
        (choice(Colour), Colour.BLUE, Colour.BLUE),
        (optional(whole()), None, None),
        (optional(whole()), "1", 1),
        (items(whole()), ["1", 2], (1, 2)),
        (items(whole(), most=1), {1}, (1,)),
        (items(whole()), (), ()),
        (mapping(text(), whole()), {"a": "1"}, {"a": 1}),
        (mapping(text(), whole(), least=1), {"a": 1}, {"a": 1}),
        (path, "a/b", Path("a/b")),
        (path, Path("a"), Path("a")),
        (json, {"a": [1, None, True, "x", 1.5]}, {"a": [1, None, True, "x", 1.5]}),
    ],
)
def test_what_is_taken(read: Any, value: Any, found: Any) -> None:
    """As it stands, or as it is spelled."""
    assert read(value) == found
    assert type(read(value)) is type(found)


@pytest.mark.parametrize(
    ("read", "value", "words"),
    [
        (whole(), "x", "a valid integer, unable to parse string as an integer"),
        (whole(), "3.5", "unable to parse"),
        (whole(), None, "Input should be a valid integer$"),
        (whole(), 1.5, "a number with a fractional part"),
        (whole(), inf, "a finite number"),
        (whole(1), 0, "greater than or equal to 1"),
        (whole(1, 3), 4, "less than or equal to 3"),
        (number(), "x", "a valid number, unable to parse string as a number"),
        (number(), None, "Input should be a valid number$"),
        (number(above=0), 0, "greater than 0"),
        (number(below=1), 1, "less than 1"),
        (within(len, 2), "a", "greater than or equal to 2"),
        (truth, "maybe", "a valid boolean, unable to interpret input"),
        (truth, 2, "unable to interpret"),
        (truth, None, "a valid boolean$"),
        (text(), 3, "a valid string"),
        (text(shortest=1), "", "at least 1 character$"),
        (text(longest=2), "abc", "at most 2 characters"),
        (text(pattern="^a"), "b", "String should match pattern '.a'"),
        (choice(("a", "b", "c")), "d", "Input should be 'a', 'b' or 'c'"),
        (choice(("a",)), 1, "Input should be 'a'"),
        (choice(Colour), [], "'red' or 'blue'"),
        (items(whole()), "ab", "a valid tuple"),
        (items(whole(), most=1), [1, 2], "at most 1 item after validation, not 2"),
        (items(whole()), [1, "x"], "^1: Input should be a valid integer"),
        (mapping(text(), whole()), [], "a valid dictionary"),
        (mapping(text(), whole(), least=1), {}, "at least 1 item after validation, not 0"),
        (mapping(text(), whole()), {1: 1}, "^1: Input should be a valid string"),
        (mapping(text(), whole()), {"a": "x"}, "^a: Input should be"),
        (path, 3, "not a valid path"),
        (json, {1}, "not a valid JSON value"),
        (json, {"a": [b""]}, "^a.0: input was not"),
    ],
)
def test_what_is_refused(read: Any, value: Any, words: str) -> None:
    """In words that say what would be right, with the place."""
    with pytest.raises(ValueError, match=words):
        read(value)


def test_a_record_has_its_members_and_never_changes() -> None:
    """Those left out have their defaults, and do not count as given."""
    one = Outer(name="x", many=[{"size": 4}], lowest=2)  # type: ignore[arg-type, call-arg, list-item]

    assert (one.name, one.inner, one.many, one.low) == ("x", Inner(size=3), (Inner(size=4),), 2)
    assert one.given == {"name", "many", "low"}
    assert one == Outer.of(one) == Outer.of({"name": "x", "many": [Inner(size=4)], "low": "2"})
    assert one != Outer(name="x")
    assert one != Inner()
    assert hash(Inner()) == hash(Inner(size=3))
    assert repr(Inner()) == "Inner(size=3)"
    assert one.copy(low=9).low == 9
    assert one.low == 2
    with pytest.raises(AttributeError, match=r"Outer\.low does not change"):
        one.low = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, ["name: Field required"]),
        (
            {"name": "", "low": "x"},
            ["name: String should have at least 1 character", "low: Input should be a valid integer, unable"],
        ),
        ({"name": "x", "inner": {"size": 10}}, ["inner.size: Input should be less than or equal to 9"]),
        ({"name": "x", "many": [{}, {"size": 0}]}, ["many.1.size: Input should be greater than or equal to 1"]),
        ({"name": "x", "inner": 5}, ["inner: Input should be a valid dictionary or instance of Inner"]),
        ({"name": "x", "more": 1}, ["more: Extra inputs are not permitted"]),
        ({"name": "x", 5: 1}, ["5: Extra inputs are not permitted"]),
        ({"name": "x", "low": 5}, ["low is above size"]),
        ({"name": "refused"}, ["not that one"]),
    ],
)
def test_each_mistake_is_said_with_its_place(given: dict[Any, Any], problems: list[str]) -> None:
    """In the order of the members; what holds for all of them comes last."""
    with pytest.raises(Invalid) as caught:
        Outer.of(given)

    said = [f"{'.'.join(map(str, it.place))}: {it.message}" if it.place else it.message for it in caught.value.problems]
    assert len(said) == len(problems)
    assert all(found.startswith(wanted) for found, wanted in zip(said, problems, strict=True))
    assert str(caught.value) == "; ".join(said)


def test_what_is_no_mapping_is_no_record() -> None:
    """The words are those of the record."""
    with pytest.raises(Invalid, match="instance of Outer"):
        Outer.of(3)
