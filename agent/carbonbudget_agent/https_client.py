"""HTTPS with a bearer token, on http.client: the connections of the agent to API server, kubelet and server."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Generator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

MAX_ANSWER_BYTES = 4 * 2**20  # of an answer that is read as a whole
_CHUNK_BYTES = 65_536


class StatusError(OSError):
    """The answer's status is not 200; `retry_after_seconds` is what the server asked for, 0 for nothing."""

    def __init__(self, url: str, status: int, reason: str, retry_after_seconds: int) -> None:
        super().__init__(f"{url}: {status} {reason}")
        self.status, self.retry_after_seconds = status, retry_after_seconds


def retry_after_seconds(text: str, now: float) -> int:
    """Seconds that a Retry-After header asks for: a number of them or an HTTP date; 0 for anything else.

    `now` is in UTC seconds.
    """
    if text.isdecimal():
        return int(text) if len(text) < 10 else 0
    try:
        return max(0, min(int(parsedate_to_datetime(text).timestamp() - now), 10**9))
    except (ValueError, OverflowError, OSError):
        return 0


class Endpoint:
    """A base URL with the token and the CA for it. Connections are made on demand."""

    def __init__(
        self, url: str, token_file: Path | None, ca_file: Path | None, timeout_s: float = 30, verify: bool = True
    ) -> None:
        """`verify` False accepts any certificate. Raises ValueError for an invalid URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https URL")
        self.url = url
        self._encrypted = parts.scheme == "https"
        # http.client would take the end of an IPv6 address without a port for one.
        self._host, self._port = parts.hostname, parts.port or (443 if self._encrypted else 80)
        self._prefix = parts.path.rstrip("/")
        self._token_file, self._ca_file, self._timeout_s = token_file, ca_file, timeout_s
        self._verify = verify

    def connect(self) -> http.client.HTTPConnection:
        """A new connection. The CA is read each time, because it is rotated. Raises OSError."""
        if not self._encrypted:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        context = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None)
        # Older clusters' CAs lack what Python 3.13 demands; kubectl accepts them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self._verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)

    def path(self, path: str) -> str:
        """The full request path."""
        return self._prefix + path

    def headers(self) -> dict[str, str]:
        """The bearer token, read each time: the kubelet replaces it long before it expires. Raises OSError."""
        headers = {"Accept": "application/json", "User-Agent": "carbonbudget-agent"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {_token(self._token_file)}"
        return headers

    def get(self, path: str) -> bytes:
        """One GET's body, whole. Raises OSError or http.client.HTTPException, with the status in the text."""
        body = bytearray()
        for chunk in self.stream(path):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise OSError(f"{self.url}: the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)

    def stream(self, path: str, silence_s: float | None = None) -> Generator[bytes]:
        """One GET's body as it comes. Raises what `get` raises, StatusError for a status other than 200.

        The whole answer must come within the timeout: a server that gives a byte now and then would otherwise
        hold up whoever asks for ever. With `silence_s` it may last, and is given up after a silence of so long.
        """
        end = time.monotonic() + self._timeout_s
        connection = self.connect()
        response: http.client.HTTPResponse | None = None
        try:
            if silence_s is not None:
                connection.timeout = silence_s
            connection.request("GET", self.path(path), headers=self.headers())
            response = connection.getresponse()
            if response.status != 200:
                asked = retry_after_seconds(response.headers.get("Retry-After", ""), time.time())
                raise StatusError(self.url, response.status, response.reason, asked)
            length, got = response.length, 0  # None where the answer is chunked
            while length is None or got < length:
                chunk = response.read1(_CHUNK_BYTES)  # the received part; `read` waits for the whole answer
                if not chunk:
                    break
                got += len(chunk)
                yield chunk
                if silence_s is None and time.monotonic() > end:
                    raise OSError(f"{self.url}: the answer was not complete after {self._timeout_s:g} s")
            if length is not None and got < length:
                raise OSError(f"{self.url}: the answer was cut off")
        finally:
            if response is not None:  # it holds the socket, where the answer ends with the connection
                response.close()
            connection.close()


def _token(file: Path) -> str:
    """The token in a file. Raises OSError without its text: by mistake it may be a private key."""
    text = file.read_bytes().decode("ascii", "replace").strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise OSError(f"{file} holds no token: a token is one line of letters, digits and signs")
    return text
