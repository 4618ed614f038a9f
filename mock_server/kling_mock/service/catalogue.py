"""The catalogue of scenarios: the shipped YAML files and those of the user's folder, checked when the fake starts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from kling_mock.config import KEPT, BadSetting
from kling_mock.contract import DocumentedError
from kling_mock.core.errors import documented
from kling_mock.core.notation import holes, parse_choice, write_choice
from kling_mock.core.records import Invalid
from kling_mock.core.scenarios import Behaviour, Scenario

SHIPPED = Path(__file__).parents[1] / "scenarios"
_LARGEST = 1 << 20
_SOUND = set[tuple[frozenset[str], frozenset[str | int]]]()
"""The names of errors with which the shipped scenarios were found to be playable in this process."""


class NoScenario(ValueError):
    """The catalogue has no such scenario, or it cannot take these params.

    `place` is the member of the behaviour at fault, `what` the complaint without the scenario and the place.
    """

    def __init__(self, message: str, place: tuple[Any, ...] = (), what: str | None = None) -> None:
        super().__init__(message)
        self.place = place
        self.what = message if what is None else what


class Document(Protocol):
    """One document of a file: its value, and the line of each part."""

    @property
    def value(self) -> Any:
        """What it says."""
        ...

    def line(self, path: Sequence[Any] = ()) -> int:
        """Return the line of the value at *path*, as far as the path leads."""
        ...


@dataclass(frozen=True, slots=True)
class _Shipped:
    """A document of a shipped file, which is read only where a line is asked for."""

    value: Any
    text: str
    number: int

    def line(self, path: Sequence[Any] = ()) -> int:
        return _parsed(self.text)[self.number].line(path)


class Catalogue:
    """Every scenario by name. A choice such as `failed code=service_error` gives a behaviour; stories are made once."""

    def __init__(
        self, task_errors: Mapping[str, str], errors: Mapping[str, DocumentedError], folder: Path | None = None
    ) -> None:
        """Read the shipped scenarios and those of *folder*, which may replace shipped ones.

        Raises:
            BadSetting: a file cannot be used; the line names file, line and what is allowed.
        """
        self._task_errors = task_errors
        self._errors = {
            name for entry, error in errors.items() if entry in documented() for name in (entry, error.code)
        }
        self.scenarios: dict[str, Scenario] = {}
        self.behaviour = lru_cache(4096)(self._story)
        places: dict[str, tuple[Path, Document]] = {}
        for files in _folders(folder):
            places |= self._read(files)
        known = frozenset(self._task_errors), frozenset(self._errors)
        if folder is None and known in _SOUND:
            return
        for name, (path, document) in places.items():
            self._check(path, document, self.scenarios[name])
        if folder is None:
            _SOUND.add(known)

    def choose(self, name: str, params: Mapping[str, Any]) -> str:
        """The choice in one spelling, after checking that it can be played.

        Raises:
            NoScenario: unknown name or param, or a value that does not fit.
        """
        try:
            text = write_choice(name, params)
        except ValueError as error:
            raise NoScenario(str(error)) from error
        self.behaviour(text)
        return text

    def default(self, text: str) -> str:
        """The choice that tasks follow where nothing else says so.

        Raises:
            BadSetting: it cannot be played.
        """
        try:
            return self.choose(*parse_choice(text))
        except ValueError as error:
            raise BadSetting(f"--scenario: {error}") from error

    def _story(self, text: str) -> Behaviour:
        try:
            name, params = parse_choice(text)
            scenario = self.scenarios.get(name)
            if scenario is None:
                from difflib import get_close_matches

                close = get_close_matches(name, self.scenarios, 1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise NoScenario(f"no scenario {name[:60]!r}; {hint}there are {', '.join(sorted(self.scenarios))}")
            behaviour = scenario.fill(params)
        except Invalid as error:
            place, message = _first(error)
            raise NoScenario(f"scenario {text}: {_placed(place, message)}", place, message) from error
        except NoScenario:
            raise
        except ValueError as error:
            raise NoScenario(str(error)) from error
        for place, message in self._unknown(behaviour):
            raise NoScenario(f"scenario {text}: {_placed(place, message)}", place, message)
        for choice in behaviour.mixture:
            self._check_part(choice)
        return behaviour

    def _unknown(self, behaviour: Behaviour) -> Iterator[tuple[tuple[Any, ...], str]]:
        """Names in *behaviour* that the contract does not have."""
        code = behaviour.outcome.code
        if code is not None and code not in self._task_errors:
            yield ("outcome", "code"), f"{code!r} is no task error code; there are {', '.join(self._task_errors)}"
        for number, act in enumerate(behaviour.acts):
            error = act.answer.error if act.answer else None
            if error is not None and error not in self._errors:
                known = ", ".join(sorted(map(str, self._errors)))
                yield ("acts", number, "answer", "error"), f"{error!r} is no documented error; there are {known}"

    # Files

    def _read(self, files: list[Path]) -> dict[str, tuple[Path, Document]]:
        """The scenarios of one folder, and where each stands."""
        places: dict[str, tuple[Path, Document]] = {}
        for path in files:
            for document in _documents(path):
                try:
                    scenario = Scenario.of(document.value)
                except Invalid as error:
                    place, message = _first(error)
                    raise _bad(path, document, place, message) from error
                if scenario.name in places:
                    first, other = places[scenario.name]
                    where = f"{first.name}:{other.line(['name'])}"
                    raise _bad(path, document, ("name",), f"{scenario.name!r} is told already, in {where}")
                places[scenario.name] = path, document
                self.scenarios[scenario.name] = scenario
        return places

    def _check(self, path: Path, document: Document, scenario: Scenario) -> None:
        """Raise BadSetting where the scenario cannot be played as it stands."""
        used = dict(holes(scenario.behaviour))
        for name, place in used.items():
            if name not in scenario.params:
                known = ", ".join(scenario.params) or "none"
                raise _bad(path, document, place, f"{{{name}}} is no param of it; its params are {known}")
        for name in scenario.params:
            if name not in used:
                raise _bad(
                    path, document, ("params", name), f"the param is never used; write {{{name}}} where it counts"
                )
        try:
            self._story(scenario.name)
        except NoScenario as error:
            raise _bad(path, document, error.place, error.what) from error

    def _check_part(self, choice: str) -> None:
        """Raise NoScenario where *choice* cannot be part of a mixture."""
        place = ("mixture", choice)
        known = self.scenarios.get(choice.split()[0]) if choice.split() else None
        if known is not None and "mixture" in known.behaviour:
            raise NoScenario(f"{choice} is a mixture itself; name what it is made of", place)
        try:
            self.behaviour(choice)
        except NoScenario as error:
            raise NoScenario(str(error), place) from error


def _folders(folder: Path | None) -> Iterator[list[Path]]:
    yield sorted(SHIPPED.glob("*.yaml"))
    if folder is not None:
        if not folder.is_dir():
            raise BadSetting(f"--scenarios {folder}: not a folder")
        yield sorted(folder.glob("*.yaml"))


@lru_cache(64)
def _parsed(text: str) -> Sequence[Document]:
    """Return the documents of *text*. Many fakes in one process, as in tests, read the same files."""
    from kling_common.documents import parse

    return parse(text)


def _documents(path: Path) -> Sequence[Document]:
    """The documents of one file."""
    try:
        if path.stat().st_size > _LARGEST:
            raise BadSetting(f"{path}:1: larger than {_LARGEST} bytes; a scenario is a few lines")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadSetting(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadSetting(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error
    kept = KEPT.documents(text) if path.parent == SHIPPED else None
    if kept is not None:
        return [_Shipped(value, text, number) for number, value in enumerate(kept)]
    from kling_common.documents import BadYaml

    try:
        return _parsed(text)
    except BadYaml as error:
        raise BadSetting(f"{path}:{error.line}: {error}") from error


def _bad(path: Path, document: Document, place: tuple[Any, ...], message: str) -> BadSetting:
    """A complaint about *place* of a document, in the words and on the line of the file's own form."""
    place = _as_filed(place, document.value)
    return BadSetting(f"{path}:{document.line(place)}: {_placed(place, message)}")


def _as_filed(place: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """*place* of a behaviour as the place in the flat form, where the first act stands at the top."""
    place = place[1:] if place[:1] == ("behaviour",) else place
    match place:
        case ("acts", int(number), *rest) if isinstance(value, dict) and "when" in value:
            return tuple(rest) if number == 0 else ("acts", number - 1, *rest)
    return place


def _first(error: Invalid) -> tuple[tuple[Any, ...], str]:
    """Place and words of what is wrong."""
    message = error.message
    if message.startswith("should be"):
        got = repr(error.value)
        message += f", not {got if len(got) <= 60 else got[:57] + '...'}"
    return tuple(part for part in error.place if part != "behaviour"), message


def _placed(place: tuple[Any, ...], message: str) -> str:
    return f"{'.'.join(str(part) for part in place)}: {message}" if place else message
