"""What the host of a callback URL is, in every spelling that a resolver would take."""

import ipaddress
import re
import socket
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NUMERIC = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)(\.(0[xX][0-9a-fA-F]*|[0-9]+)){0,3}\.?")


def split(url: str) -> SplitResult | None:
    """The parts of *url*; None when it cannot be parsed at all."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def parts_of(url: str) -> SplitResult:
    """The parts of *url*; of one that no parser takes, all of it as the path."""
    return split(url) or SplitResult("", "", url, "", "")


def origin_in(url: str) -> str:
    """Scheme, host and port of *url*."""
    parts = parts_of(url)
    return f"{parts.scheme}://{parts.netloc}"


def literal(host: str) -> IPAddress | None:
    """The address that *host* spells, dotted, short, decimal, hex, octal, IPv6 or IPv4-mapped; None for a name."""
    bare = host.strip("[]").partition("%")[0]
    if _NUMERIC.fullmatch(bare):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(bare.rstrip(".")))
        except OSError:
            return None
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_internal(host: str, networks: Sequence[Network]) -> bool:
    """Whether *host* is in one of *networks* or is a name of this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = literal(host)
    return address is not None and any(address in network for network in networks if network.version == address.version)


def is_public_neighbour(host: str, networks: Sequence[Network]) -> bool:
    """Whether *host* is a plain dotted IPv4 address of the public Internet outside *networks*."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and not is_internal(host, networks)


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine, so that a link of a fake may be plain http."""
    address = literal(host)
    return host.lower().rstrip(".") == "localhost" or (address is not None and address.is_loopback)
