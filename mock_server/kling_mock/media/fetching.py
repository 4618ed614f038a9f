"""Which places a first frame or an upload by URL may be fetched from.

Public addresses always. This machine's own only for a caller on this machine, while the fake listens on the loopback: a developer's
`http://localhost:3000/photo.jpg`. Every other address that is not public needs `--fetch-local` with its origin.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address

from kling_common.targets import BadAddress, IPAddress, Target
from kling_mock.config import Settings
from kling_mock.core.callbacks import AddressRules, IPNetwork, check, is_internal

_LOCAL_NAME = "localhost"


class Fetching:
    """The policy of one fake: `hops(near)` judges one fetch."""

    def __init__(self, settings: Settings, internal: tuple[IPNetwork, ...]) -> None:
        self._opened = frozenset(settings.fetch_local)
        self._on_loopback = settings.on_loopback
        self._internal = internal

    def hops(self, near: bool) -> "Hops":
        """Return a judge of one fetch and its redirects; *near* says that the caller is on this machine."""
        return Hops(self._opened, near and self._on_loopback, self._internal)


class Hops:
    """Judges each hop of one fetch: its URL, then the addresses that it leads to. `local` once a hop was not public."""

    def __init__(self, opened: frozenset[str], loopback: bool, internal: tuple[IPNetwork, ...]) -> None:
        self._opened, self._loopback, self._internal = opened, loopback, internal
        self.local = False

    def check(self, url: str) -> Target:
        """Return the place that *url* names.

        Raises:
            BadAddress: it is no http or https URL, or an address that may not be fetched from.
        """
        target = check(url, AddressRules(("https", "http"), len(url), True))
        if target.ip is not None:
            self.admit(target, [target.ip])
        return target

    def admit(self, target: Target, addresses: Sequence[IPAddress]) -> None:
        """Let the connection be made.

        Raises:
            BadAddress: one of *addresses* may not be connected to; the reason names the option that would allow it.
        """
        inside = [ip for ip in addresses if is_internal(ip, self._internal)]
        if not inside:
            self._loopback = False  # whatever a public place redirects to was not this caller's own wish
            return
        self.local = True
        if target.origin in self._opened:
            return
        if self._loopback and _is_local_name(target) and all(map(_is_loopback, addresses)):
            return
        raise BadAddress(
            f"must not point to an internal address; kling-mock serve --fetch-local {target.origin} would allow it"
        )


def _is_local_name(target: Target) -> bool:
    """Return whether the URL itself says that it means this machine; other names may lead anywhere tomorrow."""
    return target.ip is not None or target.host == _LOCAL_NAME or target.host.endswith(f".{_LOCAL_NAME}")


def _is_loopback(ip: IPAddress) -> bool:
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).is_loopback
