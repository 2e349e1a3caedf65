"""External figures: GET and POST /v1/external, and the removal of a file. For people, by `carbonbudget external`.

A file is parsed in a worker process, within its limits of time and memory, and stored in a thread by one transaction.
"""

from __future__ import annotations

import json
import logging
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.external_bodies import RemoveExternal
from carbonbudget_operator.external.file_rows import MAX_BYTES
from carbonbudget_operator.ingest.node_report_body import read_body
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestLimits, RequestShare
from carbonbudget_operator.ledger.external_figure import ExternalFile, imported, unpack_file
from carbonbudget_operator.ledger.external_figure_store import ExternalConflict, NoExternalFile, remove_file, store_file
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.question import QueryAllowance, Question
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling

_log = logging.getLogger(__name__)
_PARSED_BYTES: Final = 8 * MAX_BYTES
_ALLOWANCE: Final = QueryAllowance(1, spans=0, workloads=0, hours=0, answer_bytes=_PARSED_BYTES)


def external_routes(asking: QueryHandling) -> APIRouter:
    """All of them. Who imports needs the verb `import` on carbonbudgets in all namespaces."""
    router, known = APIRouter(), Depends(asking.asker)
    pools, cluster = asking.pools, asking.pools.settings.cluster
    share = RequestShare("imports of external figures", RequestLimits(4, 1, 2 * MAX_BYTES, MAX_BYTES, MAX_BYTES))

    @router.get("/v1/external")
    async def files(asker: QueryCaller = known) -> Response:
        return await asker.answer_all("external_files")

    @router.post("/v1/external")
    async def take(
        request: Request,
        form: Annotated[str, Query(alias="format", max_length=32)],
        name: Annotated[str, Query(max_length=500)] = "",
        timezone: Annotated[str, Query(max_length=64)] = "",
        month: Annotated[str, Query(max_length=16)] = "",
        account: Annotated[str, Query(max_length=500)] = "",
        scope: Annotated[str, Query(max_length=16)] = "",
        asker: QueryCaller = known,
    ) -> Response:
        await asker.authorize_importing()
        given = {"form": form, "name": name, "timezone": timezone, "month": month, "account": account, "scope": scope}
        with share.request(asker.who) as hold:
            body = await read_body(request, hold, MAX_BYTES)
            question = Question("external_parse", int(asking.now()), _ALLOWANCE, body, given)
            async with pools.people.turn(asker.who):
                parsed = await pools.people.answer(question)
        by = asker.caller.user

        def stored(queries: BudgetUseQueries) -> ExternalFile:
            file = unpack_file(parsed)
            try:
                store_file(queries.book.engine, cluster, file, int(asking.now()), printable(by, 512))
            except ExternalConflict as error:
                raise Refusal(409, "conflict", str(error)) from None
            return file

        async with pools.closing.turn(asker.who):
            file = await pools.closing.ask(stored)
        _log.info("external figures %s/%s were imported by %s", file.source, file.sha256, by)
        return asker.respond(json.dumps(imported(file)).encode())

    @router.post("/v1/external/remove")
    async def remove(asker: QueryCaller = known) -> Response:
        def removed(queries: BudgetUseQueries, asked: RemoveExternal) -> dict[str, object]:
            by, now, reason = printable(asker.caller.user, 512), int(asking.now()), asked.reason.strip()
            if not reason:
                raise Refusal(400, "malformed", "the reason must say why the figures are removed")
            try:
                return remove_file(queries.book.engine, cluster, asked.source, asked.sha256, now, by, reason)
            except NoExternalFile as error:
                raise Refusal(404, "no_file", str(error)) from None

        await asker.authorize_importing()
        asked = await asker.read(RemoveExternal)
        async with pools.closing.turn(asker.who):
            gone = await pools.closing.ask(removed, asked)
        _log.info("external figures %s/%s were removed by %s", gone["source"], gone["sha256"], asker.caller.user)
        return asker.respond(json.dumps(gone).encode())

    return router
