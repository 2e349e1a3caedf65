"""TLS contexts of servers, and the name in a client's certificate.

Changed certificate files are loaded without a restart: the controller renews them while server and webhook run.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from carbonbudget_operator.settings import SettingsError

_log = logging.getLogger(__name__)
_CHECK_SECONDS = 10.0
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which Python does not name
_FLIGHTS = 10  # message exchanges of a handshake; it needs fewer


def server_context(cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """A context for TLS 1.2 or later with this certificate.

    Raises:
        SettingsError: `cert` or `key` is None, or cannot be loaded.
    """
    if cert is None or key is None:
        raise SettingsError("tls_cert and tls_key are needed: set --tls-cert and --tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # No client of ours resumes a session, and two tickets are a seventh of a handshake's time.
    context.num_tickets = 0
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"certificate {cert} with key {key} cannot be loaded: {error}") from None
    return context


async def follow_client_ca(context: ssl.SSLContext, ca: Path) -> None:
    """Ask clients for a certificate and trust those of this CA, until cancelled. Clients without one connect too.

    A CA that is replaced stays trusted until the process ends. Without a readable file no certificate is trusted.
    """
    context.verify_mode = ssl.CERT_OPTIONAL
    seen: bytes | None = None
    while True:
        seen = _trust_clients(context, ca, seen)
        await asyncio.sleep(_CHECK_SECONDS)


def _trust_clients(context: ssl.SSLContext, ca: Path, seen: bytes | None) -> bytes | None:
    """Load the CA if it is not `seen`, and return what is to be compared next time."""
    try:
        now = ca.read_bytes()
    except OSError as error:
        now = str(error).encode()
        if now != seen:
            _log.warning("the CA of clients cannot be read: %s", error)
        return now
    if now != seen:
        try:
            context.load_verify_locations(cadata=now.decode("ascii"))
            _log.info("clients with a certificate of %s are trusted", ca)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            _log.warning("the CA of clients in %s cannot be loaded: %s", ca, error)
    return now


async def follow_certificate(context: ssl.SSLContext, cert: Path, key: Path, registry: CollectorRegistry) -> None:
    """Load the files whenever they change, until cancelled. After an invalid pair, the previous one stays in use.

    The metric shows when the certificate in use expires.
    """
    expiration = Gauge(
        "carbonbudget_certificate_expiration_timestamp_seconds",
        "UTC second at which the certificate that is served expires.",
        ("name",),
        registry=registry,
    )
    seen = _state(cert, key)
    _set_expiration(expiration, context, cert)
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        now = _state(cert, key)
        if now == seen:
            continue
        seen = now
        try:
            # Tested in another context first: OpenSSL would use the new certificate of a pair that does not match.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
            context.load_cert_chain(cert, key)
            _log.info("certificate %s changed and was loaded", cert)
        except OSError as error:
            _log.error("certificate %s cannot be loaded; the previous one stays in use: %s", cert, error)
            continue
        _set_expiration(expiration, context, cert)


def trust_in(ca_file: Path) -> Callable[[], str | None]:
    """A function that reads the CA bundle of a file, or returns None. The controller may renew it at any time."""

    def trust() -> str | None:
        try:
            return ca_file.read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):  # ValueError: it is not ASCII
            return None

    return trust


def served_until(context: ssl.SSLContext, trusted: Path) -> tuple[str, int]:
    """The first name of the certificate that the context serves, and the UTC second at which it expires.

    It is read by a TLS handshake in memory, because a library that parses certificates takes 9 MB in each process.
    `trusted` is the file of the certificate itself. An expired certificate works too.

    Raises:
        ssl.SSLError: the context does not serve the file's certificate, or it is not a server certificate.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(trusted)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks, answers = client.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True)
    for side in (asks, answers) * _FLIGHTS:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    found = asks.getpeercert() or {}
    names = [str(entry[1]) for entry in found.get("subjectAltName", ())]
    return next(iter(names), ""), int(ssl.cert_time_to_seconds(str(found["notAfter"])))


def _set_expiration(expiration: Gauge, context: ssl.SSLContext, cert: Path) -> None:
    expiration.clear()
    try:
        name, until = served_until(context, cert)
    except (OSError, ValueError, KeyError) as error:
        _log.warning("the expiry of certificate %s cannot be read: %s", cert, error)
        return
    expiration.labels(name).set(until)


def _state(cert: Path, key: Path) -> tuple[bytes, bytes] | None:
    try:
        return cert.read_bytes(), key.read_bytes()
    except OSError:
        return None


def common_name(certificate: object) -> str:
    """The common name of a verified certificate, as `SSLSocket.getpeercert` returns it; empty without exactly one."""
    if not isinstance(certificate, dict):
        return ""
    subject = certificate.get("subject", ())
    names = [str(value) for parts in subject for key, value in parts if key == "commonName"]
    return names[0] if len(names) == 1 else ""
