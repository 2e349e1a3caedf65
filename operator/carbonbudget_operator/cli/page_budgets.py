"""Budgets of `kubectl carbon ui`: the objects themselves, by the user's kubeconfig.

They need the role view alone, and are there while the operator is down. Only the finer series comes from the server.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

from pydantic import ValidationError

from carbonbudget_core.jsons import JsonObject, at, text
from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, Resource
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.cluster_budgets import WHOLE_CLUSTER, kube_sentence
from carbonbudget_operator.cli.explain import explain
from carbonbudget_operator.cli.reader_context import reader_context
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.web.budget_objects import shown_object
from carbonbudget_operator.web.budget_reader import BudgetDetails, FoundBudgets
from carbonbudget_operator.web.budgets_from_api import SeriesReader
from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.questions import NotShown

_SELF_REVIEWS: Final = ApiPath("authentication.k8s.io", "v1", "selfsubjectreviews")
_SELF_SECONDS: Final = 3  # the page opens without an answer, too
_HIDDEN: Final = (403, 404)  # 404: a chart of before there were ClusterCarbonBudgets


class ClusterObjects:
    """A BudgetReader. `namespace` is shown where the user may not list the budgets of all namespaces."""

    def __init__(self, who: Credentials, namespace: str, timeout: float, series: SeriesReader) -> None:
        self._who, self._namespace, self._timeout, self._series = who, namespace or who.namespace, timeout, series
        self._client: KubeClient | None = None

    async def all(self, caller: PageCaller) -> FoundBudgets:
        """Of all namespaces, else of one; and the cluster's, which may be hidden from a team."""
        notes: list[str] = []
        try:
            found = await self._listed(BUDGET, "", notes)
        except KubeError as error:
            if error.status != 403:
                raise _not_shown(error, EVERY_NAMESPACE) from None
            try:
                found = await self._listed(BUDGET, self._namespace, notes)
            except KubeError as own:
                raise _not_shown(own, self._namespace) from None
            notes.append(
                f"Only namespace {self._namespace} is shown, because the right to list carbonbudgets in all namespaces "
                "is missing. -n shows another one."
            )
        try:
            found += await self._listed(CLUSTER_BUDGET, "", notes)
        except KubeError as error:
            if error.status not in _HIDDEN:
                raise _not_shown(error, WHOLE_CLUSTER) from None
        return FoundBudgets([shown_object(one) for one in found], notes)

    async def one(self, caller: PageCaller, namespace: str, name: str) -> BudgetDetails:
        """With the sentences of `kubectl carbon explain`, and the server's series where that can be asked."""
        resource = BUDGET if namespace else CLUSTER_BUDGET
        path = resource.path(namespace, name) if namespace else resource.collection.at(None, name)
        where = namespace or WHOLE_CLUSTER
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._connected()
                item = await client.request("GET", path)
                beside = await reader_context(client, resource, namespace, name)
        except KubeError as error:
            if error.status == 404:
                place = f" in namespace {namespace}" if namespace else ""
                raise NotShown(404, f"There is no {resource.kind} {name}{place}.") from None
            raise _not_shown(error, where) from None
        except TimeoutError:
            raise NotShown(503, f"No answer from the API server within {self._timeout:g} s.") from None
        budget = _parsed(resource, item)
        if budget is None:
            raise NotShown(502, f"{resource.kind} {name} is not understood: is it of another version?")
        shown = shown_object(budget, explain(budget, dt.datetime.now(dt.UTC), beside))
        return await self._series.details(caller, shown)

    async def user(self) -> str:
        """Whom the API server takes the user for; else the API server's own name, where it does not say so soon."""
        body: JsonObject = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            async with asyncio.timeout(_SELF_SECONDS):
                answer = await (await self._connected()).request("POST", _SELF_REVIEWS, body)
        except (KubeError, TimeoutError):
            answer = {}
        return text(at(answer, "status", "userInfo").get("username")) or self._who.url.partition("://")[2]

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> KubeClient:
        if self._client is None:
            self._client = KubeClient.connect(self._who)
        return self._client

    async def _listed(self, resource: Resource, namespace: str, notes: list[str]) -> list[AnyBudget]:
        """Budgets of a namespace, or of all if empty; one that cannot be parsed is a note. Raises KubeError."""
        client, found = await self._connected(), list[AnyBudget]()
        try:
            async with asyncio.timeout(self._timeout):
                async for item in client.list(resource.path(namespace) if namespace else resource.collection):
                    if (budget := _parsed(resource, item)) is None:
                        notes.append(f"{resource.kind} {at(item, 'metadata').get('name', '?')} is not understood.")
                    else:
                        found.append(budget)
        except TimeoutError:
            raise KubeError(0, f"no answer within {self._timeout:g} s") from None
        return found


def _parsed(resource: Resource, item: JsonObject) -> AnyBudget | None:
    model: type[CarbonBudget] | type[ClusterCarbonBudget] = CarbonBudget if resource is BUDGET else ClusterCarbonBudget
    try:
        return model.model_validate(item)
    except ValidationError:
        return None


def _not_shown(error: KubeError, where: str) -> NotShown:
    sentence = kube_sentence(error, where)
    return NotShown(error.status if error.status >= 400 else 503, f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}.")
