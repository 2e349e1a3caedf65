"""Answers of the API as files that the browser stores. What text in them may do to a spreadsheet is the API's care."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from carbonbudget_operator.api.wire_names import MEDIA_TYPES
from carbonbudget_operator.web.gateway import GatewayError
from carbonbudget_operator.web.page_handling import PageHandling, Visit
from carbonbudget_operator.web.page_questions import NotShown, refusal


async def answer_file(
    handling: PageHandling, visit: Visit, path: str, query: Sequence[tuple[str, str]], name: str
) -> Response:
    """The answer in the format that the address ends with. Raises NotShown."""
    kind = visit.request.path_params["kind"]
    if kind not in MEDIA_TYPES:
        raise NotShown(404, "There are csv, json and ndjson.")
    try:
        answer = await handling.gateway.get(path, [*query, ("format", kind)], visit.caller)
    except GatewayError as error:
        raise NotShown(error.status, str(error)) from None
    if answer.status != 200:
        raise refusal(answer)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return Response(answer.body, media_type=MEDIA_TYPES[kind], headers=headers)
