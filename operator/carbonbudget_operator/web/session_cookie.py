"""The session of a signed-in user, sealed in a cookie. No I/O, no clock: time is an argument.

The process stores nothing about a session, so any replica that has the key can open it. Fernet (AES-128-CBC with
HMAC-SHA256, of the library `cryptography`) keeps the user's token unreadable in the browser and detects any change.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

# A browser takes `__Host-` only from this host over TLS, so no other subdomain can set it.
COOKIE_NAME: Final = "__Host-carbonbudget"
# Browsers keep 4,096 bytes of a cookie with its name and attributes. A sealed text has 4/3 of what is sealed.
MOST_TOKEN_BYTES: Final = 2_600
_MOST_COOKIE_BYTES: Final = 4_000
_MOST_USER: Final = 200  # characters; the name is only shown


class SessionRefused(Exception):
    """The cookie is no session of ours, or it is over. The message is one line."""


class SessionTooLarge(Exception):
    """The token does not fit into a cookie. The message is one line."""


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user: the token that the server accepted, the name it gave, and the end in UTC seconds."""

    token: str
    user: str
    until: int


class SessionSealer:
    """Seals sessions with the first key, and opens those of all its keys."""

    def __init__(self, keys: Sequence[bytes], most_seconds: int) -> None:
        """`keys`: Fernet keys (32 bytes in URL-safe base64), at least one; `most_seconds`: the longest session."""
        self._most_seconds = most_seconds
        self.use(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """Replace all keys. A session that none of them opens is over."""
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, session: Session, now: int) -> str:
        """The cookie's value. Raises SessionTooLarge."""
        if len(session.token) > MOST_TOKEN_BYTES:
            raise SessionTooLarge(f"the token has more than {MOST_TOKEN_BYTES} bytes and does not fit into a cookie")
        values = [session.token, session.user[:_MOST_USER], session.until]
        sealed = self._fernet.encrypt_at_time(json.dumps(values, ensure_ascii=False).encode(), now).decode()
        if len(sealed) > _MOST_COOKIE_BYTES:
            raise SessionTooLarge("the user's name and the token do not fit into a cookie")
        return sealed

    def open(self, sealed: str, now: int) -> Session:
        """The session of a cookie's value.

        Raises:
            SessionRefused: it was altered, sealed by another key, or is over.
        """
        try:
            text = self._fernet.decrypt_at_time(sealed.encode("ascii", "replace"), self._most_seconds, now)
        except InvalidToken:  # it does not say which of the two
            if self._is_ours(sealed):
                raise SessionRefused("the session has ended: sign in again") from None
            raise SessionRefused("the session's cookie is not one of this server: sign in again") from None
        token, user, until = json.loads(text)  # sealed by us
        if now >= until:
            raise SessionRefused("the session has ended: sign in again")
        return Session(token, user, until)

    def _is_ours(self, sealed: str) -> bool:
        try:
            self._fernet.decrypt(sealed.encode("ascii", "replace"))
        except InvalidToken:
            return False
        return True


def session_end(token: str, now: int, most_seconds: int) -> int:
    """When a session with this token ends, in UTC seconds: with the token, and after `most_seconds` at the latest.

    The claim `exp` is read without a check of the signature, because the server has just accepted the token.
    """
    latest = now + most_seconds
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return min(latest, int(claims["exp"]))
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, RecursionError, binascii.Error):
        return latest  # not a JWT, or one without an end
