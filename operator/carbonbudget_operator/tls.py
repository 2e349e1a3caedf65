"""A server's TLS context that follows its certificate: files that change are loaded without a restart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from carbonbudget_operator.settings import SettingsError

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 10.0


def server_context(cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later with this certificate.

    Raises:
        SettingsError: there is none, or it cannot be loaded.
    """
    if cert is None or key is None:
        raise SettingsError("tls_cert and tls_key are needed: set --tls-cert and --tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"certificate {cert} with key {key} cannot be loaded: {error}") from None
    return context


async def follow_certificate(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Load the files again whenever they change, for ever; a broken pair leaves the former in use."""
    seen = _state(cert, key)
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = _state(cert, key)
        if now == seen:
            continue
        seen = now
        try:
            context.load_cert_chain(cert, key)
            _log.info("certificate %s loaded again", cert)
        except OSError as error:
            _log.error("certificate %s cannot be loaded, the former stays in use: %s", cert, error)


def _state(cert: Path, key: Path) -> tuple[bytes, bytes] | None:
    try:
        return cert.read_bytes(), key.read_bytes()
    except OSError:
        return None
