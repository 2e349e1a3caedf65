"""OpenCost's allocation API at its own paths, with the rights of /api/v1/emissions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from carbonbudget_operator.api.wire_names import MEDIA_TYPES
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.opencost.filter_language import named_namespaces
from carbonbudget_operator.opencost.opencost_paths import IGNORED_HEADER, MAX_QUERY, PATHS
from carbonbudget_operator.opencost.request_parameters import AllocationRequest
from carbonbudget_operator.server.public.opencost_answer import request_of
from carbonbudget_operator.server.public.public_parameters import versions_of
from carbonbudget_operator.server.public.visible_namespaces import VisibleNamespaces
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE, is_special

_MAX_NAMED: Final = 100  # namespaces of one filter that are asked about one by one
_MAX_HEADER: Final = 1_000
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")


def opencost_routes(asking: QueryHandling, visible: VisibleNamespaces) -> APIRouter:
    """All of them. `visible` finds the namespaces of a caller that may not read all of them."""
    router, known = APIRouter(), Depends(asking.asker)

    def handler(summary: bool) -> Callable[..., Awaitable[Response]]:
        async def allocation(request: Request, asker: QueryCaller = known) -> Response:
            if len(request.scope["query_string"]) > MAX_QUERY:
                raise Refusal(400, "malformed", f"the parameters have over {MAX_QUERY} characters: filter by less")
            parameters, now = dict(request.query_params), int(asking.now())
            asked = request_of(parameters, now)
            names = None if asker.wide else await _namespaces(visible, asked, asker)
            given = {"parameters": parameters, "now": now, "namespaces": names, "summary": summary}
            answer = await asker.answer_version("opencost", given, versions_of(request), MEDIA_TYPES["json"])
            if ignored := _ignored(asked, asker.wide):
                answer.headers[IGNORED_HEADER] = ignored
            return answer

        return allocation

    for path, summary in PATHS.items():
        what = "Allocations as OpenCost has them" + (", in fewer fields" if summary else "")
        router.add_api_route(path, handler(summary), methods=["GET"], summary=what)
    return router


async def _namespaces(visible: VisibleNamespaces, asked: AllocationRequest, asker: QueryCaller) -> list[str]:
    """The namespaces that the answer may be about. Raises Refusal."""
    if asked.by_node:
        raise Refusal(403, "forbidden", "nodes are shown to those who may get carbonbudgets in all namespaces")
    named = sorted(name for name in named_namespaces(asked.matching) or () if _may_exist(name))
    found = await (visible.among(asker.caller, named) if 0 < len(named) <= _MAX_NAMED else visible.of(asker.caller))
    if not found:
        raise Refusal(403, "forbidden", asker.caller.missing_right(named))
    return found


def _may_exist(name: str) -> bool:
    return bool(name) and name != EVERY_NAMESPACE and not is_special(name)


def _ignored(asked: AllocationRequest, wide: bool) -> str:
    """The parameters without effect. Who may not read the whole cluster has no idle row, and no share of it."""
    hidden = [] if wide else [
        *(["includeIdle"] if asked.include_idle else []), *(["shareIdle"] if asked.share_idle else []),
    ]  # fmt: skip
    return _listed([*asked.ignored, *hidden])


def _listed(names: Iterable[str]) -> str:
    """The names that a header may hold, joined by commas; others are only counted, as `?`."""
    safe = sorted({name if _PARAMETER.fullmatch(name) else "?" for name in names})
    while safe and len(",".join(safe)) > _MAX_HEADER:
        safe.pop()
    return ",".join(safe)
