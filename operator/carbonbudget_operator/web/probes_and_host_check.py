"""What the web process serves around the page: probes, the check of Host, and the metrics on a port of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carbonbudget_operator.web.metrics import WebMetrics
from carbonbudget_operator.web.request_origin import host_refusal

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class ProbesAndHostCheck:
    """Answers the probes, refuses requests for other hosts, and passes the rest on to the page.

    `ready` returns whether the server can be asked. A server that is down leaves the page ready: it says so itself.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], ready: Callable[[], bool], metrics: WebMetrics) -> None:
        self._app, self._hosts, self._ready, self._metrics = app, hosts, ready, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or uvicorn's lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._own(scope)
        if answer is not None:
            await answer(scope, receive, send)
            return
        started = False

        async def seen(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except asyncio.CancelledError:  # the process ends, and this request takes too long
            if not started:
                headers = {"Retry-After": "5", "Connection": "close"}
                await PlainTextResponse("the page restarts: try again", 503, headers)(scope, receive, send)

    def _own(self, scope: Scope) -> Response | None:
        if scope["path"] == "/healthz":  # a probe's Host is the pod's address
            return PlainTextResponse("ok")
        if scope["path"] == "/readyz":
            return (
                PlainTextResponse("ok") if self._ready() else PlainTextResponse("the CA of the server is missing", 503)
            )
        given = Headers(scope=scope).getlist("Host")
        if reason := host_refusal(given[0] if len(given) == 1 else "", self._hosts):
            self._metrics.hosts_refused.inc()
            return PlainTextResponse(reason, 421)
        return None


def metrics_app(registry: CollectorRegistry) -> ASGIApp:
    """The application of the metrics, without TLS."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        found = scope["path"] == "/metrics" and request.method == "GET"
        shown = Response(generate_latest(registry), media_type=_PROMETHEUS) if found else PlainTextResponse("", 404)
        await shown(scope, receive, send)

    return answer
