"""A certificate authority of one's own, and a server on loopback that it has certified."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_ca(folder: Path, *names: str) -> tuple[str, ssl.SSLContext]:
    """A certificate authority, as PEM, and a server's TLS with a certificate of it: for 127.0.0.1, or these names."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])

    def begun(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    ca = (
        begun(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates_only(), critical=True)
    )
    known: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    for_whom = x509.SubjectAlternativeName(known or [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = begun(x509.Name([]), key.public_key()).add_extension(for_whom, critical=True)
    signed = leaf.sign(ca_key, hashes.SHA256())
    encoding, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(signed.public_bytes(encoding))
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, plain, serialization.NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return ca.sign(ca_key, hashes.SHA256()).public_bytes(encoding).decode(), server


def _signs_certificates_only() -> x509.KeyUsage:
    """Python 3.13 and newer look for it. Spec: RFC 5280 §4.2.1.3."""
    others = "digital_signature content_commitment key_encipherment data_encipherment key_agreement crl_sign"
    never = dict.fromkeys((*others.split(), "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, **never)
