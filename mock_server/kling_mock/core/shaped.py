"""Records that check their members as they are made: settings, and what files say.

A member is declared with what reads it: `port: int = member(whole(least=0), default=4010)`. A reader takes a value and returns what the
record holds, or raises ValueError. Pydantic does this and much more; importing it took a third of the fake's start, and ten megabytes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, dataclass_transform

Reader = Callable[[Any], Any]
_REQUIRED: Any = object()
_WHOLE = re.compile(r"\s*([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0*)?\s*")
_TRUTHS = {
    word: truth
    for truth, words in ((True, "1 true t yes y on"), (False, "0 false f no n off"))
    for word in words.split()
}


class Problem(NamedTuple):
    """One thing that is wrong: where in the value, what, and with what that stands there."""

    place: tuple[Any, ...]
    message: str
    value: Any


class Invalid(ValueError):
    """A value does not fit; `problems` says where and why, in the order of the members."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(
            "; ".join(f"{'.'.join(map(str, it.place))}: {it.message}" if it.place else it.message for it in problems)
        )


class Member(NamedTuple):
    """How a member is read, and what it is where it is left out."""

    read: Reader
    default: Any


def member(read: Reader, *, default: Any = _REQUIRED) -> Any:
    """Declare a member of a record; one without a *default* must be given."""
    return Member(read, default)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(member,))
class Shaped:
    """A record with checked members, which never change."""

    __slots__ = ("given",)
    members: ClassVar[Mapping[str, Member]] = {}
    given: frozenset[str]
    """The names of the members that were not left out."""

    def __init_subclass__(cls) -> None:
        """Take the members out of the class: instances have them."""
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Member)}
        for name in own:
            delattr(cls, name)
        cls.members = {**cls.members, **own}

    def __init__(self, **given: Any) -> None:
        """Read the members.

        Raises:
            Invalid: one is missing, does not fit or is not known, or they do not go together.
        """
        try:
            said = self.prepared(given)
        except Invalid:
            raise
        except ValueError as error:
            raise Invalid(Problem((), str(error), given)) from error
        object.__setattr__(self, "given", frozenset(said))
        self.__dict__.update(self._read(said))
        try:
            self.check()
        except Invalid:
            raise
        except ValueError as error:
            raise Invalid(Problem((), str(error), said)) from error

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the record that a mapping stands for; a record as it is.

        Raises:
            Invalid: it does not fit.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise Invalid(Problem((), cls.no_mapping(value), value))
        return cls(**{name if isinstance(name, str) else repr(name): item for name, item in value.items()})

    @classmethod
    def no_mapping(cls, value: Any) -> str:
        """Return what is said of a *value* that is no mapping."""
        del value
        return f"Input should be a valid dictionary or instance of {cls.__name__}"

    @classmethod
    def prepared(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the members as they are read; raises ValueError where that cannot be."""
        return given

    def check(self) -> None:
        """Raise ValueError where members do not go together."""

    def copy(self, **changes: Any) -> Self:
        """Return the record with *changes*, which are taken as they are."""
        made = object.__new__(type(self))
        object.__setattr__(made, "given", self.given | set(changes))
        made.__dict__.update({**self.__dict__, **changes})
        return made

    @classmethod
    def _read(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, (read, default) in cls.members.items():
            if name not in said:
                values[name] = default
                if default is _REQUIRED:
                    problems.append(Problem((name,), "Field required", said))
                continue
            try:
                values[name] = _at(name, read, said[name])
            except Invalid as error:
                problems += error.problems
        problems += [
            Problem((name,), "Extra inputs are not permitted", it)
            for name, it in said.items()
            if name not in cls.members
        ]
        if problems:
            raise Invalid(*problems)
        return values

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} does not change")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def _at(place: Any, read: Reader, value: Any) -> Any:
    """Return what *read* makes of the *value* at *place*; what is wrong with it is said with the place."""
    try:
        return read(value)
    except Invalid as error:
        raise Invalid(*(problem._replace(place=(place, *problem.place)) for problem in error.problems)) from error
    except ValueError as error:
        raise Invalid(Problem((place,), str(error), value)) from error


# Readers


def whole(least: float | None = None, most: float | None = None) -> Reader:
    """A whole number; a text that spells one is taken too."""

    def read(value: Any) -> int:
        if isinstance(value, str):
            spelled = _WHOLE.fullmatch(value)
            if not spelled:
                raise ValueError("Input should be a valid integer, unable to parse string as an integer")
            value = int(spelled[1])
        if not isinstance(value, int | float):
            raise ValueError("Input should be a valid integer")
        if not isfinite(value):
            raise ValueError("Input should be a finite number")
        if value != int(value):
            raise ValueError("Input should be a valid integer, got a number with a fractional part")
        return int(_within(int(value), least, most))

    return read


def number(
    first: Reader = lambda value: value,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Reader:
    """A number, once *first* has read it; a text that spells one is taken too."""

    def read(value: Any) -> float:
        value = first(value)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise ValueError("Input should be a valid number, unable to parse string as a number") from None
        if not isinstance(value, int | float):
            raise ValueError("Input should be a valid number")
        return float(_within(value, least, most, above, below))

    return read


def within(first: Reader, least: float) -> Reader:
    """What *first* reads, at least *least*."""
    return lambda value: _within(first(value), least, None)


def _within(
    value: Any, least: float | None, most: float | None, above: float | None = None, below: float | None = None
) -> Any:
    bounds = (
        (least is None or value >= least, f"greater than or equal to {least}"),
        (most is None or value <= most, f"less than or equal to {most}"),
        (above is None or value > above, f"greater than {above}"),
        (below is None or value < below, f"less than {below}"),
    )
    wrong = next((words for kept, words in bounds if not kept), None)
    if wrong is not None:
        raise ValueError(f"Input should be {wrong}")
    return value


def truth(value: Any) -> bool:
    """True or false; a word or a number that means one is taken too."""
    if not isinstance(value, str | int | float):
        raise ValueError("Input should be a valid boolean")
    found = (
        _TRUTHS.get(value.lower())
        if isinstance(value, str)
        else {0: False, 1: True}.get(int(value) if value in (0, 1) else 2)
    )
    if found is None:
        raise ValueError("Input should be a valid boolean, unable to interpret input")
    return found


def text(
    *, shortest: int = 0, longest: int | None = None, pattern: str | None = None, then: Reader = lambda value: value
) -> Reader:
    """A text, which *then* may change or refuse."""
    compiled = re.compile(pattern) if pattern else None

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("Input should be a valid string")
        if len(value) < shortest:
            raise ValueError(f"String should have at least {_counted(shortest, 'character')}")
        if longest is not None and len(value) > longest:
            raise ValueError(f"String should have at most {_counted(longest, 'character')}")
        if compiled is not None and not compiled.search(value):
            raise ValueError(f"String should match pattern '{pattern}'")
        return then(value)

    return read


def choice(kind: type[Enum] | tuple[str, ...]) -> Reader:
    """One of these texts, or of the values of an enumeration, as its member."""
    values = kind if isinstance(kind, tuple) else tuple(one.value for one in kind)
    *most, last = map(repr, values)

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in values:
            raise ValueError(f"Input should be {' or '.join((', '.join(most), last)) if most else last}")
        return value if isinstance(kind, tuple) else kind(value)

    return read


def optional(read: Reader) -> Reader:
    """None, or what *read* takes."""
    return lambda value: None if value is None else read(value)


def items(read: Reader, most: int | None = None) -> Reader:
    """A list, as a tuple of what *read* makes of each item."""

    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple | set | frozenset):
            raise ValueError("Input should be a valid tuple")
        found = tuple(_at(index, read, item) for index, item in enumerate(value))
        if most is not None and len(found) > most:
            raise ValueError(f"Tuple should have at most {_counted(most, 'item')} after validation, not {len(found)}")
        return found

    return read_all


def mapping(key: Reader, read: Reader, least: int = 0) -> Reader:
    """A mapping, its keys and its values read."""

    def read_all(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise ValueError("Input should be a valid dictionary")
        found = dict(_entries(value, key, read))
        if len(found) < least:
            raise ValueError(
                f"Dictionary should have at least {_counted(least, 'item')} after validation, not {len(found)}"
            )
        return found

    return read_all


def _entries(value: Mapping[Any, Any], key: Reader, read: Reader) -> Iterator[tuple[Any, Any]]:
    for name, item in value.items():
        yield _at(name, key, name), _at(name, read, item)


def anything(value: Any) -> Any:
    """Any value, as it is."""
    return value


def path(value: Any) -> Path:
    """A path, or a text that is one."""
    if not isinstance(value, str | Path):
        raise ValueError("Input is not a valid path")
    return Path(value)


def json(value: Any) -> Any:
    """A value that JSON has."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list):
        return [_at(index, json, item) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return dict(_entries(value, text(), json))
    raise ValueError("input was not a valid JSON value")


def _counted(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}" if number_of == 1 else f"{number_of} {noun}s"
