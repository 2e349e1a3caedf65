"""HTTPS with a bearer token, on http.client: how the agent speaks to API server, kubelet and server."""

from __future__ import annotations

import http.client
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

# Of a node's pods: some 10 KB each, so over a thousand. Parsed it takes several times as much, for a moment.
MAX_ANSWER_BYTES = 16 * 2**20


class Endpoint:
    """One base URL, who we are there, and whom we trust. Connections are made on demand."""

    def __init__(
        self, url: str, token_file: Path | None, ca_file: Path | None, timeout_s: float = 30, verify: bool = True
    ) -> None:
        """`verify` False trusts whoever answers. Raises ValueError for a URL that is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https URL")
        self.url = url
        self._encrypted = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
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
        """The bearer token, read anew: the kubelet replaces it long before it expires. Raises OSError."""
        headers = {"Accept": "application/json", "User-Agent": "carbonbudget-agent"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"
        return headers

    def get(self, path: str, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """One GET's body. Raises OSError or http.client.HTTPException, with the status in the text.

        The whole answer must come within the timeout: a server that gives a byte now and then would
        otherwise hold up whoever asks for ever.
        """
        end = time.monotonic() + self._timeout_s
        connection = self.connect()
        body = bytearray()
        try:
            connection.request("GET", self.path(path), headers=self.headers())
            response = connection.getresponse()
            length = response.length  # None where the answer is chunked
            while length is None or len(body) < length:
                chunk = response.read1(65_536)  # what is there; `read` waits until all is
                if not chunk:
                    break
                body += chunk
                if len(body) > max_bytes:
                    raise OSError(f"{self.url}: the answer is larger than {max_bytes} bytes")
                if time.monotonic() > end:
                    raise OSError(f"{self.url}: the answer was not complete after {self._timeout_s:g} s")
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"{self.url}: {response.status} {response.reason}")
        if length is not None and len(body) < length:
            raise OSError(f"{self.url}: the answer was cut off")
        return bytes(body)
