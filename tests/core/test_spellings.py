"""No spelling of an address inside is dialled: ten thousand drawn ones, through the rules and through the transport."""

import importlib.util
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kling_common.targets import BadAddress, IPAddress
from kling_common.transport import Transport
from kling_mock.contract import Contract
from kling_mock.core import callbacks
from kling_mock.core.callbacks import AddressRules, check, is_internal

SEED, COUNT = 20261129, 10_000
NAMED = Contract().address.internal
STRICT = AddressRules(schemes=("https",), max_length=2048, allow_internal=False, internal=NAMED)


def load() -> Any:
    """The generator beside this file."""
    spec = importlib.util.spec_from_file_location("spellings", Path(__file__).with_name("spellings.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SPELLINGS = load()


def drawn() -> Iterator[str]:
    """The hosts of the recorded run (docs/security.md)."""
    return islice(SPELLINGS.spellings(SEED), COUNT)


def taken(rules: AddressRules = STRICT) -> list[str]:
    """Those that the rules would let through."""
    found = []
    for host in drawn():
        try:
            check(f"https://{host}/hook", rules)
        except BadAddress:
            continue
        found.append(host)
    return found


def test_no_spelling_is_taken() -> None:
    """0 of 10,000 hosts pass the rules of a strict callback."""
    assert taken() == []


def test_no_spelling_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the transport connect, where a name resolves to one or a relay of rules were forgotten: it judges each address again."""
    dialled: list[Any] = []
    monkeypatch.setattr("kling_common.transport.dial", lambda addresses, *_: dialled.append(addresses))
    transport = Transport(
        resolve=lambda host, port: [ip_address("127.0.0.1")],
        monotonic=lambda: 0.0,
        allow=lambda ip: not is_internal(ip, NAMED),
        ca_file=None,
        max_response_bytes=1,
        user_agent="test",
    )

    outcomes = {transport.post(f"https://{host}/", b"", {}, 5.0).kind for host in islice(drawn(), 2000)}

    assert outcomes == {"blocked"}
    assert dialled == []


GUARDS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "transition forms": lambda patch: patch.setattr(callbacks, "_embedded", lambda ip: iter(())),
    "names of hosts files": lambda patch: patch.setattr(callbacks, "_is_internal_name", lambda host, names: False),
    "special blocks": lambda patch: patch.setattr(callbacks, "_GLOBAL_UNICAST", ip_network("::/0")),
    "every check": lambda patch: patch.setattr(callbacks, "is_internal", lambda ip, internal: False),
}


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a guard taken out, some of the ten thousand get through: the generator reaches what it protects."""
    GUARDS[name](monkeypatch)

    assert taken()


def test_the_generator_reaches_every_form() -> None:
    """Dotted, short, octal, hexadecimal, mapped, 6to4, Teredo, NAT64, ISATAP, names and look-alikes."""
    hosts = list(drawn())
    ips: list[IPAddress] = [ip_address(host[1:-1]) for host in hosts if host.startswith("[")]
    six = [ip for ip in ips if ip.version == 6]

    assert sum(ip.sixtofour is not None for ip in six) > 100
    assert sum(ip.teredo is not None for ip in six) > 100
    assert sum(ip.packed[10:12] == b"\x5e\xfe" for ip in six) > 100
    assert sum(ip.ipv4_mapped is not None for ip in six) > 100
    assert sum(not host.isascii() for host in hosts) > 100
    assert sum("0x" in host.lower() for host in hosts) > 100
    assert len(set(hosts)) > 9000
