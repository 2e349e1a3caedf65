"""Authenticates the sender of a request by its bearer token, before its body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from carbonbudget_operator.ingest.connection_limits import belongs_to
from carbonbudget_operator.ingest.connection_peers import PeerKind
from carbonbudget_operator.ingest.proxied_caller import TOKEN_HEADER, caller_stated_by_proxy
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, Caller, TooManyRefused, Unauthenticated
from carbonbudget_operator.ledger.read_tokens import PREFIX
from carbonbudget_operator.peer_address import address_of

_SERVICE_ACCOUNT = "system:serviceaccount:"


async def authenticated(
    access: Access,
    request: Request,
    read_token: Callable[[str], Awaitable[Caller]] | None = None,
    user_tokens: bool = False,
    owner_of: Callable[[Caller], tuple[PeerKind, str]] = lambda caller: (PeerKind.CALLER, tenant_of(caller.user)),
) -> Caller:
    """The caller that a request's bearer token belongs to, or that a trusted proxy states.

    `read_token` returns the caller of a read token; None where such tokens are not accepted. `user_tokens`: whether
    tokens for the API server itself are accepted. `owner_of`: whose the request's connection is. Raises Refusal 401,
    429 if too many tokens of its address were refused lately, or 503 if the caller cannot be known.
    """
    stated = caller_stated_by_proxy(request, access.proxies)
    if stated is not None:
        belongs_to(request.scope, PeerKind.CALLER, tenant_of(stated.user))
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
            address = address_of(request.client)
            caller = await access.authenticate(given.strip(), address, user_tokens)
    except Unauthenticated as error:
        raise Refusal(401, "unauthenticated", str(error)) from None
    except TooManyRefused as error:
        raise Refusal(429, "tokens", str(error), error.seconds) from None
    except AccessUnavailable as error:
        raise Refusal(503, "api_server", str(error), 5) from None
    belongs_to(request.scope, *owner_of(caller))
    return caller


def tenant_of(user: str) -> str:
    """The name that a caller's requests are counted by: the namespace for a service account, else the user.

    Anybody who may edit a namespace can create any number of service accounts there.
    """
    namespace, found, _ = user.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return f"namespace {namespace}" if found and user.startswith(_SERVICE_ACCOUNT) else user
