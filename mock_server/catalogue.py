"""The catalogue of scenarios: the shipped YAML files and those of the user's folder, checked when the fake starts."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mock_server.config import BadSetting
from mock_server.core.errors import documented
from mock_server.core.scenarios import Scenario, Story, parse_choice

SHIPPED = Path(__file__).parent / "scenarios"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NoScenario(ValueError):
    """The catalogue has no such scenario, or it cannot take these params."""


class Catalogue:
    """Every scenario by name. A choice such as `failed code=service_error` gives a story; stories are made once."""

    def __init__(self, task_errors: Mapping[str, str], folder: Path | None = None) -> None:
        """Read the shipped scenarios and those of *folder*, which may replace shipped ones.

        Raises:
            BadSetting: a file cannot be used; the line names file, line and what is allowed.
        """
        self._task_errors = task_errors
        self.scenarios: dict[str, Scenario] = {}
        for path in _files(folder):
            for scenario in _read(path):
                self.scenarios[scenario.name] = scenario
                self._check(path, scenario)
        self.story = lru_cache(4096)(self._story)

    def choose(self, name: str, params: Mapping[str, Any]) -> str:
        """The choice in one spelling, after checking that it can be told.

        Raises:
            NoScenario: unknown name or param, or a value that does not fit.
        """
        text = " ".join([name, *(f"{key}={_written(params[key])}" for key in sorted(params))])
        self.story(text)
        return text

    def _story(self, text: str) -> Story:
        try:
            name, params = parse_choice(text)
            scenario = self.scenarios.get(name)
            if scenario is None:
                raise NoScenario(f"no scenario {name!r}; there are {', '.join(sorted(self.scenarios))}")
            story = scenario.fill(params)
        except ValidationError as error:
            raise NoScenario(f"scenario {text}: {_first(error)}") from error
        except NoScenario:
            raise
        except ValueError as error:
            raise NoScenario(str(error)) from error
        if story.outcome.code is not None and story.outcome.code not in self._task_errors:
            raise NoScenario(
                f"scenario {text}: {story.outcome.code!r} is no task error code; there are {', '.join(self._task_errors)}"
            )
        for act in story.acts:
            if act.answer and act.answer.error and act.answer.error not in documented():
                raise NoScenario(
                    f"scenario {text}: no documented error {act.answer.error!r}; there are {', '.join(documented())}"
                )
        return story

    def default(self, text: str) -> str:
        """The choice that tasks follow where nothing else says so.

        Raises:
            BadSetting: it cannot be told.
        """
        try:
            return self.choose(*parse_choice(text))
        except ValueError as error:
            raise BadSetting(f"--scenario: {error}") from error

    def check_mixtures(self) -> None:
        """Raise BadSetting where a mixture names a scenario that is not there."""
        for name, scenario in self.scenarios.items():
            for choice in scenario.story.get("mixture", {}):
                try:
                    self.story(choice)
                except NoScenario as error:
                    raise BadSetting(f"scenario {name}: mixture: {error}") from error

    def _check(self, path: Path, scenario: Scenario) -> None:
        try:
            self._story(scenario.name)
        except NoScenario as error:
            raise BadSetting(f"{path}: {error}") from error


def _known(text: str, what: str, name: str | None, names: Mapping[str, Any]) -> None:
    if name is not None and name not in names:
        raise NoScenario(f"scenario {text}: {name!r} is no {what}; there are {', '.join(names)}")


def _files(folder: Path | None) -> list[Path]:
    if folder is not None and not folder.is_dir():
        raise BadSetting(f"--scenarios {folder}: not a folder")
    return [*sorted(SHIPPED.glob("*.yaml")), *(sorted(folder.glob("*.yaml")) if folder else ())]


def _read(path: Path) -> list[Scenario]:
    """The scenarios of one file; a file may hold several documents."""
    try:
        text = path.read_text(encoding="utf-8")
        documents = list(yaml.load_all(text, Loader=_Loader))
    except OSError as error:
        raise BadSetting(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: not YAML: {error}") from error
    scenarios = []
    for number, document in enumerate(documents):
        try:
            scenarios.append(Scenario.model_validate(document))
        except ValidationError as error:
            line = _line(text, number, [part for part in error.errors()[0]["loc"] if part != "story"])
            raise BadSetting(f"{path}:{line}: {_first(error)}") from error
    return scenarios


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"] if part != "story")
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _line(text: str, number: int, path: list[Any]) -> int:
    """The line on which the value at *path* of the file's document *number* stands."""
    node = list(yaml.compose_all(text, Loader=_Loader))[number]
    line = node.start_mark.line
    for part in path:
        children = dict(_children(node))
        if part not in children:
            break
        node = children[part]
        line = node.start_mark.line
    return int(line) + 1


def _children(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, yaml.MappingNode):
        return [(key.value, value) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return list(enumerate(node.value))
    return []


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
