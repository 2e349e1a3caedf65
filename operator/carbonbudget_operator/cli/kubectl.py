"""`kubectl carbon`, the kubectl plugin: budgets, top, explain, transfer and ui, with the user's own rights.

kubectl runs the program `kubectl-carbon` that it finds on PATH.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, get_args

import typer

from carbonbudget_operator.api.budget_query_bodies import Accounting
from carbonbudget_operator.api.carbonbudget import AnyBudget, budget_kind
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.budgets.quantity import format_percent
from carbonbudget_operator.cli.answer_source_options import ServerNamespace
from carbonbudget_operator.cli.api_server_budgets import (
    WHOLE_CLUSTER,
    ask_api_server,
    budgets_of,
    list_budgets,
)
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.budget_table import (
    CLUSTER,
    WorkloadRow,
    as_item,
    budget_rows,
    pro_rata,
    pro_rata_sentence,
    unlisted_workloads,
    workload_rows,
)
from carbonbudget_operator.cli.command_group import CommandGroup
from carbonbudget_operator.cli.common_options import OutputFormat, fail
from carbonbudget_operator.cli.explain import as_json, explain
from carbonbudget_operator.cli.formatted_values import micrograms, minute_in
from carbonbudget_operator.cli.kubeconfig import AsGroups, AsUser, Context, Kubeconfig, Namespace, Timeout, credentials
from carbonbudget_operator.cli.reader_context import reader_context
from carbonbudget_operator.cli.service_account import ServiceAccount
from carbonbudget_operator.cli.table_cells import print_table, printable_cell
from carbonbudget_operator.cli.top_by import TopBy, top_by
from carbonbudget_operator.cli.transfer import transfer
from carbonbudget_operator.cli.ui import ui
from carbonbudget_operator.kube.client import KubeClient, KubeError

_STYLES: Final = {"Exceeded": "red", "Warning": "yellow", "WithinBudget": "green"}


class _Commands(CommandGroup):
    """Reports an option that is written before the command, and where to write it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The command and its arguments."""
        if args and args[0].startswith("-") and args[0] != "--help":
            raise typer.BadParameter("write options after the command: kubectl carbon budgets -n NAMESPACE", ctx)
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="kubectl carbon",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # as of `carbonbudget`
    help="Show carbon budgets, the workloads that used most, one budget in plain words, and all of it as a page. "
    "Transfer a part of a limit.",
)
app.command("ui")(ui)
app.command("transfer")(transfer)


class KubectlFormat(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"


All = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")]
Output = Annotated[KubectlFormat, typer.Option("--output", "-o", envvar="CARBONBUDGET_OUTPUT", help="table or json.")]


TopOutput = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", envvar="CARBONBUDGET_OUTPUT", help="table, json; with --by also csv."),
]


@app.command()
def budgets(
    everywhere: All = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    as_user: AsUser = "",
    as_groups: AsGroups = None,
    output: Output = KubectlFormat.TABLE,
    timeout: Timeout = 30,
) -> None:
    """List the budgets of a namespace, or of all. ClusterCarbonBudgets too, if you may."""
    who = credentials(kubeconfig, context, as_user=as_user, as_groups=as_groups or ())
    found = budgets_of(who, namespace, everywhere, timeout)
    lines = budget_rows(found)
    if output is KubectlFormat.JSON:
        print(json.dumps({"items": [as_item(line) for line in lines]}, indent=2))
        return
    headings = (
        "NAMESPACE", "NAME", "LIMIT", "USED", "%", "FORECAST", "EXHAUSTED", "STATE", "ACTION", "RESETS", "BASIS",
        "AS OF",
    )  # fmt: skip
    _table(
        headings,
        [
            (
                line.namespace or CLUSTER, line.name, line.limit + (" each" if line.per == "Workload" else ""),
                line.used or "", _percent(line.percent, line.used or ""), line.forecast or "",
                minute_in(line.exhausted, line.time_zone), line.state or "", line.action or "",
                minute_in(line.resets, line.time_zone), _basis(line.accounting), minute_in(line.as_of, line.time_zone),
            )
            for line in lines
        ],
        _nothing("no carbon budgets{place}", "" if everywhere else namespace or who.namespace),
    )  # fmt: skip
    _print_pro_rata(found)


@app.command()
def top(
    everywhere: All = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    as_user: AsUser = "",
    as_groups: AsGroups = None,
    output: TopOutput = OutputFormat.TABLE,
    timeout: Timeout = 30,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many rows; 0 for all.")] = 0,
    accounting: Annotated[
        Accounting | None,
        typer.Option("--accounting", help="Of budgets with this accounting. Left out: each in a table of its own."),
    ] = None,
    by: Annotated[TopBy | None, typer.Option("--by", help="run or model: from the server, without a budget.")] = None,
    window: Annotated[str, typer.Option("--window", help="With --by: today, 30d, lastmonth.  [default: 7d]")] = "",
    server_namespace: ServerNamespace = "carbonbudget-system",
    service_account: ServiceAccount = "",
) -> None:
    """List the workloads that used most, or the runs or models.

    The workloads are those in the budgets' statuses: each names five, or with per: Workload ten and all over a
    threshold. The use of all others is printed below. With --by they are the runs or the models of pods with the
    labels carbonbudget.dev/run and carbonbudget.dev/model, by the server's figures.
    """
    if by is None and (window or service_account or output is OutputFormat.CSV):
        fail("--window, --service-account and -o csv need --by run or --by model", code=2)
    if by is not None and accounting is not None:
        fail("--accounting is of budgets: leave it out with --by, which shows both", code=2)
    who = credentials(kubeconfig, context, as_user=as_user, as_groups=as_groups or ())
    if by is not None:
        if everywhere and namespace:
            fail("write -A or -n: one of them", code=2)
        space = "" if everywhere else namespace or who.namespace
        top_by(who, by, space, window or "7d", limit, output, server_namespace, service_account, timeout)
        return
    found = budgets_of(who, namespace, everywhere, timeout)
    space = "" if everywhere else namespace or who.namespace
    lines = workload_rows(found, space, accounting)
    if output is OutputFormat.JSON:
        print(json.dumps({"items": [as_item(line) for line in lines[: limit or None]]}, indent=2))
        return
    bases = [basis for basis in get_args(Accounting) if any(line.accounting == basis for line in lines)]
    for number, basis in enumerate(bases):  # figures of two bases cannot be compared
        print(("\n" if number else "") + f"{_basis(basis)}-based")
        _workloads([line for line in lines if line.accounting == basis], limit)
    if not lines:
        nothing = "no budget{place} names a workload yet" if found else "no carbon budgets{place}, so no workloads"
        _table((), [], _nothing(nothing, space))
    _print_pro_rata(found)
    for sentence in unlisted_workloads(found, accounting):
        print(f"note: {printable_cell(sentence)}", file=sys.stderr)


def _workloads(lines: Sequence[WorkloadRow], limit: int) -> None:
    if limit and len(lines) > limit:
        print(f"note: {limit} of {len(lines)} rows", file=sys.stderr)
    _table(
        ("NAMESPACE", "WORKLOAD", "CO2E", "% OF LIMIT", "BUDGET", "SINCE", "AS OF"),
        [
            (
                line.namespace,
                f"{line.kind}/{line.name}",
                line.emissions,
                _percent(line.percent, line.emissions),
                line.budget + (f" {CLUSTER}" if line.budget_kind == CLUSTER_BUDGET.kind else ""),
                minute_in(line.since, line.time_zone),
                minute_in(line.as_of, line.time_zone),
            )
            for line in lines[: limit or None]
        ],
        "",
    )


@app.command("explain")
def explain_budget(
    budget: Annotated[str, typer.Argument(help="Its name.", metavar="BUDGET")],
    cluster: Annotated[bool, typer.Option("--cluster", help="It is a ClusterCarbonBudget.")] = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    as_user: AsUser = "",
    as_groups: AsGroups = None,
    output: Output = KubectlFormat.TABLE,
    timeout: Timeout = 30,
) -> None:
    """Explain one budget in plain words. What counts, what was used, what each threshold does, what to do next."""
    if cluster and namespace:
        fail("a ClusterCarbonBudget is in no namespace: leave out --cluster or --namespace", code=2)
    who = credentials(kubeconfig, context, as_user=as_user, as_groups=as_groups or ())
    space = "" if cluster else namespace or who.namespace
    resource = CLUSTER_BUDGET if cluster else BUDGET

    async def run(client: KubeClient) -> tuple[AnyBudget | None, list[AnyBudget], ReaderContext, str]:
        all_of_them = await list_budgets(client, resource, space)
        one = next((one for one in all_of_them if one.metadata.name == budget), None)
        if one is None:
            hint = "" if cluster else await _elsewhere(client, budget, bool(all_of_them))
            return None, all_of_them, ReaderContext(None, None), hint

        return one, all_of_them, await reader_context(client, resource, space, budget), ""

    chosen, others, beside, hint = ask_api_server(who, timeout, run, WHOLE_CLUSTER if cluster else space)
    if chosen is None:
        place = f" in namespace {space}" if space else ""
        names = ", ".join(sorted(one.metadata.name for one in others))
        there = f"there is: {names}" if names else "the namespace has none" if space else "there is none"
        fail(f"no {resource.kind} {budget}{place}; {there}{hint}")
    sections = explain(chosen, dt.datetime.now(dt.UTC), beside)
    if output is KubectlFormat.JSON:
        print(json.dumps(as_json(chosen, beside, sections), indent=2))
        return
    print(f"{budget_kind(chosen)} {budget}" + (f" in namespace {space}" if space else ""))
    for heading, sentences in sections:
        print(f"\n{heading}")
        for sentence in sentences:
            print(f"  {printable_cell(sentence)}")


async def _elsewhere(client: KubeClient, name: str, others: bool) -> str:
    """Where else a CarbonBudget that is not in this namespace may be; empty where the other names are enough."""
    try:
        whole = await list_budgets(client, CLUSTER_BUDGET, "")
    except KubeError:  # hidden from a team
        whole = []
    if any(one.metadata.name == name for one in whole):
        return "; a ClusterCarbonBudget has that name: add --cluster"
    return "" if others else "; -n names another namespace, and `kubectl carbon budgets -A` shows all"


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]], nothing: str) -> None:
    if not lines:
        print(nothing, file=sys.stderr)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    right = {"LIMIT", "USED", "%", "FORECAST", "CO2E", "% OF LIMIT"}
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    for line in lines:
        table.add_row(*(Text(printable_cell(cell), style=_STYLES.get(cell, "")) for cell in line))
    print_table(table)


def _nothing(sentence: str, namespace: str) -> str:
    """The sentence that there is nothing to show, and where was searched; an empty namespace means all."""
    place = f" in namespace {namespace}" if namespace else ""
    return sentence.replace("{place}", place) + ("; -A shows all namespaces" if namespace else "")


def _print_pro_rata(budgets: Iterable[AnyBudget]) -> None:
    """Below a table: which budgets' figures hold a part of an hour that was shared by time."""
    for budget in budgets:
        if instants := pro_rata(budget):
            name = "/".join(filter(None, (budget.metadata.namespace, budget.metadata.name)))
            print(printable_cell(f"{budget_kind(budget)} {name}: {pro_rata_sentence(instants)}"))


def _percent(value: int | None, mass: str) -> str:
    return "" if value is None else format_percent(value, micrograms(mass))


def _basis(accounting: str) -> str:
    """ "location" of LocationBased."""
    return accounting.removesuffix("Based").lower()


def main() -> None:
    """Entry point."""
    app(prog_name="kubectl carbon")
