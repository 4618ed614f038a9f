"""What a create may say: the JSON text, the fields, and the addresses a callback may go to, from the document."""

import ipaddress
import json
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from standin_facts import (
    CALLBACK_URL_MAX,
    DURATION_DEFAULT,
    DURATION_MAX,
    DURATION_MIN,
    FORBIDDEN_FIELDS,
    KNOWN_FIELDS,
    MODEL,
    PROMPT_MAX,
    QUALITIES,
    Options,
    invalid,
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Whatever is not global unicast (settled.md, "Internal addresses"), from the IANA special-purpose registries.
NOT_PUBLIC_4 = [
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
]
GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_6 = [ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20")]
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
INTERNAL_NAMES = {"localhost", "ip6-localhost", "ip6-loopback"}
INTERNAL_SUFFIXES = (".localhost", ".localdomain", ".local", ".internal")
UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f\\\s]")


@dataclass(frozen=True)
class Create:
    """A create that passed every check that needs no network."""

    image_start: str
    prompt: str
    quality: str
    duration: int
    callback_url: str | None
    canonical: str  # the whole body with sorted members: what "the same body" means to an Idempotency-Key


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; raises ApiError 400 for anything else.

    Duplicate members, NaN, a byte order mark, lone surrogates and nesting beyond the parser are no JSON object
    that two readers would agree about, so they are refused too.
    """
    try:
        text = raw.decode("utf-8")
        body = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(body, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid(None, "The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise invalid(None, "The request body must be a JSON object.")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check_create(body: dict[str, Any], options: Options) -> Create:
    """The create in `body`; raises ApiError 400 naming the first field that is wrong."""
    for name in FORBIDDEN_FIELDS:
        if name in body:
            raise invalid(name, f"{name} is not accepted by this model.")
    for name in body:
        if name not in KNOWN_FIELDS and options.refuse_unknown:
            raise invalid(name[:100], "This field is unknown.")
    if body.get("model") != MODEL:
        raise invalid("model", f"model must be {MODEL}.")
    return Create(
        image_start=_image_url(body),
        prompt=_prompt(body),
        quality=_quality(body),
        duration=_duration(body),
        callback_url=_callback_url(body, options),
        canonical=json.dumps(body, sort_keys=True, ensure_ascii=False),
    )


def _image_url(body: dict[str, Any]) -> str:
    value = body.get("image_start")
    if not isinstance(value, str) or UNSAFE_IN_URL.search(value):
        raise invalid("image_start", "image_start must be a string that holds an http or https URL.")
    split_url(value, ("http", "https"), "image_start")
    return value


def _prompt(body: dict[str, Any]) -> str:
    value = body.get("prompt", "")
    if not isinstance(value, str):
        raise invalid("prompt", "prompt must be a string.")
    if len(value) > PROMPT_MAX:
        raise invalid("prompt", f"prompt is longer than {PROMPT_MAX} characters.")
    return value


def _quality(body: dict[str, Any]) -> str:
    value = body.get("quality", "720p")
    if not isinstance(value, str) or value not in QUALITIES:
        raise invalid("quality", "quality must be 720p or 1080p.")
    return value


def _duration(body: dict[str, Any]) -> int:
    value = body.get("duration", DURATION_DEFAULT)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (isinstance(value, float) and (not math.isfinite(value) or not value.is_integer())):
        raise invalid("duration", "duration must be an integer.")
    if not DURATION_MIN <= value <= DURATION_MAX:
        raise invalid("duration", f"duration must be from {DURATION_MIN} to {DURATION_MAX} seconds.")
    return int(value)


def _callback_url(body: dict[str, Any], options: Options) -> str | None:
    if "callback_url" not in body:
        return None
    value = body["callback_url"]
    if not isinstance(value, str) or UNSAFE_IN_URL.search(value):
        raise invalid("callback_url", "callback_url must be a string that holds an https URL.")
    if len(value) > CALLBACK_URL_MAX:
        raise invalid("callback_url", f"callback_url is longer than {CALLBACK_URL_MAX} characters.")
    parts = split_url(value, ("https",), "callback_url")
    if "@" in parts.netloc:
        raise invalid("callback_url", "callback_url must not carry user information.")
    host = plain_host(parts, "callback_url")
    if not options.allow_internal_callbacks and is_internal(host):
        raise invalid("callback_url", "callback_url must not point to an internal address.")
    return value


def split_url(value: str, schemes: tuple[str, ...], param: str) -> SplitResult:
    """`value` in parts; raises ApiError 400 unless it has one of `schemes`, a host and a port that can exist."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise invalid(param, f"{param} must be an absolute {' or '.join(schemes)} URL.")
    plain_host(parts, param)
    return parts


def plain_host(parts: SplitResult, param: str) -> str:
    """The host as a resolver will see it: percent-decoded, compatibility forms folded, lower case, no last dot."""
    host = unicodedata.normalize("NFKC", unquote(parts.hostname or "")).replace("。", ".").lower()
    host = host.removesuffix(".")
    try:
        if ":" not in host:
            host = host.encode("idna").decode("ascii")
        as_address(host)
    except ValueError:
        host = ""
    if not host or re.search(r"[\s/@\\?#\[\]<>^|%]", host):
        raise invalid(param, f"{param} has no valid host.")
    return host


def as_address(host: str) -> Address | None:
    """The address that `host` spells in any of the ways resolvers take, None for a name.

    Raises ValueError for a host that ends like a number and is no address: no resolver agrees about those.
    """
    if ":" in host:
        return ipaddress.IPv6Address(host)
    labels = host.split(".")
    if not re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]):
        return None
    numbers = [_number(label) for label in labels]
    if len(numbers) > 4 or any(part > 255 for part in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError(host)
    value = numbers[-1]
    for place, part in enumerate(numbers[:-1]):
        value += part << (24 - 8 * place)
    return ipaddress.IPv4Address(value)


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    if not label.isdigit():
        raise ValueError(label)
    return int(label, 8 if label.startswith("0") else 10)


def is_internal(host: str) -> bool:
    """Whether `host` (as `plain_host` gives it) is an address that is not public, or a name that always means one."""
    address = as_address(host)
    if address is not None:
        return not is_public(address)
    return host in INTERNAL_NAMES or host.endswith(INTERNAL_SUFFIXES)


def is_public(address: Address) -> bool:
    """Whether `address` is global unicast, looking through the IPv6 forms that carry an IPv4 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address in SIX_TO_FOUR:
        return is_public(ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF))
    return address in GLOBAL_6 and not any(address in network for network in NOT_PUBLIC_6)
