"""What the client takes from the contract: request checks, limits, statuses, codes. None is typed again here."""

import ipaddress
import json
import socket
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs

import kling_openapi
from kling_client.errors import RequestInvalid
from kling_client.fields import picture_path
from kling_client.tasks import Statuses
from kling_openapi.media import Limits
from kling_openapi.model import Model

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Contract:
    """The parts of the OpenAPI document that a client stands on, each worked out when it is first asked for.

    Args:
        document: the document, else the one shipped.
        spec: another model of the family than the document's own, with what its file says.
    """

    def __init__(self, document: Mapping[str, Any] | None = None, spec: Model | None = None) -> None:
        self.document: Mapping[str, Any] = kling_openapi.service() if document is None else document
        self.spec = spec

    @property
    def base_url(self) -> str:
        """The service's own origin."""
        return str(self.document["servers"][0]["url"])

    @property
    def model(self) -> str:
        """The one model that this contract is about."""
        return self.spec.name if self.spec is not None else str(self._schema("Model")["const"])

    def path(self, operation_id: str) -> str:
        """The path template of an operation."""
        for path, item in self.document["paths"].items():
            if any(operation.get("operationId") == operation_id for operation in item.values()):
                return str(path)
        raise kling_openapi.ContractError(f"the contract has no operation {operation_id}")

    @cached_property
    def statuses(self) -> Statuses:
        """The terminal statuses: those that promise results, and those that promise an error."""
        ends = [self._schema(_name(branch["$ref"])) for branch in self._schema("TerminalTask")["oneOf"]]
        return Statuses(success=_status_requiring(ends, "results"), failure=_status_requiring(ends, "error"))

    def retryable(self, code: str | None) -> bool:
        """Whether the contract says that a new task may succeed after this task error code."""
        codes = self._schema("TaskErrorCode")["oneOf"]
        return any(entry["const"] == code and entry["x-retryable"] for entry in codes)

    @cached_property
    def image(self) -> Limits:
        """The limits of a first frame, or of another model's first picture."""
        if self.spec is None:
            return Limits.of("image", self._schema("CreateVideo")["properties"]["image_start"]["x-image"])
        path = picture_path(self.spec)
        if path is None:
            raise RequestInvalid(f"{self.model} takes no picture; leave IMAGE out", param="image")
        return self.spec.slots.limits[path]

    @cached_property
    def link(self) -> Mapping[str, Any]:
        """What the contract says of result links: lifetime_seconds, content_type."""
        rules: Mapping[str, Any] = self._schema("CompletedTask")["properties"]["results"]["x-link"]
        return rules

    @cached_property
    def polling(self) -> Mapping[str, Any]:
        """Polling rules that the contract gives for tasks (`x-polling` of the query), empty while it names none."""
        rules: Mapping[str, Any] = self.document["paths"][self.path("getTask")]["get"].get("x-polling", {})
        return rules

    @cached_property
    def callback_timeout(self) -> float:
        """Seconds that the service gives one attempt of a callback."""
        (event,) = self.document["paths"][self.path("createVideo")]["post"]["callbacks"]["taskFinished"].values()
        return float(event["post"]["x-delivery"]["timeout_seconds"])

    def check_create(self, body: Mapping[str, Any]) -> None:
        """Check a create body.

        Raises:
            RequestInvalid: the contract does not allow it; `param` names the field.
        """
        for name, value in body.items():
            _check_sendable(name, value)
        if self.spec is not None:
            for problem in self.spec.problems(dict(body))[:1]:
                raise RequestInvalid(problem.message, param=problem.param)
            return self._check_address(body)
        errors = sorted(self._create.iter_errors(dict(body)), key=lambda error: len(error.instance_path))
        if errors:
            raise self._refusal(errors[0])
        return self._check_address(body)

    def _check_address(self, body: Mapping[str, Any]) -> None:
        """Check the callback URL of a body, where it has one."""
        if isinstance(body.get("callback_url"), str):
            self._check_callback(body["callback_url"])

    def check_idempotency_key(self, key: str) -> None:
        """Let a well-formed Idempotency-Key pass.

        Raises:
            RequestInvalid: the contract's pattern does not match it.
        """
        schema = self.document["components"]["parameters"]["IdempotencyKey"]["schema"]
        if not jsonschema_rs.is_valid(schema, key):
            raise RequestInvalid(
                f"Idempotency-Key: {schema['minLength']} to {schema['maxLength']} characters of {schema['pattern']}",
                param="Idempotency-Key",
            )

    @cached_property
    def _create(self) -> jsonschema_rs.Draft202012Validator:
        """The create body's validator. Values are masked in its messages: a prompt is private."""
        schema = {"$ref": "#/components/schemas/CreateVideo", "components": self.document["components"]}
        return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, mask="the value")

    def _schema(self, name: str) -> Mapping[str, Any]:
        schema: Mapping[str, Any] = self.document["components"]["schemas"][name]
        return schema

    def _refusal(self, error: jsonschema_rs.ValidationError) -> RequestInvalid:
        """*error* in words of the API. A field that the contract forbids says so in the contract's own words."""
        path = [str(part) for part in error.instance_path]
        param = path[0] if path else None
        about = self._schema("CreateVideo")["properties"].get(param, {}) if param else {}
        if "not" in about:
            return RequestInvalid(f"{param}: {about['description']}", param=param)
        choices = self._choices(about)
        text = f"must be one of {', '.join(choices)}" if choices else error.message
        return RequestInvalid(f"{param}: {text}" if param else text, param=param)

    def _choices(self, schema: Mapping[str, Any]) -> list[str]:
        """The constants among which a field chooses, where it does."""
        resolved = self._schema(_name(schema["$ref"])) if "$ref" in schema else schema
        return [str(branch["const"]) for branch in resolved.get("oneOf", ()) if "const" in branch]

    def _check_callback(self, url: str) -> None:
        """The address rules of a callback URL, as far as they show without a name lookup."""
        rules = kling_openapi.family().callback["x-callback-address"]
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        if parts.scheme not in rules["schemes"]:
            allowed = " or ".join(rules["schemes"])
            raise RequestInvalid(f"callback_url: only {allowed} URLs are called", param="callback_url")
        if not host or "@" in parts.netloc:
            raise RequestInvalid("callback_url: not a URL with a plain host", param="callback_url")
        if _is_internal(host, rules["internal"]):
            raise RequestInvalid("callback_url: internal addresses are not called", param="callback_url")


@cache
def shipped() -> Contract:
    """The contract in this installation."""
    return Contract()


@cache
def contract_of(model: str) -> Contract:
    """Return the contract for one model of the family.

    Raises:
        RequestInvalid: there is no such model.
    """
    family = kling_openapi.family()
    if model not in family.models:
        raise RequestInvalid(f"model: there is no {model!r:.80}; there are {', '.join(family.models)}", param="model")
    return shipped() if model == shipped().model else Contract(spec=family.models[model])


def host_address(host: str) -> Address | None:
    """The address that *host* spells, in any spelling (decimal, hex, octal, short); None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine, by name or by number."""
    name = host.rstrip(".").lower()
    address = host_address(name)
    return address.is_loopback if address is not None else name == "localhost" or name.endswith(".localhost")


def _is_internal(host: str, networks: Iterable[str]) -> bool:
    """Whether a host is internal without asking anyone: the contract's ranges, and whatever is not global unicast."""
    address = host_address(host)
    if address is None:
        return is_loopback(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    listed = any(address in ipaddress.ip_network(network) for network in networks)
    return listed or not address.is_global or address.is_multicast


def _check_sendable(name: str, value: Any) -> None:
    """Check that a field can travel as JSON.

    Raises:
        RequestInvalid: it holds half a character, or a number that JSON has not.
    """
    try:
        json.dumps({name: value}, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        text = name.encode(errors="replace").decode()
        raise RequestInvalid(f"{text}: is not valid Unicode, or not valid JSON", param=text) from None


def _status_requiring(ends: Iterable[Mapping[str, Any]], member: str) -> frozenset[str]:
    """The statuses of those terminal shapes that require *member*."""
    return frozenset(end["properties"]["status"]["const"] for end in ends if member in end.get("required", ()))


def _name(reference: str) -> str:
    """The last part of a local `$ref`."""
    return reference.rsplit("/", 1)[-1]
