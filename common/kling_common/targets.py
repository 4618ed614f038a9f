"""URLs taken apart for calling them: whatever two readers could take for two different places is refused.

Only the spelling is judged here. Which places may be called is the caller's policy: the fake's callback rules in
`kling_mock.core.callbacks`. The kit reads addresses by code of its own (`kling_contract.reading.addresses`), because it judges them.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urlsplit

IPAddress = IPv4Address | IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}

# Spaces, controls, backslashes and halves of surrogate pairs: parsers drop, turn or keep them as they like.
_UNREADABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\\s\ufeff\ud800-\udfff]")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]@]*\]|[^:\[\]@]*)(?::(?P<port>.*))?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_NO_HOST = "must name a host: a domain name, an IPv4 address or an IPv6 address in brackets"
_LONGEST_NAME = 253  # RFC 1035, without the final dot


class BadAddress(ValueError):
    """A URL that may not be called; *reason* reads on after the name of its field and repeats nothing of the URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """
    A URL taken apart for sending.

    *host* is lower-case ASCII without a final dot or brackets; *ip* its address where the host is one in any spelling;
    *resource* what the request line names: path and query as given (non-ASCII characters as UTF-8, percent-encoded),
    never the fragment.
    """

    url: str
    scheme: str
    host: str
    port: int
    ip: IPAddress | None
    resource: str

    @property
    def authority(self) -> str:
        """Value of the `Host` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and authority, one spelling for each place: what a relay is looked up by."""
        return f"{self.scheme}://{self.authority}"


def parse(url: str, schemes: tuple[str, ...]) -> Target:
    """
    Take *url* apart.

    Raises BadAddress where it is no absolute URL of one of *schemes*, or two parsers could read it
    differently. A fragment is allowed and never sent, as HTTP has it.
    """
    if _UNREADABLE.search(url):
        raise BadAddress("must not contain spaces, control characters or backslashes")
    scheme = url.partition("://")[0].lower()
    if "://" not in url or scheme not in schemes:
        raise BadAddress("must begin with " + " or ".join(f"{name}://" for name in schemes))
    authority = _authority(url)
    written, port = _host_and_port(authority, DEFAULT_PORTS.get(scheme))
    host, ip = _host(written)
    rest = url[len(scheme) + len("://") + len(authority) :]
    return Target(url=url, scheme=scheme, host=host, port=port, ip=ip, resource=_resource(rest))


def _authority(url: str) -> str:
    """The part between `//` and the path; userinfo is refused, since readers differ on where it ends."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadAddress(_NO_HOST) from error
    path_given = parts.path != ""
    if "@" in parts.netloc or (not path_given and "@" in parts.query + parts.fragment):
        raise BadAddress("must not contain a user name or password")
    return parts.netloc


def _host_and_port(authority: str, default_port: int | None) -> tuple[str, int]:
    """Split *authority*; raises BadAddress where either part is missing or the port is invalid."""
    found = _HOST_AND_PORT.fullmatch(authority)
    if found is None or not found["host"]:
        raise BadAddress(_NO_HOST)
    if not found["port"] and default_port is not None:
        return found["host"], default_port
    digits = (found["port"] or "").lstrip("0")
    # Length first: int() refuses very long numbers.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len("65535") and int(digits) <= 0xFFFF):
        raise BadAddress("must have a port from 1 to 65535")
    return found["host"], int(digits)


def _host(text: str) -> tuple[str, IPAddress | None]:
    """The name or the address that *text* spells, as other programs would read it; raises BadAddress for neither."""
    if text.startswith("["):
        ip: IPAddress | None = _ipv6(text[1:-1])
        return str(ip), ip
    name = _ascii(text)
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadAddress(_NO_HOST)
    if _NUMBER.fullmatch(labels[-1]) is None:
        return name, None
    ip = _ipv4(labels)
    return str(ip), ip


def _ascii(text: str) -> str:
    """*text* in lower case without a final dot, full-width digits, dots and letters mapped as browsers do."""
    if not text.isascii():
        import idna

        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise BadAddress(_NO_HOST) from error
    return text.lower().removesuffix(".")


def _ipv6(text: str) -> IPv6Address:
    """The address between brackets. A zone means something on one machine only, so it is refused."""
    try:
        ip = IPv6Address(text)
    except ValueError as error:
        raise BadAddress(_NO_HOST) from error
    if ip.scope_id is not None:
        raise BadAddress("must not name a network interface")
    return ip


def _ipv4(labels: list[str]) -> IPv4Address:
    """The address of a host that ends in a number: one to four parts, each decimal, octal or hexadecimal."""
    try:
        parts = [_number(label) for label in labels]
        *leading, last = parts
        if len(parts) > 4 or any(part > 0xFF for part in leading):
            raise ValueError("not four bytes")
        shifted = sum(part << 8 * (3 - place) for place, part in enumerate(leading))
        if last >= 1 << 8 * (4 - len(leading)):
            raise ValueError("last part too large")
        return IPv4Address(shifted + last)
    except ValueError as error:
        raise BadAddress("must hold a valid IPv4 address") from error


def _number(label: str) -> int:
    """*label* as C reads it: hexadecimal after 0x, octal after 0; raises ValueError for what is no number."""
    if _NUMBER.fullmatch(label) is None:
        raise ValueError("not a number")
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if label.startswith("0") else 10)


def _resource(rest: str) -> str:
    """Path and query of *rest*, what follows the authority."""
    resource = quote(rest.partition("#")[0], safe=_PRINTABLE)
    return resource if resource.startswith("/") else f"/{resource}"
