"""The guard of the page in the cluster: users sign in with a token, and their session is a sealed cookie.

The token is checked by the server's answer to `/api/v1/whoami`. Sign-in and sign-out are POSTs that only this page's
own forms can send.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from carbonbudget_core.jsons import mapping
from carbonbudget_operator.peer_address import address_of
from carbonbudget_operator.web.attempt_limits import AttemptLimits, SignInsLimited
from carbonbudget_operator.web.gateway import Gateway, GatewayError, PageCaller
from carbonbudget_operator.web.metrics import SignIn, WebMetrics
from carbonbudget_operator.web.rendering import page
from carbonbudget_operator.web.request_origin import origin_refusal
from carbonbudget_operator.web.session_cookie import (
    COOKIE_NAME,
    Session,
    SessionRefused,
    SessionSealer,
    SessionTooLarge,
    session_end,
)

SIGN_IN: Final = "/signin"
SIGN_OUT: Final = "/signout"
_MOST_BODY_BYTES: Final = 16 * 2**10
_BODY_SECONDS: Final = 10.0
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750
# A path of this page. `//host` and `/\host` would be addresses of other sites.
_PLACE: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,2000}")


class TokenGuard:
    """Signs users in and out. `now` returns UTC seconds."""

    def __init__(
        self,
        gateway: Gateway,
        sealer: SessionSealer,
        limits: AttemptLimits,
        metrics: WebMetrics,
        session_seconds: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._gateway, self._sealer, self._limits, self._metrics = gateway, sealer, limits, metrics
        self._session_seconds, self._now = session_seconds, now

    async def caller_of(self, request: Request) -> PageCaller | Response:
        """The signed-in user of a request, or the sign-in page."""
        sealed = request.cookies.get(COOKIE_NAME)
        if sealed is None:
            reason = ""
        else:
            try:
                session = self._sealer.open(sealed, int(self._now()))
            except SessionRefused as refused:
                reason = str(refused)
                self._metrics.sessions_refused.inc()
            else:
                return PageCaller(session.user, session.token)
        if request.headers.get("HX-Request"):  # a part of a page that is renewed: the whole page has to be
            return _without_cookie(Response(status_code=401, headers={"HX-Refresh": "true"}))
        place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        shown = self._form(reason, 401, place)
        return _without_cookie(shown) if sealed is not None else shown

    def routes(self) -> Sequence[BaseRoute]:
        """Signing in and out."""
        return [
            Route(SIGN_IN, self._show, methods=["GET"]),
            Route(SIGN_IN, self._sign_in, methods=["POST"]),
            Route(SIGN_OUT, self._sign_out, methods=["POST"]),
        ]

    def sign_out_path(self) -> str | None:
        """Where the sign-out button POSTs to."""
        return SIGN_OUT

    async def _show(self, _: Request) -> Response:
        return self._form("", 200, "/")

    async def _sign_in(self, request: Request) -> Response:
        if reason := _forged(request):
            return self._refused("forged", reason, 403, "/")
        fields = await _fields(request)
        if isinstance(fields, Response):
            return fields
        token, place = fields.get("token", "").strip(), fields.get("next", "")
        place = place if _PLACE.fullmatch(place) else "/"
        if not _TOKEN.fullmatch(token):
            return self._refused("refused", "paste a token: one line of letters, digits, points and dashes", 400, place)
        address = address_of(request.client)
        try:
            await self._limits.begin(address, int(self._now()))
        except SignInsLimited as limited:
            answer = self._refused("limited", str(limited), 429, place)
            answer.headers["Retry-After"] = str(limited.wait_s)
            return answer
        failed = True
        try:
            answer = await self._signed_in(token, place)
            failed = answer.status_code != 303
        except GatewayError as error:
            failed = False  # nobody was asked about the token: a team is not shut out by a server that starts anew
            return self._refused("failed", str(error), 503, place)
        finally:
            self._limits.end(address, failed)
        return answer

    async def _signed_in(self, token: str, place: str) -> Response:
        """The redirect with the cookie, or the form with the reason. Raises GatewayError."""
        now = int(self._now())
        answer = await self._gateway.get("/api/v1/whoami", [], PageCaller("", token))
        said = _json(answer.body)
        if answer.status == 401:
            return self._refused("refused", str(said.get("detail", "the server does not accept the token")), 401, place)
        user = said.get("user")
        if answer.status != 200 or not isinstance(user, str):
            reason = f"the server answered {answer.status}: {said.get('detail', 'try again in a minute')}"
            return self._refused("failed", reason, 503, place)
        session = Session(token, user, session_end(token, now, self._session_seconds))
        try:
            sealed = self._sealer.seal(session, now)
        except SessionTooLarge as error:
            return self._refused("refused", str(error), 400, place)
        self._metrics.sign_in("signed_in")
        response = RedirectResponse(place, 303)
        # Lax and not Strict: a link to a page in a mail or chat works for who is signed in. All GETs only read.
        response.set_cookie(
            COOKIE_NAME, sealed, max(1, session.until - now), path="/", secure=True, httponly=True, samesite="lax"
        )
        return response

    async def _sign_out(self, request: Request) -> Response:
        if reason := _forged(request):
            return self._form(reason, 403, "/")
        return _without_cookie(RedirectResponse(SIGN_IN, 303))

    def _refused(self, outcome: SignIn, reason: str, status: int, place: str) -> Response:
        self._metrics.sign_in(outcome)
        return self._form(reason, status, place)

    def _form(self, reason: str, status: int, place: str) -> Response:
        shown = page("sign_in.html", status, title="Sign in", reason=reason, action=SIGN_IN, place=place)
        if status == 401:
            shown.headers["WWW-Authenticate"] = 'Bearer realm="carbonbudget"'
        return shown


def _forged(request: Request) -> str:
    headers = request.headers
    return origin_refusal(headers.get("Origin"), headers.get("Sec-Fetch-Site"), headers.get("Host", ""))


async def _fields(request: Request) -> dict[str, str] | Response:
    """The fields of a short form, or the refusal."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return _plain("the body must be a form", 415)
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > _MOST_BODY_BYTES:
                    return _plain(f"the form has more than {_MOST_BODY_BYTES} bytes", 413)
        fields = parse_qs(body.decode("ascii"), max_num_fields=8)
    except TimeoutError:
        return _plain(f"the form did not arrive within {_BODY_SECONDS:.0f} seconds", 408)
    except (ValueError, ClientDisconnect):  # UnicodeDecodeError is one
        return _plain("the form cannot be read", 400)
    return {name: values[0] for name, values in fields.items()}


def _plain(reason: str, status: int) -> Response:
    return Response(reason, status, {"Connection": "close"}, "text/plain")


def _without_cookie(response: Response) -> Response:
    response.delete_cookie(COOKIE_NAME, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _json(body: bytes) -> dict[str, object]:
    try:
        return dict(mapping(json.loads(body)))
    except (ValueError, RecursionError):
        return {}
