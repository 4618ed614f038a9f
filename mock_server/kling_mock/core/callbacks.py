"""Which addresses a callback may be sent to (wire-facts "Callback", D; settled.md "Internal addresses").

`kling_common.targets.parse` takes a URL apart; `check` judges the place that it names. The same judge, `is_internal`, is asked again about
every address a name resolves to, at the moment of connecting.

Written a second time, on purpose, in `kling_contract.reading.addresses`: the kit that judges these rules must not share their code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from kling_common.targets import BadAddress, IPAddress, Target, parse

IPNetwork = IPv4Network | IPv6Network

# Names that never lead outside: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), ICANN's reservation of
# internal, and what the hosts files of Debian, Red Hat, macOS and their kin define. A name covers everything below it.
INTERNAL_NAMES = (
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "localdomain",
    "localdomain4",
    "localdomain6",
    "localhost4",
    "localhost6",
    "loopback",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
)

# IANA's special-purpose blocks that one or another supported Python counts as global: protocol assignments, the retired
# 6to4 relay, IPv6 protocol assignments (Teredo among them) and documentation.
_SPECIAL: tuple[IPNetwork, ...] = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("3fff::/20"),
)
# The only part of IPv6 handed out as global unicast (RFC 4291). Outside it lie loopback, unspecified, mapped and
# compatible IPv4, local NAT64 (64:ff9b:1::/48), unique-local, link-local, site-local and multicast addresses.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# RFC 6052: on a network with DNS64 every IPv4-only name resolves into this block, so the address inside is what counts.
_NAT64 = IPv6Network("64:ff9b::/96")
# RFC 5214: an ISATAP interface identifier is 00-00-5E-FE and an IPv4 address, under whatever /64; two of its first bits vary.
_ISATAP, _ISATAP_MASK = 0x0000_5EFE, 0xFCFF_FFFF


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What the contract asks of a URL: its schemes, its most characters, and the networks it names as internal."""

    schemes: tuple[str, ...]
    max_length: int
    allow_internal: bool
    internal: tuple[IPNetwork, ...] = ()
    internal_names: tuple[str, ...] = INTERNAL_NAMES


def check(url: str, rules: AddressRules) -> Target:
    """The place *url* leads to; raises BadAddress where *rules* forbid calling it. Names are not resolved here."""
    if len(url) > rules.max_length:
        raise BadAddress(f"must be at most {rules.max_length} characters long")
    target = parse(url, rules.schemes)
    if rules.allow_internal:
        return target
    named_inside = _is_internal_name(target.host, rules.internal_names)
    if named_inside or (target.ip is not None and is_internal(target.ip, rules.internal)):
        raise BadAddress("must not point to an internal address")
    return target


def origin(text: str) -> str:
    """Return *text* as scheme, host and port in one spelling, the default port left out.

    Raises:
        ValueError: it has a path, or is not an http or https URL.
    """
    try:
        target = parse(text.rstrip("/"), ("https", "http"))
    except BadAddress as error:
        raise ValueError(f"{text!r} is not an origin such as https://hooks.example.com: {error.reason}") from error
    if target.resource not in ("", "/"):
        raise ValueError(f"{text!r} has a path; an origin ends with its host and port")
    return target.origin


@lru_cache(maxsize=256)
def origin_of(url: str) -> str:
    """Return scheme, host and port of a callback URL, in the spelling relays are kept in."""
    scheme, _, rest = url.partition("://")
    return origin(f"{scheme}://{rest.partition('/')[0].partition('?')[0].partition('#')[0]}")


def is_internal(ip: IPAddress, internal: tuple[IPNetwork, ...]) -> bool:
    """Return whether *ip* lies in a network of *internal* or is not global unicast; an IPv4 address inside it counts too."""
    if any(ip in network for network in internal):
        return True
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            return is_internal(IPv4Address(ip.packed[-4:]), internal)
        if ip not in _GLOBAL_UNICAST or any(is_internal(inner, internal) for inner in _embedded(ip)):
            return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved or any(ip in network for network in _SPECIAL)


def _embedded(ip: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that a tunnel would deliver a packet for *ip* to: 6to4, Teredo and ISATAP."""
    if ip.sixtofour is not None:
        yield ip.sixtofour
    if ip.teredo is not None:
        yield from ip.teredo
    if int.from_bytes(ip.packed[8:12]) & _ISATAP_MASK == _ISATAP:
        yield IPv4Address(ip.packed[-4:])


def _is_internal_name(host: str, names: tuple[str, ...]) -> bool:
    """Whether *host* is one of *names* or lies below one."""
    return any(host == name or host.endswith(f".{name}") for name in names)
