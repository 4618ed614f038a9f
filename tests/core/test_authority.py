"""The local authority: a short life, a list of names, no authorities below it; and TLS works with what it signs."""

import os
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from kling_common import issuer
from kling_common.authority import Authority


def authority_of(authority: Authority) -> list[x509.Certificate]:
    """The certificates that clients trust, the newest first."""
    return x509.load_pem_x509_certificates(authority.ca_file.read_bytes())


def shakes(authority: Authority, certificate: Path, name: str) -> bool:
    """Whether a client that trusts the authority takes *certificate* for *name*."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True):
                pass
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ssl.create_default_context(cafile=authority.ca_file).wrap_socket(ours, server_hostname=name):
            return True
    except ssl.SSLError:
        return False
    finally:
        ours.close()
        thread.join()


def test_it_is_short_lived_and_constrained(tmp_path: Path) -> None:
    """90 days, path length 0, and a critical list of names."""
    authority = Authority(tmp_path)
    authority.certificate(["localhost", "127.0.0.1"])
    (certificate,) = authority_of(authority)

    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    names = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert (basic.value.ca, basic.value.path_length, basic.critical) == (True, 0, True)
    assert names.critical
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < issuer.LIVES * 2


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "fake.test", "10.1.2.3"])
def test_private_names_are_signed(tmp_path: Path, name: str) -> None:
    """And clients take them."""
    authority = Authority(tmp_path)

    assert shakes(authority, authority.certificate([name]), name)


def test_another_name_makes_a_new_authority_that_keeps_the_old_names(tmp_path: Path) -> None:
    """What the old one signed stays trusted; each can stand in for its own names alone."""
    authority = Authority(tmp_path)
    old = authority.certificate(["localhost"])
    service = authority.certificate(["api.vendor.example.com", "8.8.8.8"])
    again = authority.certificate(["localhost"])

    assert len(authority_of(authority)) == 2
    assert shakes(authority, old, "localhost")
    assert shakes(authority, again, "localhost")
    assert shakes(authority, service, "api.vendor.example.com")
    assert authority.certificate(["api.vendor.example.com", "8.8.8.8"]) == service
    assert not issuer.covers(authority_of(authority)[0], ["www.bank.example.org"])
    assert not issuer.covers(authority_of(authority)[1], ["api.vendor.example.com"])


def test_the_list_is_what_stops_a_thief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate for a name that is not on it is not taken, though the authority has signed it."""
    authority = Authority(tmp_path)
    authority.certificate(["localhost"])
    monkeypatch.setattr(issuer, "covers", lambda *_: True)

    stolen = authority.certificate(["www.bank.example.org"])

    assert not shakes(authority, stolen, "www.bank.example.org")


def test_only_its_owner_reads_a_private_key(tmp_path: Path) -> None:
    """Neither the authority's nor a certificate's, whatever the umask; the public files everybody may read."""
    authority = Authority(tmp_path)
    before = os.umask(0)
    try:
        authority.certificate(["localhost"])
    finally:
        os.umask(before)
    keys = [file for file in tmp_path.rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]
    assert len(keys) == 2
    assert {file.stat().st_mode & 0o777 for file in keys} == {0o600}
    assert {file.stat().st_mode & 0o777 for file in (authority.ca_file, authority.bundle_file)} == {0o644}
