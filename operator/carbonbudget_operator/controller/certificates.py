"""Certificates made at run time: one CA, a leaf for the server and one for the webhook. No I/O here.

ECDSA P-256. A leaf lives 90 days, the CA ten years; each is made anew when a third of its life is left. The
bundle carries the previous CA until it expires, so that a rotation breaks no connection.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_LIFE = dt.timedelta(days=3650)
_LEAF_LIFE = dt.timedelta(days=90)
_SKEW = dt.timedelta(minutes=5)  # clocks differ


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


def make_ca(now: dt.datetime) -> CertificatePair:
    """A new CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"carbonbudget CA {now:%Y-%m-%d}")])
    certificate = (
        _builder(name, name, key.public_key(), now, _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def make_leaf(ca: CertificatePair, names: Sequence[str], now: dt.datetime, client: bool = False) -> CertificatePair:
    """A server certificate for these DNS names, signed by the CA. With `client`, it also identifies a client."""
    issuer, issuer_key = _certificate(ca.certificate), _private_key(ca.key)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), now, _LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _pair(certificate, key)


def ca_usable(ca: CertificatePair | None, now: dt.datetime) -> bool:
    """Whether the certificate can be read and more than a third of its life is left."""
    if ca is None:
        return False
    try:
        certificate, key = _certificate(ca.certificate), _private_key(ca.key)
    except ValueError:
        return False
    return certificate.public_key() == key.public_key() and _fresh(certificate, now)


def leaf_usable(leaf: CertificatePair | None, cas: Sequence[str], names: Sequence[str], now: dt.datetime) -> bool:
    """Whether the certificate can be read, is signed by one of these CAs, has these names, and does not end soon."""
    if leaf is None:
        return False
    try:
        certificate, key = _certificate(leaf.certificate), _private_key(leaf.key)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    if certificate.public_key() != key.public_key() or not _fresh(certificate, now):
        return False
    if set(found.get_values_for_type(x509.DNSName)) != set(names):
        return False
    return any(_signed_by(certificate, ca) for ca in cas)


def still_valid(ca_certificate: str, now: dt.datetime) -> bool:
    """Whether a previous CA's certificate still belongs in the bundle."""
    try:
        return now < _certificate(ca_certificate).not_valid_after_utc
    except ValueError:
        return False


def _signed_by(certificate: x509.Certificate, ca: str) -> bool:
    try:
        certificate.verify_directly_issued_by(_certificate(ca))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _fresh(certificate: x509.Certificate, now: dt.datetime) -> bool:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start <= now < end - (end - start) / 3


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    life: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _key_usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> CertificatePair:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return CertificatePair(certificate.public_bytes(pem).decode(), private.decode())


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an ECDSA key")
    return key
