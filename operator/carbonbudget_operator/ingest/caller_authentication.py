"""Authenticates the sender of a request by its bearer token, before its body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from starlette.requests import Request

from carbonbudget_operator.ingest.connection_limits import CERTIFICATE_NAME, belongs_to
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, Caller, Unauthenticated
from carbonbudget_operator.ledger.read_tokens import PREFIX

# The API server's proxy removes Authorization from requests to a Service, so a token is in this header there.
TOKEN_HEADER = "X-Carbonbudget-Token"  # noqa: S105 - a header's name
# As the API server names them for its own front proxies.
USER_HEADER = "X-Remote-User"
GROUP_HEADER = "X-Remote-Group"
_PUBLIC = "/api/v1/"
_SYSTEM = "system:"
_MOST_GROUPS = 100
_MOST_NAME = 256
_SERVICE_ACCOUNT = "system:serviceaccount:"


async def authenticated(
    access: Access,
    request: Request,
    read_token: Callable[[str], Awaitable[Caller]] | None = None,
    user_tokens: bool = False,
) -> Caller:
    """The caller that a request's bearer token belongs to, or that a trusted proxy states.

    `read_token` returns the caller of a read token; None where such tokens are not accepted. `user_tokens`: whether
    tokens for the API server itself are accepted. Raises Refusal 401, or 503 if the caller cannot be known.
    """
    stated = caller_stated_by_proxy(request, access.proxies)
    if stated is not None:
        belongs_to(request.scope, tenant_of(stated.user))
        return stated
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        scheme, given = "bearer", request.headers.get(TOKEN_HEADER, "")
    try:
        if scheme.lower() != "bearer" or not given.strip():
            raise Unauthenticated("a bearer token is needed")
        if given.strip().startswith(PREFIX):  # never sent to the API server
            if read_token is None:
                raise Unauthenticated("a read token is good for GET under /api/v1 alone")
            caller = await read_token(given.strip())
        else:
            address = request.client.host if request.client else ""
            caller = await access.authenticate(given.strip(), address, user_tokens)
    except Unauthenticated as error:
        raise Refusal(401, "unauthenticated", str(error)) from None
    except AccessUnavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None
    belongs_to(request.scope, caller.node or tenant_of(caller.user), bool(caller.node))
    return caller


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
    if request.method not in ("GET", "HEAD") or not request.url.path.startswith(_PUBLIC):
        raise Refusal(403, "forbidden", f"{USER_HEADER} is accepted for GET of {_PUBLIC} alone")
    if len(users) != 1 or len(groups) > _MOST_GROUPS or not all(map(_is_name, [*users, *groups])):
        raise Refusal(400, "malformed", f"{USER_HEADER} or {GROUP_HEADER} is empty, too long, not ASCII or repeated")
    if any(name.lower().startswith(_SYSTEM) for name in (*users, *groups)):
        raise Refusal(403, "forbidden", f"{USER_HEADER} and {GROUP_HEADER} may not begin with {_SYSTEM}")
    return Caller(users[0], "", tuple(groups), {}, "")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MOST_NAME and text.isascii() and text.isprintable() and text == text.strip()


def tenant_of(user: str) -> str:
    """The name that a caller's requests are counted by: the namespace for a service account, else the user.

    Anybody who may edit a namespace can create any number of service accounts there.
    """
    namespace, found, _ = user.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return f"namespace {namespace}" if found and user.startswith(_SERVICE_ACCOUNT) else user
