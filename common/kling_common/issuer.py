"""The certificate of the local authority: short-lived, for a list of names, and unable to make other authorities.

Whoever steals its key can stand in for these names alone, for as long as it lives.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

LIVES = timedelta(days=90)
_EARLIER = timedelta(days=1)  # for containers whose clock is behind
# Names that belong to no one, and addresses of private networks.
_NAMES = ("localhost", "test", "example", "invalid", "internal", "local", "localdomain")
_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10")


def covers(certificate: Any, names: Iterable[str]) -> bool:
    """Return whether an authority's *certificate* is of this kind and permits all of *names*, hosts and addresses."""
    from cryptography import x509

    try:
        permitted = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or ()
    except x509.ExtensionNotFound:
        return False
    hosts = {one.value for one in permitted if isinstance(one, x509.DNSName)}
    networks: list[Any] = [one.value for one in permitted if isinstance(one, x509.IPAddress)]
    for name in names:
        address = _address(name)
        if address is None:
            if not any(name == host or name.endswith(f".{host}") for host in hosts):
                return False
        elif not any(address in network for network in networks if network.version == address.version):
            return False
    return True


def make(organisation: str, names: Iterable[str], now: datetime) -> bytes:
    """Return key and certificate of a new authority in PEM, for private names and networks and for *names*."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    wanted = sorted(set(names))
    hosts = [*_NAMES, *(name for name in wanted if _address(name) is None)]
    networks = [*map(ip_network, _NETWORKS), *(ip_network(name) for name in wanted if _address(name) is not None)]
    permitted = [*map(x509.DNSName, dict.fromkeys(hosts)), *map(x509.IPAddress, networks)]
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    certificate = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now - _EARLIER, now + LIVES
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _usage() -> Any:
    from cryptography.x509 import KeyUsage

    return KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _address(name: str) -> Any:
    try:
        return ip_address(name)
    except ValueError:
        return None
