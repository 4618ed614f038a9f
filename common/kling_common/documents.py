"""YAML with the line number of each value."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

_DEEPEST = 40
LARGEST = 4 * 1024 * 1024
"""Bytes of a file that are read; people write none that is near."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Reads plain words as YAML 1.2 does: `on` and `no` are words, and so are 2026-01-01 and 12:30:00."""

    yaml_implicit_resolvers: ClassVar = {
        first: [
            (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp", ":int", ":float"))
        ]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
# Longer numbers are words: no setting takes one, and Python's integers grow as large as the text lets them.
_INTEGER = re.compile(r"^(?:[-+]?[0-9]{1,18}|0x[0-9a-fA-F]{1,16}|0o[0-7]{1,21})$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9]{1,40}\.[0-9]{0,40}|\.[0-9]{1,40}|[0-9]{1,40}(?=[eE]))(?:[eE][-+]?[0-9]{1,4})?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    if _INTEGER.match(text) is None:
        raise ValueError(f"{text[:40]!r} is not an integer that is read here")
    return int(text, 0 if text[:2] in ("0x", "0o") else 10)


def _float(loader: Any, node: Any) -> float:
    text = loader.construct_scalar(node)
    if _FLOAT.match(text) is None and _INTEGER.match(text) is None:
        raise ValueError(f"{text[:40]!r} is not a number that is read here")
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


class BadYaml(ValueError):
    """The text is not YAML, or uses what is not accepted: anchors, a duplicate key. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its value, and the line of each part."""

    value: Any
    node: Any

    def line(self, path: Sequence[Any] = ()) -> int:
        """The line of the value at *path*, as far as the path leads."""
        node, line = self.node, self.node.start_mark.line
        for part in path:
            found = next(((mark, child) for key, mark, child in _children(node) if key == str(part)), None)
            if found is None:
                break
            line, node = found[0].line, found[1]
        return int(line) + 1


def parse(text: str) -> list[Document]:
    """The documents of *text*.

    Raises:
        BadYaml: it is not YAML, or has anchors or a key twice.
    """
    if len(text) > LARGEST:
        raise BadYaml(1, f"larger than {LARGEST} bytes")
    try:
        _refuse_depth(text)
        loader = _Loader(text)
    except yaml.YAMLError as error:
        raise BadYaml(_line_of(error, text), _said(error)) from error
    except UnicodeEncodeError as error:
        raise BadYaml(text.count("\n", 0, error.start) + 1, "contains invalid characters") from error
    found: list[Document] = []
    while True:
        line = found[-1].node.end_mark.line if found else 0
        try:
            if not loader.check_node():
                return found
            node = loader.get_node()
            line = node.start_mark.line
            _refuse(node)
            found.append(Document(loader.construct_document(node), node))
        except yaml.YAMLError as error:
            raise BadYaml(_line_of(error, text), _said(error)) from error
        except BadYaml:
            raise
        except (ValueError, OverflowError, LookupError, TypeError, AttributeError) as error:
            # PyYAML raises these for tags that do not fit their values.
            raise BadYaml(line + 1, f"not YAML: {error}") from error


def load(text: str) -> Any:
    """Return the value of the one document in *text*; None for an empty one.

    Raises:
        BadYaml: it is not YAML, has anchors or a key twice, or more than one document. The message begins with the line.
    """
    try:
        documents = parse(text)
    except BadYaml as error:
        raise BadYaml(error.line, f"line {error.line}: {error}") from error
    if len(documents) > 1:
        raise BadYaml(documents[1].line(), f"line {documents[1].line()}: a second document; one is read")
    return documents[0].value if documents else None


def _refuse_depth(text: str) -> None:
    """Refuse deep nesting before anything is made of it: libyaml's own recursion has no bound."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            mark: Any = event.start_mark
            raise BadYaml(mark.line + 1, f"nested more than {_DEEPEST} deep")


def _refuse(root: Any) -> None:
    """Refuse what makes a small file large or ambiguous: a part that is used twice, a key that stands twice."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            raise BadYaml(node.start_mark.line + 1, "anchors and aliases are not accepted; write the value out")
        seen.add(id(node))
        keys = set()
        for key, mark, child in _children(node):
            if key in keys:
                raise BadYaml(mark.line + 1, f"the key {key[:60]!r} appears twice")
            keys.add(key)
            waiting.append(child)


def _children(node: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, place and node of each part of a mapping or a list."""
    if isinstance(node, yaml.MappingNode):
        for number, (key, value) in enumerate(node.value):
            name = key.value if isinstance(key.value, str) else f"? {number}"
            yield name, key.start_mark, value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), value.start_mark, value


def _line_of(error: yaml.YAMLError, text: str) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    position = getattr(error, "position", None) or 0
    return text.encode().count(b"\n", 0, position) + 1


def _said(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return f"not YAML: {problem}"
