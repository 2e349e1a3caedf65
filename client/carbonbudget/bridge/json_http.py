"""JSON over HTTP by the standard library, with two errors: the other side is away, or it refuses this one request."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any

MAX_ANSWER_BYTES = 64 << 20  # a page of MLflow's largest runs is far below this
TIMEOUT_SECONDS = 20.0
_AWAY = (401, 408, 429, 500, 502, 503, 504)  # the next request would fare no better


class Away(Exception):
    """The server does not answer, or refuses our credentials: this round ends, and the next one asks again."""


class Refused(Exception):
    """This request is refused, for a reason that does not concern others: `status` says which."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib sends the headers on to wherever a redirect points: that would hand our token to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class JsonHttp:
    """One service at `base`; `who` names it in errors, `headers` carry the credentials.

    With a `context` it is a service of the cluster, by its own CA and past any proxy of the environment.
    """

    def __init__(self, who: str, base: str, headers: Mapping[str, str], context: ssl.SSLContext | None = None) -> None:
        parts = urllib.parse.urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{who} needs an address that begins with http:// or https://, not {base!r}")
        if "@" in parts.netloc:
            raise ValueError(f"{who}'s address has a password in it: give it by the environment")
        self._who = who
        self._base = base.rstrip("/")
        self._headers = dict(headers)
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if context is not None:
            handlers += [urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})]
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, query: Sequence[tuple[str, str]] = (), headers: Mapping[str, str] | None = None) -> Any:
        """What `path` answers, as JSON. Raises Away and Refused."""
        return self._call("GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path, None, headers or {})

    def post(self, path: str, body: Any) -> Any:
        """What `path` answers to `body`, as JSON. Raises Away and Refused."""
        return self._call("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _call(self, method: str, path: str, body: bytes | None, more: Mapping[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
            self._base + path, data=body, headers={**self._headers, **more}, method=method
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                text = answer.read(MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                reason = f"{self._who} answers {error.code}: {_reason(error)}"
            if error.code in _AWAY or 300 <= error.code < 400:
                raise Away(reason) from None
            raise Refused(error.code, reason) from None
        except (OSError, HTTPException, ValueError) as error:
            cause = getattr(error, "reason", None) or error
            raise Away(f"{self._who} does not answer at {self._base}: {cause}") from None
        if len(text) > MAX_ANSWER_BYTES:
            raise Away(f"{self._who} answers with more than {MAX_ANSWER_BYTES >> 20} MiB")
        try:
            return json.loads(text or b"{}")
        except ValueError:
            raise Away(f"{self._who} does not answer in JSON at {self._base}: is that its address?") from None


def _reason(error: urllib.error.HTTPError) -> str:
    """One line of at most 200 characters of what an error's body says."""
    try:
        text = error.read(65536).decode(errors="replace")
    except (OSError, HTTPException):
        text = ""
    try:
        said = json.loads(text)
        found = next((said[key] for key in ("message", "msg", "error", "detail") if said.get(key)), "")
        text = found if isinstance(found, str) else json.dumps(found)
    except (ValueError, AttributeError, TypeError):
        pass  # a proxy's page, or nothing
    line = " ".join(text.split())
    return "".join(c for c in line if c.isprintable())[:200] or str(error.reason)
