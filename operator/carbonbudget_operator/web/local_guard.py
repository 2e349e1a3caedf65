"""Who may open the page that `kubectl carbon ui` serves: the browser that was given the one-time code.

Other programs and users of the machine can reach the port, and so can any web page that the browser shows. They have
no code; a page of another origin gets no answer, whatever name it resolved to 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.rendering import page

CODE_SECONDS: Final = 120
_AGAIN: Final = "End `kubectl carbon ui` with Ctrl-C and start it again: it opens the page with a new code."


class LocalGuard:
    """A Guard for one browser on this machine. `host` is what requests must name: "127.0.0.1:PORT"."""

    def __init__(self, host: str, caller: PageCaller, now: Callable[[], float] = time.monotonic) -> None:
        self.host, self._caller, self._now = host, caller, now
        self._code: str | None = secrets.token_urlsafe(32)
        self._code_until = now() + CODE_SECONDS
        self._session = secrets.token_urlsafe(32)
        # Browsers send cookies to every port of a host: two pages at once must not overwrite each other's.
        self._cookie = f"carbonbudget-ui-{host.rpartition(':')[2]}"

    @property
    def address(self) -> str:
        """The address that opens the page once, within two minutes."""
        return f"http://{self.host}/open?code={self._code}"

    async def caller_of(self, request: Request) -> PageCaller | Response:
        """The user, for the browser that has the cookie."""
        if _same(request.cookies.get(self._cookie, ""), self._session):
            return self._caller
        return page("message.html", 401, title="This page is not open in this browser", message=_AGAIN)

    def routes(self) -> Sequence[BaseRoute]:
        """Where the code is exchanged for the cookie."""
        return [Route("/open", self._open)]

    def sign_out_path(self) -> str | None:
        """None: Ctrl-C ends it."""
        return None

    async def _open(self, request: Request) -> Response:
        code, given = self._code, request.query_params.get("code", "")
        if code is None or self._now() > self._code_until or not _same(given, code):
            sentence = f"The code is wrong, was used already, or is older than two minutes. {_AGAIN}"
            return page("message.html", 403, title="The code is not valid", message=sentence)
        if request.method != "GET":  # a HEAD of a link preview does not use it up
            return Response(status_code=405)
        self._code = None
        response = RedirectResponse("/budgets", 303)
        response.set_cookie(self._cookie, self._session, path="/", httponly=True, samesite="strict")
        return response


class OwnOriginOnly:
    """ASGI middleware: requests that name another host, or come from a page of another origin, are refused."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with 421 or 403."""
        app = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            hosts, origins = headers.getlist("host"), headers.getlist("origin")
            if hosts != [self._host]:
                app = PlainTextResponse(f"Open http://{self._host}/ : no other name is answered.\n", 421)
            elif any(origin != f"http://{self._host}" for origin in origins):
                app = PlainTextResponse("Requests from other pages are not answered.\n", 403)
        elif scope["type"] != "lifespan":
            app = PlainTextResponse("", 403)
        await app(scope, receive, send)


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
