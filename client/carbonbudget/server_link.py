"""HTTP to the carbonbudget server: JSON with the pod's token, over TLS that is always verified."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.client_settings import ClientSettings

_TIMEOUT_S = 10.0
_MOST_BYTES = 2 * 2**20  # of an answer
_LONGEST_TOKEN = 65_536
_MOST_ASKED_S = 600.0  # of Retry-After
_MOST_IDLE_S = 65.0  # of the connection: the server closes it after 75 s
_LONGEST_CONNECTION_S = 300.0  # then the CA is read anew, and another server may take its turn


class ServerAway(Exception):
    """The server did not do what was asked; the same request may succeed later. `retry_after_s` is its wish, or 0.

    `answered`: there was an answer, so requests of another kind may be accepted now.
    """

    def __init__(self, reason: str, retry_after_s: float = 0, answered: bool = False) -> None:
        super().__init__(reason)
        self.retry_after_s, self.answered = retry_after_s, answered


class EndpointMissing(Exception):
    """The server has no such endpoint: it is of an earlier version."""


class RequestRefused(Exception):
    """The server will never accept this request. `too_big`: but perhaps half of it."""

    def __init__(self, reason: str, too_big: bool = False) -> None:
        super().__init__(reason)
        self.too_big = too_big


class ServerLink:
    """One connection, opened when needed and kept for five minutes: making one costs both sides more than a request.

    The token is read anew for each request, and the CA for each connection: both are rotated.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._connection: http.client.HTTPConnection | None = None
        self._opened_s = self._used_s = 0.0

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """The answer to one request.

        Raises ServerAway: it may work later. Raises RequestRefused: it never will. Raises EndpointMissing: not before
        the server is upgraded.
        """
        token = self._token()
        status, headers, content = self._exchange(method, path, body, token)
        if status == 401:
            renewed = self._token()
            if renewed != token:
                status, headers, content = self._exchange(method, path, body, renewed)
        if status in (413, 422):
            raise RequestRefused(f"{_reason(status, content)}", too_big=status == 413)
        # A 404 in another form is that of a proxy on the way, and may pass.
        if status in (404, 405) and {"detail", "reason"} & (_parsed(content) or {}).keys():
            raise EndpointMissing(_reason(status, content))
        if status != 200:
            raise ServerAway(_reason(status, content), _retry_after_s(headers.get("Retry-After")), answered=True)
        answer = _parsed(content)
        if answer is None:
            raise ServerAway("the answer is no JSON object", answered=True)
        return answer

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                connection.close()
            except OSError:
                pass

    def _exchange(
        self, method: str, path: str, body: bytes | None, token: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._close_if_old()
        is_kept = self._connection is not None
        try:
            try:
                response = self._requested(method, path, body, headers)
            except (ConnectionError, ssl.SSLEOFError):
                # The server may close a kept connection at any time. What it had taken already it stores only once.
                if not is_kept:
                    raise
                self.close()
                response = self._requested(method, path, body, headers)
            content = _read(response)
            response.close()  # else the connection takes no further request
            if response.will_close:
                self.close()
            return response.status, response.headers, content
        except ServerAway:
            self.close()
            raise
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise ServerAway(
                f"its certificate is not trusted ({error.verify_message}): set CARBONBUDGET_CA or CARBONBUDGET_CA_FILE"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise ServerAway(str(error) or type(error).__name__) from None

    def _requested(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        self._used_s = time.monotonic()
        if self._connection is None:
            self._connection, self._opened_s = self._new_connection(), self._used_s
        self._connection.request(method, path, body, headers)
        return self._connection.getresponse()

    def _close_if_old(self) -> None:
        now_s = time.monotonic()
        if now_s - self._used_s > _MOST_IDLE_S or now_s - self._opened_s > _LONGEST_CONNECTION_S:
            self.close()

    def _new_connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self._settings.server_url)
        host, port = url.hostname or "", url.port
        if port is None:  # http.client would take what follows the last colon of an IPv6 address for it
            port = 443 if url.scheme == "https" else 80
        if url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=self._context())
        if url.scheme == "http" and host in ("127.0.0.1", "::1", "localhost"):
            return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        raise ServerAway("CARBONBUDGET_SERVER_URL begins with https://; a token does not travel in the clear")

    def _context(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            return ssl.create_default_context(cafile=settings.ca_file or None, cadata=settings.ca_pem or None)
        except (OSError, ValueError) as error:
            raise ServerAway(f"its CA cannot be read: {error}") from None

    def _token(self) -> str:
        try:
            with open(self._settings.token_file, encoding="ascii") as file:
                token = file.read(_LONGEST_TOKEN).strip()
        except (OSError, ValueError) as error:
            raise ServerAway(f"the token cannot be read: {error}") from None
        if not token or not token.isprintable() or " " in token:
            raise ServerAway(f"{self._settings.token_file} holds no token")
        return token


def _read(response: http.client.HTTPResponse) -> bytes:
    """The whole answer, bounded in size and in time: each piece of it may come just before the timeout."""
    until, parts, size = time.monotonic() + 2 * _TIMEOUT_S, [], 0
    while part := response.read1(65_536):
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            raise ServerAway("the answer is longer than 2 MiB")
        if time.monotonic() > until:
            raise ServerAway(f"the answer took longer than {2 * _TIMEOUT_S:.0f} s")
    return b"".join(parts)


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _reason(status: int, content: bytes) -> str:
    """What the server said in `reason`, a proxy in `error` or `detail`, on one line."""
    said = _parsed(content) or {}
    text = str(said.get("reason") or said.get("error") or said.get("detail") or "")[:200]
    return f"HTTP {status}" + (f": {' '.join(text.split())}" if text else "")


def _retry_after_s(value: str | None) -> float:
    """Seconds from a Retry-After header, which is a number or a date; 0 for none and for what is neither."""
    if not value:
        return 0.0
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _MOST_ASKED_S)
