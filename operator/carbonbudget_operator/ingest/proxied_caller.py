"""The caller that a trusted proxy states in headers, instead of a token. No other header names a caller."""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request

from carbonbudget_operator.ingest.connection_limits import CERTIFICATE_NAME
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Caller

# The API server's proxy removes Authorization from requests to a Service, so a token is in this header there.
TOKEN_HEADER = "X-Carbonbudget-Token"  # noqa: S105 - a header's name
# As the API server names them for its own front proxies.
USER_HEADER = "X-Remote-User"
GROUP_HEADER = "X-Remote-Group"
_PUBLIC = "/api/v1/"
_SYSTEM = "system:"
_MOST_GROUPS = 100
_MOST_NAME = 256


def caller_stated_by_proxy(request: Request, proxies: Collection[str]) -> Caller | None:
    """The caller that a trusted proxy states in X-Remote-User and X-Remote-Group; None if the token decides.

    The proxy is known by its client certificate. Without it the headers have no meaning, as anybody can send them.
    Names of Kubernetes' own (`system:`) are never accepted: the proxy could become an agent or an administrator.

    Raises:
        Refusal: 400 or 403, the proxy states what it may not.
    """
    if USER_HEADER not in request.headers or request.scope.get("state", {}).get(CERTIFICATE_NAME) not in proxies:
        return None
    users, groups = request.headers.getlist(USER_HEADER), request.headers.getlist(GROUP_HEADER)
    if "Authorization" in request.headers or TOKEN_HEADER in request.headers:
        raise Refusal(400, "malformed", f"send a token or {USER_HEADER}, not both")
    if request.method not in ("GET", "HEAD") or not request.scope["path"].startswith(_PUBLIC):
        raise Refusal(403, "forbidden", f"{USER_HEADER} is accepted for GET of {_PUBLIC} alone")
    if len(users) != 1 or len(groups) > _MOST_GROUPS or not all(map(_is_name, [*users, *groups])):
        raise Refusal(400, "malformed", f"{USER_HEADER} or {GROUP_HEADER} is empty, too long, not ASCII or repeated")
    if any(name.lower().startswith(_SYSTEM) for name in (*users, *groups)):
        raise Refusal(403, "forbidden", f"{USER_HEADER} and {GROUP_HEADER} may not begin with {_SYSTEM}")
    return Caller(users[0], "", tuple(groups), {}, "")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MOST_NAME and text.isascii() and text.isprintable() and text == text.strip()
