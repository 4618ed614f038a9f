"""A generator of spellings: an address that leads inside, written in a way that a URL parser, a resolver or a tunnel would take.

`spellings(seed)` never ends. Each is a host for a URL, made from an address of a special-purpose IPv4 or IPv6 block, in one of its
textual forms, at times wrapped into a transition form of IPv6, at times spelled with look-alike characters.
"""

import random
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

INSIDE_V4 = tuple(
    IPv4Network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
        "240.0.0.0/4",
    )
)
INSIDE_V6 = tuple(
    IPv6Network(block)
    for block in (
        *("::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "3fff::/20", "100::/64"),
        *("64:ff9b:1::/48", "5f00::/16"),
    )
)
NAMES = (
    *("localhost", "localhost.localdomain", "localhost4", "localhost4.localdomain4", "localhost6"),
    *("localhost6.localdomain6", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-allnodes", "broadcasthost"),
    *("metadata.google.internal", "host.docker.internal", "kubernetes.default.svc.cluster.local", "printer.local"),
    "gateway.home.arpa",
)
_PREFIXES = ("2606:4700:10::", "2a00:1450:4001:81b::", "2400:cb00:2048:1::", "2002:808:808::", "2001:4860:4860::")
# Full-width and circled forms that UTS 46 maps to the ASCII digit or letter.
_LOOK_ALIKES = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F) if chr(code).isalnum() or chr(code) == "."}


def spellings(seed: int) -> Iterator[str]:
    """Yield hosts that lead inside, for ever; the same ones for the same *seed*."""
    rng = random.Random(seed)
    while True:
        yield _one(rng)


def _one(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.1:
        return _disguised(rng, rng.choice([rng.choice(NAMES), f"{rng.randrange(10**6):x}.{rng.choice(NAMES)}"]))
    if kind < 0.25:
        return f"[{_ipv6_text(rng, _within(rng, rng.choice(INSIDE_V6)))}]"
    address = IPv4Address(int(_within(rng, rng.choice(INSIDE_V4))))
    if kind < 0.6:
        return _disguised(rng, _ipv4_text(rng, address))
    return f"[{_ipv6_text(rng, rng.choice(_WRAPPED)(rng, address))}]"


def _within(rng: random.Random, network: IPv4Network | IPv6Network) -> IPv4Address | IPv6Address:
    return network[rng.randrange(network.num_addresses)]


def _number(rng: random.Random, value: int) -> str:
    """A part of an IPv4 address as C's own reader takes it."""
    zeros = "0" * rng.choice([0, 0, 0, 1, 3])
    return rng.choice([str(value), f"0{zeros}{value:o}", f"0x{zeros}{value:x}", f"0X{value:X}"])


def _ipv4_text(rng: random.Random, address: IPv4Address) -> str:
    """Dotted, short or a single number, each part decimal, octal or hexadecimal."""
    parts = rng.choice([4, 4, 3, 2, 1])
    leading = list(address.packed[: parts - 1])
    last = int.from_bytes(address.packed[parts - 1 :])
    return ".".join(_number(rng, part) for part in (*leading, last)) + rng.choice(["", "", "."])


def _ipv6_text(rng: random.Random, address: IPv6Address | IPv4Address) -> str:
    whole = IPv6Address(int(address))
    tail = IPv4Address(int(whole) & 0xFFFFFFFF)
    dotted = ":".join(f"{int(whole) >> shift & 0xFFFF:x}" for shift in range(112, 16, -16)) + f":{tail}"
    text = rng.choice([str(whole), whole.exploded, dotted])
    return text.upper() if rng.random() < 0.3 else text


def _disguised(rng: random.Random, host: str) -> str:
    """*host* with letters in another case or as look-alikes."""
    style = rng.random()
    if style < 0.6:
        return host
    if style < 0.8:
        return "".join(rng.choice([character.lower(), character.upper()]) for character in host)
    return "".join(_LOOK_ALIKES.get(character, character) if rng.random() < 0.4 else character for character in host)


def _mapped(_: random.Random, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0xFFFF << 32 | int(inner))


def _compatible(_: random.Random, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(int(inner))


def _translated(_: random.Random, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0xFFFF << 48 | int(inner))


def _sixtofour(rng: random.Random, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0x2002 << 112 | int(inner) << 80 | rng.getrandbits(80))


def _teredo(rng: random.Random, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(
        0x20010000 << 96 | rng.getrandbits(32) << 64 | rng.getrandbits(32) << 32 | int(inner) ^ 0xFFFFFFFF
    )


def _nat64(_: random.Random, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address("64:ff9b::")) | int(inner))


def _local_nat64(rng: random.Random, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address("64:ff9b:1::")) | rng.getrandbits(48) << 32 | int(inner))


def _isatap(rng: random.Random, inner: IPv4Address) -> IPv6Address:
    identifier = rng.choice([0x00005EFE, 0x02005EFE]) << 32 | int(inner)
    return IPv6Address(int(IPv6Address(rng.choice(_PREFIXES))) & ~((1 << 64) - 1) | identifier)


Wrap = Callable[[random.Random, IPv4Address], IPv6Address]
_WRAPPED: tuple[Wrap, ...] = (
    _mapped, _compatible, _translated, _sixtofour, _teredo, _nat64, _local_nat64, _isatap,
)  # fmt: skip
