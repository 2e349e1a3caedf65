"""Budgets of `kubectl carbon ui`: the objects themselves, by the user's kubeconfig.

They need the role view alone, and are there while the operator is down. They are shown by way of the rows that the
server's API would have of them. Only the finer series comes from the server.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import Final

from carbonbudget_core.jsons import JsonObject, at, text
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, Resource
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.explain import explain
from carbonbudget_operator.cli.kubeconfig_object_lists import ObjectLists, not_understood
from carbonbudget_operator.cli.reader_context import reader_context
from carbonbudget_operator.kube.client import KubeError
from carbonbudget_operator.server.public.budget_api_rows import budget_detail, budget_row, history_rows, parse_budget
from carbonbudget_operator.web.api_budget_reader import SeriesReader
from carbonbudget_operator.web.budget_reader import BudgetDetails, FoundBudgets
from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.views.page_budget import PageBudget
from carbonbudget_operator.web.views.page_budget_from_answer import shown_detail, shown_row

_SELF_REVIEWS: Final = ApiPath("authentication.k8s.io", "v1", "selfsubjectreviews")
_SELF_SECONDS: Final = 3  # the page opens without an answer, too


class KubeconfigBudgetReader:
    """A BudgetReader."""

    def __init__(self, lists: ObjectLists, series: SeriesReader) -> None:
        self._lists, self._series = lists, series

    async def all(self, caller: PageCaller) -> FoundBudgets:
        """The budgets of all namespaces, else of one; and the cluster's, which may be hidden from a team."""
        found, notes = await self._lists.both(BUDGET, CLUSTER_BUDGET, _listed)
        return FoundBudgets(found, notes)

    async def one(self, caller: PageCaller, namespace: str, name: str) -> BudgetDetails:
        """With the sentences of `kubectl carbon explain`, and the server's series where that can be asked."""
        resource = BUDGET if namespace else CLUSTER_BUDGET
        async with self._lists.reading(resource, namespace, name) as client:
            item = await client.request("GET", resource.path(namespace, name))
            beside = await reader_context(client, resource, namespace, name)
        if (budget := parse_budget(resource, item)) is None:
            raise not_understood(resource, name)
        shown = shown_detail(budget_detail(resource, item), {"rows": history_rows(resource, item)})
        sections = explain(budget, dt.datetime.now(dt.UTC), beside)
        return await self._series.details(caller, replace(shown, sections=sections))

    async def user(self) -> str:
        """Whom the API server takes the user for; else the API server's own name, where it does not say so soon."""
        body: JsonObject = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            async with asyncio.timeout(_SELF_SECONDS):
                answer = await (await self._lists.client()).request("POST", _SELF_REVIEWS, body)
        except (KubeError, TimeoutError):
            answer = {}
        return text(at(answer, "status", "userInfo").get("username")) or self._lists.who.url.partition("://")[2]


def _listed(resource: Resource, item: JsonObject) -> PageBudget | None:
    return None if parse_budget(resource, item) is None else shown_row(budget_row(resource, item))
