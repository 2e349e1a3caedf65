"""Reads budgets from the API server with the caller's own rights. Any failure ends the command with one sentence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pydantic import ValidationError

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, Resource
from carbonbudget_operator.cli.common_options import code_of, fail
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.kube.client import ImpossibleName, KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

T = TypeVar("T")

WHOLE_CLUSTER: Final = ""
_MODELS: Final[dict[str, type[CarbonBudget] | type[ClusterCarbonBudget]]] = {
    BUDGET.kind: CarbonBudget,
    CLUSTER_BUDGET.kind: ClusterCarbonBudget,
}


def budgets_of(who: Credentials, namespace: str, everywhere: bool, timeout: float) -> list[AnyBudget]:
    """Budgets of a namespace or of all, and the cluster's. Those may be hidden from a team, which is no error."""
    if everywhere and namespace:
        fail("write either --all-namespaces or --namespace", code=2)

    async def run(client: KubeClient) -> list[AnyBudget]:
        found = await list_budgets(client, BUDGET, "" if everywhere else namespace or who.namespace)
        try:
            return found + await list_budgets(client, CLUSTER_BUDGET, "")
        except KubeError as error:
            if error.status not in (403, 404):  # 404: a chart of before they were
                raise
            return found

    return ask_api_server(who, timeout, run, EVERY_NAMESPACE if everywhere else namespace or who.namespace)


def ask_api_server(who: Credentials, timeout: float, question: Callable[[KubeClient], Awaitable[T]], where: str) -> T:
    """The question's answer; any failure ends the process with one sentence and exit code 1.

    `where` is what is asked about: a namespace, all of them, or the cluster's own budgets.
    """

    async def run() -> T:
        client = KubeClient.connect(who)
        try:
            async with asyncio.timeout(timeout):
                return await question(client)
        finally:
            await client.close()

    try:
        return asyncio.run(run())
    except TimeoutError:
        fail(f"no answer from the API server within {timeout:g} s")
    except KubeError as error:
        fail(kube_sentence(error, where), code_of(error))


async def list_budgets(client: KubeClient, resource: Resource, namespace: str) -> list[AnyBudget]:
    """Budgets of a kind in a namespace, or in all if empty. One that cannot be parsed is reported and left out."""
    path = resource.path(namespace) if namespace else resource.collection
    found: list[AnyBudget] = []
    async for item in client.list(path):
        try:
            found.append(_MODELS[resource.kind].model_validate(item))
        except ValidationError as error:
            name = at(item, "metadata").get("name", "?")
            print(
                printable_cell(f"{resource.kind} {name} is not understood: {error.errors()[0]['msg']}"), file=sys.stderr
            )
    return found


def kube_sentence(error: KubeError, where: str) -> str:
    """What happened and what to do. `where` is what was asked about."""
    if isinstance(error, ImpossibleName):
        return error.reason
    if error.status == 404:
        return (
            "there are no carbon budgets in this cluster: helm install carbonbudget charts/carbonbudget "
            "-n carbonbudget-system --create-namespace"
        )
    if error.status == 401:
        return "the API server does not know who you are: renew your credentials"
    if error.status == 403:
        return f"a right is missing, which {_who_has_it(where)} ({error.reason})"
    if error.status == 429 or error.status >= 500:
        return f"the API server could not answer ({error.status}): {error.reason}; try again"
    return error.reason


def _who_has_it(where: str) -> str:
    """Which role has the right to read budgets there, and what else may be wrong."""
    if where == WHOLE_CLUSTER:
        return "the role carbonbudget-cluster-view, bound for the whole cluster, has"
    if where == EVERY_NAMESPACE:
        return (
            "the role view or carbonbudget-view has; have it bound for the whole cluster, "
            "or leave -A out to see one namespace"
        )
    # The API server does not say of a namespace that is not there that it is not there.
    return f"the role view or carbonbudget-view has; is namespace {where} spelt right?"
