"""POST /v1/reports: all that a cluster's agents send, thousands in a few seconds."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from carbonbudget_operator.ingest.receive import Receiver
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.reporting.routes.asking import body, refused, token


class Reports:
    """A plain ASGI endpoint: FastAPI's way of calling a handler would cost some 15 us more for each report."""

    def __init__(self, receiver: Receiver, max_body_bytes: int) -> None:
        self._receiver, self._max_body_bytes = receiver, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one report, after its commit."""
        try:
            answer = JSONResponse({"result": await self._take(Request(scope, receive))})
        except Refusal as refusal:
            answer = refused(refusal)
        await answer(scope, receive, send)

    async def _take(self, request: Request) -> str:
        async with self._receiver.admit(token(request)) as caller:
            report = await body(request, self._max_body_bytes)
            return await self._receiver.receive(caller, request.headers.get("Content-Encoding", "").lower(), report)
