"""The contract as the kit asks it: limits, operations, documented errors, and what is wrong with a body.

A thin, typed reading of `kling_openapi.service()`; no number of the service stands anywhere else in the kit.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs

import kling_openapi
from kling_contract.reading.addresses import Network, is_internal, split
from kling_contract.reading.documented import (
    DocumentedError,
    Flaw,
    IdShape,
    ImageLimits,
    Operation,
    flaws_of,
    matches,
    problems_of,
)
from kling_contract.reading.listing import batch_max
from kling_openapi.model import Model
from kling_openapi.schemas import resolved

Document = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


class Contract:
    """One contract document.

    Raises:
        kling_openapi.ContractError: a member that the kit needs is missing; the message names it.
    """

    def __init__(
        self, document: Document | None = None, others: Mapping[str, Model] | None = None, source: Path | None = None
    ) -> None:
        """*others*: further models whose creates are judged by their own files. *source*: the user's file or folder of it."""
        self.document: Document = kling_openapi.service() if document is None else document
        self.others: Mapping[str, Model] = others or {}
        self.source = source
        self.asked: Model | None = None
        """The model that a run asks for by its name, as its file has it; the document's own too, where the user named it."""
        self.composed: Callable[[str], Document] | None = None
        """Gives the document as it is for one of the others; None where only the own one is known."""
        try:
            self._read()
        except (KeyError, TypeError, ValueError) as error:
            raise kling_openapi.ContractError(f"the contract lacks what the kit reads: {error!r}") from error

    def _read(self) -> None:
        schemas = self.document["components"]["schemas"]
        self.version = str(self.document["info"]["version"])
        self.model: str = schemas["Model"]["const"]
        self.duration_min, self.duration_max = schemas["Duration"]["minimum"], schemas["Duration"]["maximum"]
        self.duration_default: int = schemas["Duration"]["default"]
        self.qualities: dict[str, int] = {tier["const"]: tier["x-short-side"] for tier in schemas["Quality"]["oneOf"]}
        self.quality_default: str = schemas["Quality"]["default"]
        self.max_body = int(self.document["x-assumptions"]["max_body_bytes"]["schema"]["default"])
        self._read_create(schemas["CreateVideo"]["properties"])
        self._read_task(schemas)
        delivery = self._find("x-delivery")
        self.timeout = float(delivery["timeout_seconds"])
        self.retry_delays = tuple(map(float, delivery["retry_delays_seconds"]))

    def _read_create(self, create: Document) -> None:
        self.request_fields = frozenset(create)
        self.prompt_max: int = create["prompt"]["maxLength"]
        self.callback_url_max: int = create["callback_url"]["maxLength"]
        address = create["callback_url"]["x-callback-address"]
        self.callback_schemes: tuple[str, ...] = tuple(address["schemes"])
        self.internal: tuple[Network, ...] = tuple(map(ipaddress.ip_network, address["internal"]))
        self.image = ImageLimits.read(create["image_start"]["x-image"])

    def _read_task(self, schemas: Document) -> None:
        common = schemas["TaskCommon"]
        link = schemas["CompletedTask"]["properties"]["results"]["x-link"]
        self.link_lifetime = float(link["lifetime_seconds"])
        self.link_type: str = link["content_type"]
        self.file_lifetime = float(schemas["UploadedFile"]["x-files"]["lifetime_seconds"])
        polling = self._find("x-polling")
        self.min_poll, self.give_up = float(polling["min_poll_seconds"]), float(polling["give_up_seconds"])
        self.task_members: tuple[str, ...] = tuple(common["required"])
        self.created_members: tuple[str, ...] = (*common["required"], *schemas["CreatedTask"]["required"])
        self.task_documented: tuple[str, ...] = (*common["properties"], "results", "result_data", "error")
        self.id_pattern = re.compile(common["properties"]["id"]["pattern"])
        shape = common["properties"]["id"]["x-id"]
        self.id = IdShape(shape["prefix"], shape["suffix_length"], shape["suffix_alphabet"])
        self.task_id_pattern = re.compile(self.document["components"]["parameters"]["TaskId"]["schema"]["pattern"])
        self.output_types: tuple[str, ...] = tuple(schemas["OutputType"]["enum"])
        self.statuses: tuple[str, ...] = tuple(schemas["Status"]["enum"])
        branches = [self.deref(branch) for branch in schemas["TerminalTask"]["oneOf"]]
        self.terminal: tuple[str, ...] = tuple(branch["properties"]["status"]["const"] for branch in branches)
        self.live: tuple[str, ...] = tuple(status for status in self.statuses if status not in self.terminal)
        self.task_errors: tuple[str, ...] = tuple(code["const"] for code in schemas["TaskErrorCode"]["oneOf"])
        self.billing_rule: str = schemas["Usage"]["properties"]["billing_rule"].get("x-value", "")
        self.batch_max = batch_max(self.document)
        self.completed_progress: int = schemas["CompletedTask"]["properties"]["progress"]["const"]

    def stage(self, status: Any) -> int | None:
        """How far along *status* is: live ones in their documented order, then one for all ends; None when unknown."""
        if status in self.terminal:
            return len(self.live)
        return self.live.index(status) if status in self.live else None

    @cached_property
    def create_path(self) -> str:
        """Where a task is created."""
        return self.named("createVideo").template

    @cached_property
    def root(self) -> str:
        """What the paths of the service's own calls begin with: `/v1/`."""
        return f"/{self.create_path.split('/')[1]}/"

    def task_path(self, task_id: str) -> str:
        """Return where a task of that id is read."""
        return self.named("getTask").template.replace("{task_id}", task_id)

    def unused_id(self, suffix: str) -> str:
        """Return a well-formed id with the characters of *suffix* that an id may have at its end, created in 2023."""
        letters = [letter for letter in suffix if letter in self.id.suffix_alphabet]
        return f"{self.id.prefix}1700000000-{''.join(letters)[: self.id.suffix_length]}"

    @cached_property
    def id_in_text(self) -> re.Pattern[str]:
        """Finds task ids in a text, odd ones too; the group is what follows the moment of creation."""
        return re.compile(re.escape(self.id.prefix) + r"[A-Za-z0-9]+-([A-Za-z0-9]+)")

    def _find(self, name: str) -> Any:
        found = next(_search(self.document["paths"], name), None)
        if found is None:
            raise KeyError(name)
        return found

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Every documented call; templates with fewer placeholders first, so that the most literal one matches."""
        found = [
            self._operation(template, method, node)
            for template, item in self.document["paths"].items()
            for method, node in item.items()
            if method in METHODS
        ]
        return tuple(sorted(found, key=lambda operation: operation.template.count("{")))

    def _operation(self, template: str, method: str, node: Document) -> Operation:
        statuses, html = {}, set()
        for status, response in node["responses"].items():
            content = self.deref(response).get("content", {})
            if "application/json" in content:
                statuses[status] = content["application/json"]["schema"]
            if "text/html" in content:
                html.add(status)
        tags = node["tags"]
        return Operation(
            node["operationId"], method.upper(), template, statuses, frozenset(html),
            "videos" in tags, "files" in tags, "x-integer-codes" in node,
        )  # fmt: skip

    @lru_cache(4096)  # noqa: B019 - contracts are few and live as long as the process
    def routes(self, path: str) -> tuple[Operation, ...]:
        """The documented calls on *path*, whatever their method; only those of the most literal template."""
        matching = [op for op in self.operations if matches(op.template, path)]
        return tuple(op for op in matching if op.template == matching[0].template)

    @lru_cache(4096)  # noqa: B019 - contracts are few and live as long as the process
    def operation(self, method: str, path: str) -> Operation | None:
        """The documented call that *method* *path* is; None when the contract knows none."""
        return next((op for op in self.operations if op.method == method and matches(op.template, path)), None)

    @cache  # noqa: B019 - contracts are few and live as long as the process
    def named(self, operation_id: str) -> Operation:
        """The call with that operationId."""
        return next(op for op in self.operations if op.id == operation_id)

    @cached_property
    def errors(self) -> tuple[DocumentedError, ...]:
        """The documented HTTP errors, in the order of the file."""
        return tuple(
            DocumentedError(
                error["status"], error["code"], error["type"], error["legacy_type"], response.get("x-grade", "A")
            )
            for response in self.document["components"]["responses"].values()
            if "envelope" not in (error := response.get("x-error", {"envelope": ""}))
        )

    def errors_of(self, status: int) -> tuple[DocumentedError, ...]:
        """The documented errors with that status, when a public source documents it; else none."""
        found = tuple(error for error in self.errors if error.status == status)
        return found if any(error.grade in "DS" for error in found) else ()

    def deref(self, node: Document) -> Document:
        """*node*, or what its `$ref` points at inside this document."""
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    @cache  # noqa: B019 - contracts are few and live as long as the process
    def document_of(self, model: str) -> Document:
        """Return the document as it is for *model*: the contract's own one where nothing more is known of it."""
        known = model in self.others and self.composed is not None
        return self.composed(model) if known and self.composed is not None else self.document

    @cache  # noqa: B019 - contracts are few and live as long as the process
    def _components(self, model: str) -> dict[str, Any]:
        """The components with tasks distinguished by status, so that a flaw is named, not "no branch fits"."""
        components = dict(self.document_of(model)["components"])
        schemas = dict(components["schemas"])
        for name in ("Task", "TerminalTask"):
            schemas[name] = self._by_status(schemas[name])
        return {**components, "schemas": schemas}

    def _by_status(self, schema: Document) -> dict[str, Any]:
        branches = {self.deref(branch)["properties"]["status"]["const"]: branch for branch in schema["oneOf"]}
        chosen = [
            {"if": {"properties": {"status": {"const": status}}, "required": ["status"]}, "then": branch}
            for status, branch in branches.items()
        ]
        common = {"$ref": "#/components/schemas/TaskCommon"}
        return {"allOf": [common, *chosen], "properties": {"status": {"enum": list(branches)}}}

    @cache  # noqa: B019 - contracts are few and live as long as the process
    def _validator(self, name: str, model: str) -> jsonschema_rs.Draft202012Validator:
        """The compiled validator of a component `#Task`, or of an answer `createVideo 200`, for tasks of *model*."""
        operation, _, status = name.partition(" ")
        schema = (
            self.named(operation).statuses[status]
            if status
            else {"$ref": f"#/components/schemas/{name.removeprefix('#')}"}
        )
        return jsonschema_rs.Draft202012Validator({**schema, "components": self._components(model)})

    def flaws(self, name: str, body: Any) -> tuple[Flaw, ...]:
        """What is wrong with *body* as an instance of the component *name* (`Task`, `CreateVideo`, `Error`, ...)."""
        return flaws_of(self._validator("#" + name, self._model_in(body)), body)

    def answer_flaws(self, operation: Operation | None, status: int, body: Any) -> tuple[Flaw, ...]:
        """What is wrong with *body* as an answer of *operation*; an undocumented error is a plain error."""
        if operation is not None and str(status) in operation.statuses:
            return flaws_of(self._validator(f"{operation.id} {status}", self._model_in(body)), body)
        return self.flaws("Error", body) if status >= 400 else ()

    def _model_in(self, body: Any) -> str:
        """Return the further model whose task, or first task of several, *body* shows; empty for the contract's own."""
        rows = body.get("data") if isinstance(body, dict) else None
        shown = rows[0] if isinstance(rows, list) and rows else body
        other = self.other(shown)
        return "" if other is None else other.name

    def member_flaws(self, member: str, value: Any) -> tuple[Flaw, ...]:
        """What is wrong with the value of one member that all tasks have (`progress`, `status`, ...)."""
        if member == "model" and isinstance(value, str) and value in self.others:
            return ()
        if value is None or isinstance(value, bool | int | float | str):
            # Most answers repeat the values of others; 1, 1.0 and true are equal and not alike.
            return self._plain_flaws(member, type(value).__name__, value)
        return self._flaws_of_member(member, value)

    @lru_cache(4096)  # noqa: B019 - contracts are few and live as long as the process
    def _plain_flaws(self, member: str, _: str, value: Any) -> tuple[Flaw, ...]:
        return self._flaws_of_member(member, value)

    def _flaws_of_member(self, member: str, value: Any) -> tuple[Flaw, ...]:
        found = flaws_of(self._members_alone, {member: value})
        return tuple(flaw for flaw in found if flaw.field == member)

    @cached_property
    def _members_alone(self) -> jsonschema_rs.Draft202012Validator:
        """What the contract says of a task's members, of which none need be there: no flaw is made for each that is not."""
        common = self.document["components"]["schemas"]["TaskCommon"]
        schema = {name: node for name, node in common.items() if name != "required"}
        return jsonschema_rs.Draft202012Validator({**schema, "components": self._components("")})

    def other(self, body: Any) -> Model | None:
        """Return the further model that a create names; None for one of the contract's own, or of none that is known."""
        name = body.get("model") if isinstance(body, dict) else None
        return self.others.get(name) if isinstance(name, str) else None

    @property
    def asks(self) -> str:
        """The name of the model that a run asks for."""
        return self.model if self.asked is None else self.asked.name

    @property
    def asks_another(self) -> bool:
        """Whether a run asks for another model than the document's own."""
        return self.asks != self.model

    def held_to(self, body: Any) -> Model | None:
        """Return the model whose file a create is held to: one that is not the document's own, or the one that the run asks for.

        A create that names no known model counts as one of the model that the run asks for.
        """
        name = body.get("model") if isinstance(body, dict) else None
        if name == self.asks or not isinstance(name, str) or not self.knows(name):
            return self.asked
        return self.others.get(name)

    def fields_of(self, body: Any) -> frozenset[str]:
        """Return the names of the fields that the model of a create knows."""
        other = self.other(body)
        return self.request_fields if other is None else frozenset(other.fields)

    def member(self, field: str) -> dict[str, Any]:
        """Return what the document says of one field of its own model's create; empty where it says nothing."""
        schemas = self.document["components"]["schemas"]
        return resolved(schemas["CreateVideo"]["properties"].get(field, {}), schemas)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The fields that a create of the document's own model must have."""
        return tuple(self.document["components"]["schemas"]["CreateVideo"].get("required", ()))

    @cached_property
    def options(self) -> tuple[str, ...]:
        """The fields of the document's own model that a user may set or leave, callbacks apart."""
        names = sorted(self.request_fields - {*self.required, "callback_url"})
        return tuple(name for name in names if self.member(name).get("not") != {})

    def default(self, field: str) -> Any:
        """Return the documented default of a field of the model that clients are asked for; empty where it has none."""
        own = self.member(field).get("default")
        found = own if self.asked is None else self.asked.default(field)
        return "" if found is None else found

    def knows(self, model: str) -> bool:
        """Whether creates of that model are judged here."""
        return model == self.model or model in self.others

    def create_flaws(self, body: Any) -> tuple[Flaw, ...]:
        """What is wrong with the body of a create: schema, scheme (`scheme`) and host (`internal`) of its callback."""
        held = self.held_to(body)
        own = held is None or held.name == self.model
        flaws = self.flaws("CreateVideo", body) if own else problems_of(held, body)
        url = body.get("callback_url") if isinstance(body, dict) else None
        if not isinstance(url, str):
            return flaws
        parts = split(url)
        if parts is None or not parts.hostname or parts.scheme.lower() not in self.callback_schemes:
            return (*flaws, Flaw(("callback_url",), "scheme", f"{url[:80]!r} is not an https URL"))
        if is_internal(parts.hostname, self.internal):
            return (*flaws, Flaw(("callback_url",), "internal", f"{parts.hostname} is internal"))
        return flaws

    def facts(self) -> dict[str, Any]:
        """The numbers and names that the sentences of the rulebook quote."""
        qualities = tuple(self.qualities)
        return {
            "duration_min": self.duration_min, "duration_below": self.duration_min - 1,
            "duration_max": self.duration_max, "duration_above": self.duration_max + 1,
            "duration_default": self.duration_default,
            "prompt_max": self.prompt_max, "prompt_above": self.prompt_max + 1,
            "callback_url_max": self.callback_url_max, "callback_url_above": self.callback_url_max + 1,
            "qualities": " and ".join(qualities), "quality_default": self.quality_default,
            "side": self.image.min_side, "side_below": self.image.min_side - 1,
            "megabytes": round(self.image.max_bytes / 1024**2),
            "ratio_min": f"1:{1 / self.image.ratio_min:g}", "ratio_max": f"{self.image.ratio_max:g}:1",
            "formats": " and ".join(name.upper() for name in self.image.formats),
            "timeout": f"{self.timeout:g}", "retries": len(self.retry_delays), "attempts": len(self.retry_delays) + 1,
            "delays": ", ".join(f"{delay:g}" for delay in self.retry_delays),
            "link_hours": f"{self.link_lifetime / 3600:g}", "link_type": self.link_type,
            "file_hours": f"{self.file_lifetime / 3600:g}",
            "statuses": ", ".join(self.statuses), "batch_max": self.batch_max, "billing_rule": self.billing_rule,
        }  # fmt: skip


def _search(node: Any, name: str) -> Iterator[Any]:
    if isinstance(node, Mapping):
        if name in node:
            yield node[name]
        for child in node.values():
            yield from _search(child, name)


@cache
def shipped() -> Contract:
    """The contract that comes with the kit, its own model and all the others."""
    return of_family(kling_openapi.family())


def of_family(family: kling_openapi.Family, source: Path | None = None) -> Contract:
    """Return the contract of a family: its own model, and every other one that a create may name."""
    others = {name: model for name, model in family.models.items() if name != family.default}
    contract = Contract(family.document(), others, source)
    contract.composed = family.document
    return contract
