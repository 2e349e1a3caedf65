"""Parameters that several resources of /api/v1 share, and what their routes document."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import BaseModel

from carbonbudget_operator.answers.window_parser import Range, WindowError, parse_instant, parse_window
from carbonbudget_operator.api.emission_bodies import Problem
from carbonbudget_operator.api.wire_names import MEDIA_TYPES
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.public.problem_details import MEDIA_TYPE
from carbonbudget_operator.server.public.row_formats import Format

MAX_ROWS = 50_000
TOO_MANY_ROWS = "the answer has more rows than `limit`: raise it, ask about less, or use format=json, which has pages"
Responses = dict[int | str, dict[str, Any]]

WindowText = Annotated[str, Query(alias="window", max_length=64, description="today, 7d, lastmonth, FROM,TO")]
FromText = Annotated[str, Query(alias="from", max_length=32, description="RFC 3339, or seconds since 1970")]
ToText = Annotated[str, Query(alias="to", max_length=32, description="As `from`; without it, until now")]
RowLimit = Annotated[int, Query(ge=1, le=MAX_ROWS, description="Rows of a page")]
Cursor = Annotated[str, Query(max_length=4_000, description="`next` of the page before")]
FormatName = Annotated[Format, Query(alias="format")]

PROBLEMS: Responses = {
    status: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": what}
    for status, what in {
        400: "The request cannot be read.", 401: "No valid token.", 403: "You may not read this.",
        422: "The question is too large, or has no answer.", 503: "Busy, or a part is away: Retry-After says when.",
    }.items()
}  # fmt: skip
NOT_FOUND: Responses = {
    404: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "There is no such thing."}
}  # fmt: skip


def rows_of(model: type[BaseModel]) -> Responses:
    """The responses of a resource that has rows, in three formats."""
    return json_of(model) | {200: {"model": model, "content": {MEDIA_TYPES["ndjson"]: {}, "text/csv": {}}}}


def json_of(model: type[BaseModel]) -> Responses:
    """The responses of a resource that is JSON alone."""
    return {
        200: {"model": model},
        304: {"description": "The answer is the one that If-None-Match names."},
    }


def check_names(request: Request) -> None:
    """Refuse a parameter that the route does not have: a misspelt filter would answer another question.

    Raises Refusal.
    """
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    if unknown := sorted(set(request.query_params) - known):
        there = f"there are {', '.join(sorted(known))}" if known else "this resource has none"
        raise Refusal(400, "malformed", f"{printable(', '.join(unknown), 200)}: no such parameter; {there}")


def window_of(window: str, start: str, end: str, now: int) -> Range:
    """The window that the parameters name, 7 days where they name none. Raises Refusal."""
    if window and (start or end):
        raise Refusal(400, "malformed", "give window, or from and to")
    if end and not start:
        raise Refusal(400, "malformed", "give from with to")
    try:
        if not start:
            return parse_window(window or "7d", now)
        return parse_instant(start), parse_instant(end) if end else now
    except WindowError as error:
        raise Refusal(400, "malformed", str(error)) from None


def versions_of(request: Request) -> frozenset[str]:
    """The versions of the answer that the caller has (RFC 9110, If-None-Match)."""
    tags = request.headers.get("If-None-Match", "").split(",")
    return frozenset(tag.strip().removeprefix("W/").strip('"') for tag in tags)
