"""Read tokens: GET and POST /v1/tokens, and POST /v1/tokens/revoke. For people, by `carbonbudget token`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter, Depends, Response

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.token_bodies import CreateReadToken, RevokeReadToken
from carbonbudget_operator.api_path import is_label
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.read_tokens import (
    ReadToken,
    TooManyReadTokens,
    create_token,
    list_tokens,
    revoke_token,
)
from carbonbudget_operator.name_rules import no_namespace
from carbonbudget_operator.printable import printable
from carbonbudget_operator.server.public.visible_namespaces import Namespaces
from carbonbudget_operator.server.read_token_check import ReadTokenCheck, creator_text
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling, access_answer
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

_log = logging.getLogger(__name__)
_MAX_CREATOR: Final = 16_000  # a user with more groups than that has to use a ServiceAccount


def token_routes(asking: QueryHandling, tokens: ReadTokenCheck, running: Namespaces) -> APIRouter:
    """All of them. Who creates one needs the verb `share` on carbonbudgets, and `get`, in each of its namespaces.

    `running` returns the namespaces that run pods, or did a while ago.
    """
    router, known = APIRouter(), Depends(asking.asker)
    pool, cluster = asking.pools.tokens, asking.pools.settings.cluster

    async def may_share(asker: QueryCaller, namespaces: tuple[str, ...]) -> str | None:
        """The first of them in which the caller may not share; None if there is none."""
        for name in namespaces:
            if not await access_answer(asking.access.may_share_budgets(asker.caller, name)):
                return name
        return None

    async def without_pods(names: Iterable[str]) -> list[str]:
        """Those of the names in which no pod is: they may be mistyped. None where the pods are not known."""
        known_names = await running()
        return [name for name in names if name != EVERY_NAMESPACE and name not in known_names] if known_names else []

    @router.get("/v1/tokens")
    async def listed(asker: QueryCaller = known) -> Response:
        everything = await may_share(asker, (EVERY_NAMESPACE,)) is None
        async with pool.turn(asker.who):
            found = await pool.ask(lambda queries: list_tokens(queries.book.engine, cluster))
        by = printable(asker.caller.user, 512)
        shown = [one.as_json() for one in found if everything or one.created_by == by]
        return asker.respond(json.dumps({"items": shown}).encode())

    @router.post("/v1/tokens")
    async def create(asker: QueryCaller = known) -> Response:
        asked = await asker.read(CreateReadToken)
        names = tuple(sorted(set(asked.namespaces)))
        if EVERY_NAMESPACE in names and len(names) > 1:
            raise Refusal(400, "malformed", "* stands for every namespace, so name no other beside it")
        if odd := [name for name in names if name != EVERY_NAMESPACE and not is_label(name)]:
            raise Refusal(400, "malformed", no_namespace(odd[0]))
        await asker.authorize(names)
        if missing := await may_share(asker, names):
            where = "all namespaces" if missing == EVERY_NAMESPACE else f"namespace {missing}"
            raise Refusal(403, "forbidden", f"{asker.caller.user} may not share carbonbudgets in {where}")
        creator, by, now = creator_text(asker.caller), printable(asker.caller.user, 512), int(asking.now())
        if len(creator) > _MAX_CREATOR:
            raise Refusal(422, "unanswerable", "you have too many groups: create the token with a ServiceAccount")

        def created(queries: BudgetUseQueries) -> tuple[str, ReadToken]:
            engine, name = queries.book.engine, printable(asked.name, 200)
            try:
                return create_token(engine, cluster, name, names, creator, by, now, now + asked.seconds)
            except TooManyReadTokens as error:
                raise Refusal(422, "unanswerable", str(error)) from None

        async with pool.turn(asker.who):
            token, made = await pool.ask(created)
        tokens.forget()
        _log.info("read token %d for %s was created by %s", made.id, ",".join(names), by)
        response = asker.respond(
            json.dumps(made.as_json() | {"token": token, "without_pods": await without_pods(names)}).encode()
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    @router.post("/v1/tokens/revoke")
    async def revoke(asker: QueryCaller = known) -> Response:
        asked = await asker.read(RevokeReadToken)
        async with pool.turn(asker.who):
            found = await pool.ask(lambda queries: list_tokens(queries.book.engine, cluster))
        record = next((one for one in found if one.id == asked.id), None)
        by = printable(asker.caller.user, 512)
        if record is None or (record.created_by != by and await may_share(asker, record.namespaces) is not None):
            raise Refusal(404, "no_token", f"there is no read token {asked.id} that {by} may revoke")
        now = int(asking.now())
        async with pool.turn(asker.who):
            await pool.ask(lambda queries: revoke_token(queries.book.engine, cluster, asked.id, by, now))
        tokens.forget()
        _log.info("read token %d was revoked by %s", asked.id, by)
        return asker.respond(json.dumps({"id": asked.id, "namespaces": list(record.namespaces)}).encode())

    return router
