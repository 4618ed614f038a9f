"""A certificate authority of this user's own, for HTTPS to the fake.

Nothing is installed: a client trusts it because a variable names one of its two public files, `ca.pem` (the
authority alone) or `bundle.pem` (with the system's authorities). The keys are in `private/`, readable by their owner only.
"""

import os
import ssl
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from kling_common import issuer
from kling_common.locks import alone

_NAME = "kling-mock, a local test authority"
_MOST_TRUSTED = 4
_SPARE = timedelta(days=30)


class NoAuthority(Exception):
    """The authority's folder cannot be used; one line."""


def _now() -> datetime:
    """The machine's own time: certificates do not live by a fake's clock."""
    return datetime.now(UTC)  # noqa: TID251


def home() -> Path:
    """The user's folder for it: KLING_MOCK_HOME, else where the platform keeps a program's data."""
    named = os.environ.get("KLING_MOCK_HOME")
    if named:
        return Path(named).absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "kling-mock"
        return (Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share") / "kling-mock"
    except RuntimeError as error:
        raise NoAuthority(
            "this user has no home folder; set KLING_MOCK_HOME to a folder for the certificates"
        ) from error


class Authority:
    """The authority that lives in one folder. Made on first use, kept, made again when it is damaged or about to expire."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home()
        self.ca_file = self.folder / "ca.pem"
        self.bundle_file = self.folder / "bundle.pem"
        self._private = self.folder / "private"

    def certificate(self, names: Iterable[str]) -> Path:
        """Return a PEM file with key and certificate for *names*, hosts and addresses; the public files exist then too.

        Raises:
            NoAuthority: the folder cannot be used.
        """
        wanted = sorted(set(names))
        try:
            self._private.mkdir(mode=0o700, parents=True, exist_ok=True)
            with alone(self._private / "lock"):
                authority = self._authority(wanted)
                return self._leaf(authority, wanted)
        except OSError as error:
            raise NoAuthority(f"{self.folder}: {error.strerror}; set KLING_MOCK_HOME to another folder") from error

    def share(self, folder: Path) -> None:
        """Leave copies of the two public files in *folder*.

        Raises:
            NoAuthority: it cannot be written to.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in (self.ca_file, self.bundle_file):
                _write(folder / file.name, file.read_bytes(), 0o644)
        except OSError as error:
            raise NoAuthority(f"{folder}: {error.strerror}") from error

    def variables(self) -> dict[str, str]:
        """Return the variables that make Python, curl, Go, OpenSSL and Node trust it."""
        bundle = str(self.bundle_file)
        return {
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "CURL_CA_BUNDLE": bundle,
            "NODE_EXTRA_CA_CERTS": str(self.ca_file),
        }

    def _authority(self, names: list[str]) -> Any:
        """Return an authority that may sign for *names*, as trustme has it; the public files are made to fit it.

        A new one takes over the names of the one before, which stays trusted as long as it lives: servers may still show its work.
        """
        from cryptography import x509
        from trustme import CA

        file = self._private / "ca.pem"
        pem = _usable(file)
        if pem is None or not issuer.covers(x509.load_pem_x509_certificate(pem), names):
            pem = issuer.make(_NAME, {*names, *_names_of(pem)}, _now())
            _write(file, pem, 0o600)
        authority = CA.from_pem(pem, pem)
        public = authority.cert_pem.bytes() + _still_trusted(self.ca_file, authority.cert_pem.bytes())
        for place, content in ((self.ca_file, public), (self.bundle_file, _system(self.bundle_file) + b"\n" + public)):
            if not place.exists() or place.read_bytes() != content:
                _write(place, content, 0o644)
        return authority

    def _leaf(self, authority: Any, names: list[str]) -> Path:
        digest = sha256(authority.cert_pem.bytes() + "\n".join(names).encode()).hexdigest()[:16]
        file = self._private / f"{digest}.pem"
        if _usable(file) is None:
            dies = _not_after(authority.cert_pem.bytes())
            leaf = authority.issue_cert(*names, organization_name=_NAME, not_after=dies)
            _write(file, leaf.private_key_and_cert_chain_pem.bytes(), 0o600)
        return file


def _usable(file: Path) -> bytes | None:
    """Return the content of *file* when it is a key with a certificate that is valid for a while; None when a new one is due."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        pem = file.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        if load_pem_private_key(pem, None).public_key() != certificate.public_key():
            return None
    except (OSError, ValueError):
        return None
    now = _now()
    return pem if certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - _SPARE else None


def _not_after(pem: bytes) -> datetime:
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def _names_of(pem: bytes | None) -> list[str]:
    """Return the host names that an authority could sign for; none for one without such a list."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem or b"")
        permitted = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except (ValueError, x509.ExtensionNotFound):
        return []
    return [one.value for one in permitted or () if isinstance(one, x509.DNSName)]


def _still_trusted(file: Path, newest: bytes) -> bytes:
    """Return the certificates of earlier authorities in *file* that are still valid, the latest few."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return b""
    living = [one.public_bytes(Encoding.PEM) for one in found if one.not_valid_after_utc > _now() and _short_lived(one)]
    return b"".join([pem for pem in living if pem != newest][: _MOST_TRUSTED - 1])


def _short_lived(certificate: Any) -> bool:
    """Return whether *certificate* is of the kind that is made now: those before had no list of names."""
    return bool(certificate.not_valid_after_utc - certificate.not_valid_before_utc <= issuer.LIVES * 2)


def _system(ours: Path) -> bytes:
    """The certificates that are trusted anyway: what SSL_CERT_FILE names, the system's, or certifi's."""
    from certifi import where

    paths = ssl.get_default_verify_paths()
    for place in (paths.cafile, paths.openssl_cafile, where()):
        if place is not None and Path(place) != ours and Path(place).is_file():
            return Path(place).read_bytes()
    return b""


def _write(file: Path, content: bytes, mode: int) -> None:
    """Put *content* there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as open_file:
            open_file.write(content)
        Path(name).chmod(mode)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
