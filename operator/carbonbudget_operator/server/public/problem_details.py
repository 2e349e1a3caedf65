"""Errors of /api/v1 as RFC 9457 problem details, of OpenCost's paths in its form. Others answer with one `reason`."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import JSONResponse

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.opencost.allocation_body import error_json
from carbonbudget_operator.opencost.opencost_paths import PREFIXES

PREFIX = "/api/v1/"
MEDIA_TYPE = "application/problem+json"


def refusal_response(request: Request, refusal: Refusal) -> JSONResponse:
    """The answer that a refusal is."""
    headers = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s else {}
    if refusal.status in (401, 408):  # nobody keeps a connection without a name, or with half a body
        headers["Connection"] = "close"
    if request.scope["path"].startswith(PREFIXES):
        return JSONResponse(error_json(refusal.status, refusal.reason), refusal.status, headers)
    if not request.scope["path"].startswith(PREFIX):
        named = {"kind": refusal.kind, "field": refusal.field} if refusal.field else {}
        return JSONResponse({"reason": refusal.reason} | named, refusal.status, headers)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.reason,
        "kind": refusal.kind,
    }
    return JSONResponse(problem, refusal.status, headers, MEDIA_TYPE)
