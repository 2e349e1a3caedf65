"""The keys that seal session cookies: from a file of a Secret, or made at the start. A changed file is loaded."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

from carbonbudget_operator.settings import SettingsError
from carbonbudget_operator.web.session_cookie import SessionSealer

_log = logging.getLogger(__name__)
_CHECK_SECONDS = 10.0
_KEY_BYTES: Final = 32
_MOST_KEYS: Final = 8


def make_key() -> bytes:
    """A new key. Sessions that it seals end with this process."""
    return Fernet.generate_key()


def read_keys(path: Path) -> list[bytes]:
    """The keys of a file, one a line in base64. The first seals, all open.

    Raises:
        SettingsError: the file cannot be read, or a line is not a key. The message does not contain the line.
    """
    try:
        lines = path.read_bytes().split()
    except OSError as error:
        raise SettingsError(f"web.cookie_keys: {path} cannot be read: {error.strerror}") from None
    if not 0 < len(lines) <= _MOST_KEYS:
        raise SettingsError(f"web.cookie_keys: {path} has {len(lines)} keys: write 1 to {_MOST_KEYS}, one a line")
    return [_key(line, number, path) for number, line in enumerate(lines, 1)]


def _key(line: bytes, number: int, path: Path) -> bytes:
    try:
        key = base64.b64decode(line.translate(bytes.maketrans(b"-_", b"+/")), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SettingsError(
            f"web.cookie_keys: key {number} of {path} is not {_KEY_BYTES} bytes in base64: "
            "make one with `openssl rand -base64 32`"
        )
    return base64.urlsafe_b64encode(key)


async def follow_keys(path: Path, sealer: SessionSealer) -> None:
    """Load the file whenever it changes, until cancelled. The previous keys stay in use after an invalid file.

    So they do after one that is empty or gone: while a Secret's volume is exchanged, no session may end by accident.
    """
    seen = _bytes(path)
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        now = _bytes(path)
        if now == seen:
            continue
        seen = now
        try:
            sealer.use(read_keys(path))
        except SettingsError as error:
            _log.error("the previous keys of cookies stay in use, and sessions with them: %s", error)
        else:
            _log.info("the keys of cookies in %s changed and were loaded", path)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
