"""`kubectl carbon`: budgets, top and explain, read with one's own rights.

kubectl runs the program `kubectl-carbon` that it finds on PATH.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Final, TypeVar

import typer
from pydantic import ValidationError

from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.names import BUDGET, CLUSTER_BUDGET, GROUP, VERSION, Resource
from carbonbudget_operator.cli.connection import Context, Kubeconfig, Namespace, Timeout, credentials
from carbonbudget_operator.cli.options import fail, print_table
from carbonbudget_operator.cli.standing import CLUSTER, explain, kind_of, rows, workers
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials

T = TypeVar("T")
_STYLES: Final = {"Exceeded": "red", "Warning": "yellow", "WithinBudget": "green"}
_MODELS: Final[dict[str, type[CarbonBudget] | type[ClusterCarbonBudget]]] = {
    BUDGET.kind: CarbonBudget,
    CLUSTER_BUDGET.kind: ClusterCarbonBudget,
}

app = typer.Typer(
    name="kubectl carbon",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # as of `carbonbudget`
    help="Carbon budgets: how they stand, who used most, and one in plain words.",
)


class Shown(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"


All = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")]
Output = Annotated[Shown, typer.Option("--output", "-o", envvar="CARBONBUDGET_OUTPUT", help="table or json.")]


@app.command()
def budgets(
    everywhere: All = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: Output = Shown.TABLE,
    timeout: Timeout = 30,
) -> None:
    """How the budgets of a namespace, or of all, stand. The cluster's too, if you may see those."""
    found = _read(credentials(kubeconfig, context, 1), namespace, everywhere, timeout)
    lines = rows(found)
    if output is Shown.JSON:
        print(json.dumps({"items": [asdict(line) for line in lines]}, indent=2))
        return
    headings = ("NAMESPACE", "NAME", "LIMIT", "USED", "%", "FORECAST", "EXHAUSTED", "STATE", "ACTION", "RESETS")
    _table(
        headings,
        [
            (
                line.namespace or CLUSTER, line.name, line.limit, line.used, _number(line.percent), line.forecast,
                line.exhausted, line.state, line.action, line.resets,
            )
            for line in lines
        ],
        "no carbon budgets" + ("" if everywhere else "; -A shows all namespaces"),
    )  # fmt: skip


@app.command()
def top(
    everywhere: All = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: Output = Shown.TABLE,
    timeout: Timeout = 30,
) -> None:
    """The workloads that used most, most first. Under the budgets of a namespace, or of all."""
    found = _read(credentials(kubeconfig, context, 1), namespace, everywhere, timeout)
    lines = workers(found)
    if output is Shown.JSON:
        print(json.dumps({"items": [asdict(line) for line in lines]}, indent=2))
        return
    _table(
        ("NAMESPACE", "WORKLOAD", "CO2E", "% OF LIMIT", "BUDGET"),
        [
            (
                line.namespace,
                f"{line.kind}/{line.name}",
                line.emissions,
                _number(line.percent),
                line.budget + (f" {CLUSTER}" if line.budget_kind == CLUSTER_BUDGET.kind else ""),
            )
            for line in lines
        ],
        "no budget names a workload yet" + ("" if everywhere else "; -A shows all namespaces"),
    )


@app.command("explain")
def explain_budget(
    budget: Annotated[str, typer.Argument(help="Its name.", metavar="BUDGET")],
    cluster: Annotated[bool, typer.Option("--cluster", help="It is a ClusterCarbonBudget.")] = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: Output = Shown.TABLE,
    timeout: Timeout = 30,
) -> None:
    """One budget in plain words. What counts, how it stands and why, what happens when, and what to do next."""
    if cluster and namespace:
        fail("a ClusterCarbonBudget is in no namespace: leave out --cluster or --namespace", code=2)
    who = credentials(kubeconfig, context, 1)
    space = "" if cluster else namespace or who.namespace
    resource = CLUSTER_BUDGET if cluster else BUDGET

    async def run(client: KubeClient) -> tuple[AnyBudget | None, list[AnyBudget], bool | None]:
        all_of_them = await _list(client, resource, space)
        one = next((one for one in all_of_them if one.metadata.name == budget), None)
        return one, all_of_them, await _may_change(client, resource, space, budget) if one else None

    chosen, others, may_change = _ask(who, timeout, run)
    if chosen is None:
        place = f" in namespace {space}" if space else ""
        there = ", ".join(sorted(one.metadata.name for one in others)) or "none"
        fail(f"no {resource.kind} {budget}{place}; there is: {there}")
    sections = explain(chosen, dt.datetime.now(dt.UTC), may_change)
    if output is Shown.JSON:
        value = {"kind": kind_of(chosen), "namespace": space, "name": budget, "mayChange": may_change}
        print(json.dumps(value | {"sections": [{"heading": h, "sentences": s} for h, s in sections]}, indent=2))
        return
    print(f"{kind_of(chosen)} {budget}" + (f" in namespace {space}" if space else ""))
    for heading, sentences in sections:
        print(f"\n{heading}")
        for sentence in sentences:
            print(f"  {sentence}")


def _read(who: Credentials, namespace: str, everywhere: bool, timeout: float) -> list[AnyBudget]:
    """Budgets of a namespace or of all, and the cluster's. Those may be hidden from a team, which is no error."""
    if everywhere and namespace:
        fail("write either --all-namespaces or --namespace", code=2)

    async def run(client: KubeClient) -> list[AnyBudget]:
        found = await _list(client, BUDGET, "" if everywhere else namespace or who.namespace)
        try:
            return found + await _list(client, CLUSTER_BUDGET, "")
        except KubeError as error:
            if error.status not in (403, 404):  # 404: a chart of before they were
                raise
            return found

    return _ask(who, timeout, run)


def _ask(who: Credentials, timeout: float, question: Callable[[KubeClient], Awaitable[T]]) -> T:
    """The question's answer; any failure ends the process with one sentence and exit code 1."""

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
        fail(_sentence(error))


async def _list(client: KubeClient, resource: Resource, namespace: str) -> list[AnyBudget]:
    path = resource.collection
    if namespace:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{resource.plural}"
    found: list[AnyBudget] = []
    async for item in client.list(path):
        try:
            found.append(_MODELS[resource.kind].model_validate(item))
        except ValidationError as error:
            metadata = item.get("metadata")
            name = metadata.get("name") if isinstance(metadata, dict) else "?"
            print(f"{resource.kind} {name} is not understood: {error.errors()[0]['msg']}", file=sys.stderr)
    return found


async def _may_change(client: KubeClient, resource: Resource, namespace: str, name: str) -> bool | None:
    attributes = {"group": GROUP, "resource": resource.plural, "verb": "update", "namespace": namespace, "name": name}
    body: dict[str, object] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        answer = await client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    except KubeError:
        return None
    status = answer.get("status")
    return status.get("allowed") is True if isinstance(status, dict) else None


def _sentence(error: KubeError) -> str:
    if error.status == 404:
        return (
            "there are no carbon budgets in this cluster: helm install carbonbudget charts/carbonbudget "
            "-n carbonbudget-system --create-namespace"
        )
    if error.status == 401:
        return "the API server does not know who you are: renew your credentials"
    if error.status == 403:
        return f"a right is missing, which the role view or carbonbudget-view has: {error.reason}"
    return error.reason


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]], nothing: str) -> None:
    if not lines:
        print(nothing, file=sys.stderr)
        return
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    right = {"LIMIT", "USED", "%", "FORECAST", "CO2E", "% OF LIMIT"}
    for heading in headings:
        shown.add_column(heading, justify="right" if heading in right else "left")
    for line in lines:
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    print_table(shown)


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def main() -> None:
    """Entry point."""
    app()
