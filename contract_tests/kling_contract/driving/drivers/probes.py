"""Near misses, derived from the contract: one past each bound, each value's neighbours, the right value in the wrong type.

A probe is data, so that a plan can be printed before anything is sent. Only bodies in which the contract itself finds
the one flaw that is meant are used: a changed contract changes the probes.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kling_contract.reading.addresses import Network
from kling_contract.reading.contract import Contract
from kling_openapi.model import Model
from kling_openapi.near_misses import near_misses as wrong_bodies

Base = Mapping[str, Any]
_WRONG_TYPES: tuple[Any, ...] = (None, 5, True, [], {})
_HUGE = 10**9


@dataclass(frozen=True, slots=True)
class Near:
    """One create that must be refused. raw: bytes that are no JSON object; else `body` is sent.

    risky: never sent to a service that bills, because its worst charge has no bound or it pokes at private networks.
    lenient: a lenient reader may still take it for a right value.
    """

    rules: tuple[str, ...]
    field: str
    value: Any
    body: Any = None
    raw: bytes | None = None
    risky: bool = False
    lenient: bool = False


def near_misses(contract: Contract, base: Base) -> list[Near]:
    """Every near miss of a create of the model that is asked for; *base* is a right one."""
    found = [*_names(contract, base), *_callbacks(contract, base), *_no_objects(base)]
    if not contract.asks_another:
        found = [*_fields(contract, base), *found]
    if contract.asked is not None:
        found += _of_file(contract.asked, base)
    return [near for near in found if near.raw is not None or contract.create_flaws(near.body)]


_SURE = frozenset({"minimum", "maximum", "maxLength", "minItems", "maxItems", "required", "not", "x-sums", "x-totals"})
"""Keywords after which no server reads another value into a body; the others are spellings and types."""


def _of_file(model: Model, base: Base) -> Iterator[Near]:
    """The near misses of every example of the model's file and of *base*, each once."""
    seen = set()
    for right in (dict(base), *model.examples):
        for miss in wrong_bodies(model, right):
            place = (miss.steps, repr(miss.value), miss.keyword)
            if miss.steps[0] in ("model", "callback_url") or place in seen:
                continue
            seen.add(place)
            body = {name: it for name, it in miss.body.items() if name != "callback_url"}
            yield Near(("SM-01",), miss.param, miss.value, body, lenient=miss.keyword not in _SURE)


def _names(contract: Contract, base: Base) -> Iterator[Near]:
    yield _without(base, "model", "SV-01")
    yield from _each(base, "model", "SV-02", _neighbour_models(contract))


def _fields(contract: Contract, base: Base) -> Iterator[Near]:
    yield _without(base, "image_start", "SV-03")
    yield from _each(base, "image_start", "SV-04", _no_urls(str(base["image_start"])))
    yield from _each(base, "image_start", "SV-04", ("file:///etc/hostname",), risky=True)
    above = contract.prompt_max + 1
    yield from _each(base, "prompt", "SV-06", ("a" * above, "\u6c34" * above, "\U0001f600" * above))
    yield from _each(base, "prompt", "SV-07", _WRONG_TYPES)
    low, high = contract.duration_min, contract.duration_max
    yield from _each(base, "duration", "SV-08", (low - 1, 0, -1))
    yield from _each(base, "duration", "SV-09", (high + 1,))
    yield from _each(base, "duration", "SV-09", (_HUGE,), risky=True)
    yield from _each(base, "duration", "SV-11", _no_whole_numbers(contract))
    yield from _each(base, "quality", "SV-13", ("4k",))
    yield from _each(base, "quality", "SV-14", _neighbour_qualities(contract))
    yield from _each(base, "aspect_ratio", "SV-16", ("16:9", "9:16", "1:1", "auto"))
    siblings = sorted(name for name in contract.request_fields - {"aspect_ratio"} if _banned(contract, name))
    for name in siblings:
        yield from _each(base, name, "", ([base["image_start"]],))


def _without(base: Base, field: str, rule: str) -> Near:
    return Near((rule,), field, None, {name: value for name, value in base.items() if name != field})


def _each(base: Base, field: str, rule: str, values: Any, *, risky: bool = False) -> Iterator[Near]:
    for value in values:
        yield Near((rule,) if rule else (), field, value, {**base, field: value}, risky=risky)


def _banned(contract: Contract, name: str) -> bool:
    return bool(contract.document["components"]["schemas"]["CreateVideo"]["properties"][name].get("not") == {})


def _neighbour_models(contract: Contract) -> Iterator[Any]:
    model = contract.asks
    # Names that look like models of the family and are none: a sibling that there is would be served by rights.
    there = {contract.model, *contract.others}
    likely = (model.replace("image", "text", 1), model.replace("-turbo", "", 1), f"{model}-fast", f"text-{model}")
    yield from [name for name in likely if name not in there and name != model][:2]
    yield from (model.upper(), f"{model}-2", f" {model}", "", None, 5, [model])


def _no_whole_numbers(contract: Contract) -> Iterator[Any]:
    low, middle, high = contract.duration_min, contract.duration_default, contract.duration_max
    yield from (middle + 0.5, low + 0.001, high - 0.5, high + 0.5)
    yield from (str(middle), f"{middle}s", True, False, None, [middle], {})


def _no_urls(image: str) -> Iterator[Any]:
    rest = image.partition("://")[2]
    yield from (
        "",
        "first frame",
        f"ftp://{rest}",
        f"//{rest}",
        rest,
        "/frame.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
        "https://",
    )
    yield from (*_WRONG_TYPES, [image], {"url": image})


def _neighbour_qualities(contract: Contract) -> Iterator[Any]:
    for name, side in contract.qualities.items():
        yield from (name.upper(), str(side), side, f" {name}", f"{side * 2}p")
    yield from ("480p", "540p", "4K", "hd", "high", "", None, True, [contract.quality_default], {})


def _callbacks(contract: Contract, base: Base) -> Iterator[Near]:
    host = "hooks.example.com/done"
    others = (f"{scheme}://{host}" for scheme in ("http", "HTTP", "ftp", "wss"))
    none = ("javascript:alert(1)", host, f"//{host}", "", "https://", "https:///done")
    yield from _each(base, "callback_url", "SV-17", (*others, *none, *_WRONG_TYPES))
    for spelt in dict.fromkeys(_internal(contract.internal)):
        yield from _each(base, "callback_url", "SV-18", (f"https://{spelt}/done",), risky=True)
    for spelt in ("127.0.0.1:8080", "10.0.0.1:443", "[::1]:443", "localhost:8080"):
        yield from _each(base, "callback_url", "SV-18", (f"https://{spelt}/done",), risky=True)
    for spelt in ("127.0.0.1", "10.0.0.1", "192.168.0.1", "172.16.0.1", "169.254.169.254", "[::1]", "localhost"):
        for before in ("hooks.example.com", "hooks.example.com:443"):
            yield from _each(base, "callback_url", "SV-33", (f"https://{before}@{spelt}/done",), risky=True)
    for after in ("?", "#", "?to=", "/"):
        yield from _each(
            base, "callback_url", "SV-18", (f"https://127.0.0.1{after}@hooks.example.com/done",), risky=True
        )
    for before in ("user", "user:a-word", "8.8.8.8"):
        yield from _each(base, "callback_url", "SV-33", (f"https://{before}@127.0.0.1/done",), risky=True)
    yield from _each(base, "callback_url", "SV-19", (long_url(contract, 1), long_url(contract, 1000)))


def long_url(contract: Contract, beyond: int = 0, origin: str = "https://hooks.example.com") -> str:
    """A callback URL of the greatest length, or *beyond* it."""
    start = f"{origin}/long/"
    return start + "x" * (contract.callback_url_max + beyond - len(start))


def _internal(networks: tuple[Network, ...]) -> Iterator[str]:
    """Hosts inside each internal range, and every spelling of some of them."""
    yield from ("localhost", "LOCALHOST", "localhost.", "api.localhost")
    for network in networks:
        middle = network[network.num_addresses // 2 - (network.num_addresses > 2)]
        for address in dict.fromkeys((network[1] if network.num_addresses > 1 else network[0], middle, network[-1])):
            yield _bracketed(address)
        if isinstance(network, ipaddress.IPv4Network):
            yield f"[::ffff:{network[1]}]"
    yield from _spellings(ipaddress.IPv4Address("127.0.0.1"))
    yield from _spellings(ipaddress.IPv4Address("10.0.0.1"))
    yield from ("[0:0:0:0:0:0:0:1]", "[0000::0001]", "169.254.169.254", "[fe80::1%25eth0]")


def _bracketed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _spellings(address: ipaddress.IPv4Address) -> Iterator[str]:
    """Decimal, hexadecimal, octal and short forms of one address."""
    first, *_, last = address.packed
    yield from (
        str(int(address)),
        hex(int(address)),
        f"0{first:o}.0.0.{last:o}",
        f"{first}.{last}",
        f"{first:#x}.0.0.{last}",
        f"{first}.0.{last}",
        hex(int(address)).upper(),
        f"[::ffff:{first:02x}00:{last:x}]",
        f"[0:0:0:0:0:ffff:{first:02x}00:{last:x}]",
    )


def public_neighbours(contract: Contract) -> list[str]:
    """Plain public IPv4 addresses right below and above the internal ranges."""
    found = []
    for network in contract.internal:
        if network.version == 4:
            edges = (int(network[0]) - 1, int(network[-1]) + 1)
            found += [ipaddress.IPv4Address(edge) for edge in edges if 0 <= edge < 2**32]
    inside = [network for network in contract.internal if network.version == 4]
    return [
        str(address)
        for address in dict.fromkeys(found)
        if address.is_global and not address.is_multicast and not any(address in network for network in inside)
    ]


def _no_objects(base: Base) -> Iterator[Near]:
    whole = orjson.dumps(dict(base))
    bodies = (
        ("an array", orjson.dumps([dict(base)])), ("null", b"null"), ("a number", b"5"), ("a string", orjson.dumps("create")),
        ("nothing", b""), ("half of it", whole[: len(whole) // 2]), ("no JSON", b"model=kling"),
        ("NaN", whole[:-1] + b',"seed":NaN}'), ("not UTF-8", whole[:-1] + b',"prompt":"\xff\xfe"}'),
        ("a second value", whole + b"{}"),
    )  # fmt: skip
    for what, raw in bodies:
        is_json = what in ("an array", "null", "a number", "a string", "nothing")
        yield Near(("SV-29",) if is_json else ("SV-29", "SW-17"), "", what, raw=raw)
