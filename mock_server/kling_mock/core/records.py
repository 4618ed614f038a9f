"""Records whose members are checked as they are made: settings, and what files say. msgspec checks them, and imports fast.

Here stands what it leaves open: members that a function reads, and what is said of a value that does not fit.
"""

import re
from collections.abc import Callable
from enum import Enum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

_PLACED = re.compile(r"(.*?)(?: - at (`key` in )?`\$([\w.\[\]]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected (.+?)(?:, got `\w+`)?")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    ">=": "greater than or equal to",
    "<=": "less than or equal to",
    ">": "greater than",
    "<": "less than",
}


class Invalid(ValueError):
    """A value does not fit: where in the whole, what is wrong, and what stands there."""

    def __init__(self, place: tuple[Any, ...], message: str, value: Any) -> None:
        self.place, self.message, self.value = place, message, value
        super().__init__(f"{'.'.join(map(str, place))}: {message}" if place else message)


class _Kind(type):
    """The type of members that a function reads; whatever it returns is one."""

    read: Callable[[Any], Any]
    takes: Any

    def __instancecheck__(cls, value: Any) -> bool:
        return True


def kind(read: Callable[[Any], Any], takes: Any = object) -> Any:
    """A type whose values *read* makes of what it *takes*; it raises ValueError where it cannot. Type checkers see what it returns."""
    return _Kind(read.__name__, (), {"read": staticmethod(read), "takes": takes})


def _read(wanted: Any, value: Any) -> Any:
    if not isinstance(value, wanted.takes):
        raise ValueError(f"should be {'a mapping' if wanted.takes is dict else 'a text'}")
    return wanted.read(value)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class _Checked(msgspec.StructMeta):
    """What makes a class a record, which checks its members when it is called, too."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        config = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, **config}
        return super().__new__(mcls, name, bases, namespace, **config)

    def __call__(cls, **given: Any) -> Any:
        return cls.of(given)  # type: ignore[attr-defined]


class Record(msgspec.Struct, metaclass=_Checked):
    """A record with checked members, which never change. Texts that spell numbers are taken for numbers."""

    also: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the record that a mapping stands for; a record as it is.

        Raises:
            Invalid: it does not fit.
        """
        try:
            return msgspec.convert(value, cls, strict=False, dec_hook=_read)
        except msgspec.ValidationError as error:
            raise _invalid(cls, value, error) from error
        except UnicodeEncodeError as error:  # where a text is compared with names
            raise Invalid((), _UNSENDABLE, value) from error

    @classmethod
    def no_mapping(cls, value: Any) -> str:
        """Return what is said of a *value* that is no mapping."""
        return f"{str(value)[:60]!r} is no mapping; it takes {cls.allowed()}"

    @classmethod
    def allowed(cls) -> str:
        """The names that may stand in it."""
        return ", ".join([*cls.__struct_fields__, *cls.also])


class Data(Record):
    """A record in a file: whatever it says, every JSON writer takes."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the record that a mapping stands for, as `Record.of` does."""
        _check_writable(value)
        return super().of(value)


_UNSENDABLE = "has characters that cannot be sent as UTF-8"


def _check_writable(value: Any, place: tuple[Any, ...] = ()) -> None:
    """Raise Invalid where something has no JSON: YAML lets lone surrogates in, keys that are no texts, and any number."""
    if isinstance(value, str):
        if not value.isascii() and value != value.encode(errors="ignore").decode():
            raise Invalid(place, _UNSENDABLE, value)
    elif isinstance(value, int):
        if not -(1 << 63) <= value < (1 << 63):
            raise Invalid(place, "a number has more than 64 bits", value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Invalid((*place, key), "a key is a text; write it in quotes", key)
            _check_writable(key, place)
            _check_writable(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_writable(item, (*place, index))


# What is said of a value that does not fit


def _invalid(record: type[Record], value: Any, error: msgspec.ValidationError) -> Invalid:
    """What msgspec found, with the place as a path of keys, and in words that say what would be right."""
    found = _PLACED.fullmatch(str(error))
    assert found
    hint: Any = record
    place: list[Any] = []
    for name, index in [*_STEP.findall(found[3] or ""), *([("", "key")] if found[2] else [])]:
        step, hint, value = _step(_plain(hint)[0], value, name, index)
        place.append(step)
    named = _NAMED.fullmatch(found[1])
    if error.__cause__ is not None:  # what a function said that reads a member, or the record itself
        message = str(error.__cause__)
    elif not named:
        message = _words(hint, value, found[1])
    elif named[1] == "missing required":
        place, message = [*place, named[2]], "is missing"
    else:
        name = named[2][:60]
        message = f"there is no '{name}' here; there are {_plain(hint)[0].allowed()}"
        place, value = [*place, name], value[named[2]]
    return Invalid(tuple(place), message, value)


def _step(hint: Any, value: Any, name: str, index: str) -> tuple[Any, Any, Any]:
    """One step into *value*: which, what should stand there, and what does. msgspec does not say which entry of a mapping it is."""
    if name:
        return name, get_type_hints(hint, include_extras=True)[name], value[name]
    if index.isdigit():
        return int(index), get_args(hint)[0], [*value][int(index)]
    wanted = get_args(hint)[index != "key"]
    entries = ((key, key if index == "key" else item) for key, item in value.items())
    return next((key, wanted, item) for key, item in entries if not _fits(item, wanted))


def _fits(value: Any, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted, strict=False, dec_hook=_read)
    except ValueError:
        return False
    return True


def _plain(hint: Any, said: str | None = None) -> tuple[Any, str | None]:
    """*hint* without None and without what is said about it, and that."""
    if get_origin(hint) is Annotated:
        about = next((one.description for one in hint.__metadata__ if isinstance(one, msgspec.Meta)), None)
        return _plain(hint.__origin__, about or said)
    if get_origin(hint) in (Union, UnionType):
        return _plain(next(one for one in get_args(hint) if one is not NoneType), said)
    return hint, said


def _words(hint: Any, value: Any, message: str) -> str:
    plain, said = _plain(hint)
    if said is not None:
        return said
    if isinstance(plain, _Checked):
        return plain.no_mapping(value)  # type: ignore[attr-defined, no-any-return]
    choices = get_args(plain) if get_origin(plain) is Literal else ()
    if isinstance(plain, type) and issubclass(plain, Enum):
        choices = tuple(one.value for one in plain)
    if choices:
        *most, last = map(repr, choices)
        return f"should be {' or '.join([', '.join(most), last])}"
    expected = _EXPECTED.fullmatch(message)
    if not expected:
        return message
    words = re.sub(r"`[^`]+`|(?<= )[<>]=?(?= )", lambda one: _translated(one[0].strip("`")), expected[1])
    return f"should be {words}"


def _translated(words: str) -> str:
    return " or ".join(_WORDS.get(word, word) for word in words.split(" | "))
