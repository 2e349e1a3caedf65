"""The guard behind a proxy that signs users in, such as oauth2-proxy. The proxy is known by its client certificate.

Its headers have a meaning on connections with that certificate alone. On all others they are ignored, and users sign in
with a token.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.guard import Guard
from carbonbudget_operator.web.rendering import page

# In a request's state: the name of the verified certificate (`carbonbudget_operator.ingest.connection_limits`).
CERTIFICATE_NAME: Final = "certificate_name"
_SYSTEM: Final = "system:"
_MOST_GROUPS: Final = 100
_MOST_NAME: Final = 256


class ProxyGuard:
    """Takes users of the proxy as signed in; `tokens` decides about everybody else.

    `names` are the common names of the proxy's certificate.
    """

    def __init__(self, tokens: Guard, names: Collection[str], user_header: str, groups_header: str) -> None:
        self._tokens, self._names = tokens, frozenset(names)
        self._user_header, self._groups_header = user_header, groups_header

    async def caller_of(self, request: Request) -> PageCaller | Response:
        """The proxy's user, a refusal, or what `tokens` decides."""
        if request.scope.get("state", {}).get(CERTIFICATE_NAME) not in self._names:
            return await self._tokens.caller_of(request)
        users = request.headers.getlist(self._user_header)
        groups = [
            group.strip()
            for line in request.headers.getlist(self._groups_header)
            for group in line.split(",")
            if group.strip()
        ]
        if len(users) != 1:
            return _refused(401, f"The proxy states no user: it has to send {self._user_header} once.")
        if len(groups) > _MOST_GROUPS or not all(map(_is_name, [*users, *groups])):
            return _refused(403, "The proxy states a user or groups that are too long, too many, or not ASCII.")
        if any(name.lower().startswith(_SYSTEM) for name in (*users, *groups)):
            return _refused(403, f"A user or group that begins with {_SYSTEM} is not accepted from a proxy.")
        return PageCaller(users[0], None, users[0], tuple(groups))

    def routes(self) -> Sequence[BaseRoute]:
        """The routes of `tokens`: who comes without the proxy signs in there."""
        return self._tokens.routes()

    def sign_out_path(self) -> str | None:
        """That of `tokens`. A user of the proxy signs out at the proxy."""
        return self._tokens.sign_out_path()


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MOST_NAME and text.isascii() and text.isprintable()


def _refused(status: int, sentence: str) -> Response:
    return page("message.html", status, title="Not signed in", message=sentence)
