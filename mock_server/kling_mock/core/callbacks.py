"""Which addresses a callback may be sent to (wire-facts "Callback", D; settled.md "Internal addresses").

`kling_common.targets.parse` takes a URL apart; `check` judges the place that it names. The same judge, `is_internal`, is asked again about
every address a name resolves to, at the moment of connecting.

Written a second time, on purpose, in `kling_contract.reading.addresses`: the kit that judges these rules must not share their code.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from kling_common.targets import BadAddress, IPAddress, Target, parse

IPNetwork = IPv4Network | IPv6Network

# Names that never lead outside: RFC 6761 (localhost), RFC 6762 (local), ICANN's reservation of internal, and the names
# that common hosts files give the loopback. A name covers everything below it.
INTERNAL_NAMES = (
    "localhost",
    "local",
    "internal",
    "localdomain",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
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


def is_internal(ip: IPAddress, internal: tuple[IPNetwork, ...]) -> bool:
    """Whether *ip* lies in a network of *internal* or is not global unicast; an IPv4 address inside it counts too."""
    if any(ip in network for network in internal):
        return True
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            return is_internal(IPv4Address(ip.packed[-4:]), internal)
        if ip.sixtofour is not None and is_internal(ip.sixtofour, internal):
            return True
        if ip not in _GLOBAL_UNICAST:
            return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved or any(ip in network for network in _SPECIAL)


def _is_internal_name(host: str, names: tuple[str, ...]) -> bool:
    """Whether *host* is one of *names* or lies below one."""
    return any(host == name or host.endswith(f".{name}") for name in names)
