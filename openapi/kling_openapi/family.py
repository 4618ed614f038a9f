"""The family: the contract's document and every model of it, from the shipped files and those of a user.

A model is one file of `openapi/models/`: the OpenAPI 3.1 schema of its create body, with the policies that a schema cannot say.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from kling_openapi import checking
from kling_openapi.composing import composed
from kling_openapi.files import ContractError, at, parse, read_text
from kling_openapi.model import POLICIES, Model

_PACKAGE = Path(__file__).parent
HERE = _PACKAGE if (_PACKAGE / "kling-v3-turbo.yaml").exists() else _PACKAGE.parent
"""The folder of the contract's files: inside the package in a wheel, above it in a checkout."""
SERVICE = HERE / "kling-v3-turbo.yaml"
MODELS = HERE / "models"
PARTS = HERE / "parts.yaml"
DOCUMENTS = (SERVICE, HERE / "control.yaml")
PARSED = HERE / "parsed.json"
"""What the shipped files say, by the SHA-256 of their text: reading it takes a twentieth of the time of YAML."""

Document = dict[str, Any]


class Family:
    """One document and its models by name, the document's own model first."""

    def __init__(self, document: Document, files: Mapping[Path, Any], parts: Mapping[str, Any]) -> None:
        """*files*: what the model files say. *parts*: the schemas that they share."""
        self.raw = document
        schemas = document["components"]["schemas"]
        inline = schemas.get("CreateVideo")
        own = inline.get("properties", {}) if isinstance(inline, dict) else {}
        self.callback: dict[str, Any] = own.get("callback_url") or schemas.get("CallbackUrl") or _shipped_callback()
        self.components: dict[str, Any] = {**parts, **schemas, "CallbackUrl": self.callback}
        self.default: str = str(schemas["Model"]["const"]) if "Model" in schemas else ""
        found = {path.stem: Model(path.stem, schema, self.components, path) for path, schema in files.items()}
        if inline is not None:
            base = found.get(self.default) or next((it for it in found.values() if it.path.parent == MODELS), None)
            keys = [
                key
                for key in POLICIES
                if base and key in base.schema and (key != "examples" or base.name == self.default)
            ]
            policies = {key: base.schema[key] for key in keys} if base else {}
            found[self.default] = Model(self.default, {**policies, **inline}, self.components, SERVICE)
        names = sorted(found, key=lambda name: (name != self.default, name))
        self.models: dict[str, Model] = {name: found[name] for name in names}

    @property
    def own(self) -> Model:
        """The document's own model."""
        return self.models[self.default]

    @cache  # noqa: B019 - families are few and live as long as the process
    def document(self, name: str | None = None) -> Document:
        """Return the contract as it is for one model, by default the document's own; shared, so treat it as read-only.

        Raises:
            ContractError: there is no such model.
        """
        model = self.models.get(name or self.default)
        if model is None:
            raise ContractError(f"there is no model {name!r}; there are {', '.join(self.models)}")
        return composed(self.raw, model, self.callback)


def read_family(path: Path | None = None) -> Family:
    """Return the shipped contract with its models, changed by what stands at *path*.

    *path* is a contract (an OpenAPI document), a model file, or a folder of them: a model of the same name takes the place of the
    shipped one, another is one more. A contract with a `CreateVideo` of its own has its own model from that.

    Raises:
        ContractError: a file cannot be used; the message names file and line.
    """
    document, files, parts = SERVICE, _models(MODELS), [PARTS]
    contents: dict[Path, Any] = {}
    for file in _given(path):
        content = contents[file] = parse(file, read_text(file))
        kind = _kind(content)
        if kind == "document":
            document = file
        elif kind == "parts":
            parts.append(file)
        else:
            files = {**files, file.stem: file}
    return _family(document, contents, files, parts)


@cache
def family() -> Family:
    """The shipped family."""
    return read_family()


def read_document(path: Path) -> Document:
    """Return the OpenAPI document at *path* as it stands in the file.

    Raises:
        ContractError: the file is missing, is not YAML, or is not an OpenAPI 3.1 document.
    """
    text = read_text(path)
    document = _kept(digest(text)) if path in DOCUMENTS else None
    if document is None:
        document = parse(path, text)
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3.1"):
        raise ContractError(f"{path}: not an OpenAPI 3.1 document")
    return document


def _family(document: Path, contents: Mapping[Path, Any], files: Mapping[str, Path], parts: list[Path]) -> Family:
    def content(file: Path) -> Any:
        return contents[file] if file in contents else _shipped(file)

    shared: dict[str, Any] = {}
    for file in parts:
        shared |= _schemas(file, content(file))
    schemas = {file: content(file) for file in files.values()}
    for file, schema in schemas.items():
        _check_name(file, schema)
    try:
        found = Family(read_document(document), schemas, shared)
    except (KeyError, TypeError, AttributeError) as error:
        raise ContractError(f"{document}: {type(error).__name__}: {error}; the models need that part") from error
    for steps, complaint in checking.references(found.own.schema, found.components):
        raise ContractError(f"{document}: {found.default}/{'/'.join(map(str, steps))}: {complaint}")
    for name, file in files.items():
        if name in found.models and found.models[name].path == file and not is_known(file):
            checking.check(file, found.models[name])
    return found


def _given(path: Path | None) -> Iterator[Path]:
    """Return the files that a user's *path* stands for."""
    if path is None or path == SERVICE:
        return
    if not path.is_dir():
        yield path
        return
    files = sorted(file for file in (*path.glob("*.yaml"), *path.glob("*.yml")) if file.is_file())
    if not files:
        raise ContractError(f"{path}: the folder holds no YAML file; put a contract or model files into it")
    yield from files


def _kind(content: Any) -> str:
    """Return what a user's file is: a `document`, shared `parts`, or a `model`."""
    if isinstance(content, dict):
        if "openapi" in content or "swagger" in content or not content:
            return "document"
        if set(content) <= {"components", "info"}:
            return "parts"
        if "properties" in content or "required" in content or content.get("type") == "object":
            return "model"
    return "document"


def _models(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def _schemas(file: Path, content: Any) -> dict[str, Any]:
    """Return the components of a file of shared schemas, in their right form."""
    found = content.get("components", {}).get("schemas") if isinstance(content.get("components"), dict) else None
    if not isinstance(found, dict):
        raise ContractError(f"{file}:1: components.schemas holds the shared schemas, by name")
    for name, schema in () if is_known(file) else found.items():
        for steps, complaint in checking.unknown(schema, ("components", "schemas", name)):
            raise ContractError(f"{at(file, steps)}: {complaint}")
    return found


def _check_name(file: Path, schema: Any) -> None:
    """Refuse a model file that is not about the model that its name says."""
    model = schema.get("properties", {}).get("model", {}) if isinstance(schema, dict) else {}
    name = model.get("const") if isinstance(model, dict) else None
    if name is None:
        raise ContractError(f"{file}:1: not a model file: properties.model.const names the model")
    if name != file.stem:
        place = at(file, ("properties", "model", "const"))
        raise ContractError(f"{place}: the model is {name!r}; the file of that model is {name}.yaml")


# The shipped files, without YAML


@cache
def _parsed() -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads(PARSED.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found


def _kept(name: str) -> Any:
    """Return what `parsed.json` has under *name*, made anew, since whoever reads a document may change it; None where it has nothing."""
    try:
        return orjson.loads(PARSED.read_bytes()).get(name)
    except (OSError, orjson.JSONDecodeError):
        return None


@cache
def _digest(file: Path) -> str:
    return digest(read_text(file))


def digest(text: str) -> str:
    """Return the name under which `parsed.json` keeps what *text* says."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_known(file: Path) -> bool:
    """Return whether *file* is a shipped one that has not changed since it was checked and `parsed.json` was written."""
    return (file in (*DOCUMENTS, PARTS) or file.parent == MODELS) and _digest(file) in _parsed()


def _shipped(file: Path) -> Any:
    known = _parsed().get(_digest(file))
    return parse(file, read_text(file)) if known is None else known


def _shipped_callback() -> dict[str, Any]:
    found: dict[str, Any] = read_document(SERVICE)["components"]["schemas"]["CallbackUrl"]
    return found
