"""`carbonbudget release`: removes the effects of budgets from a cluster."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import code_of, fail
from carbonbudget_operator.cli.table_cells import printable_cell


def release(
    everything: Annotated[bool, typer.Option("--all", help="All budgets of the cluster.")] = False,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The budgets of one namespace.")] = "",
    budget: Annotated[str, typer.Option("--budget", help="One CarbonBudget of that namespace.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    stop_controller: Annotated[
        str,
        typer.Option(
            "--stop-controller",
            metavar="NAMESPACE/NAME",
            help="Scale this Deployment to 0 first: a running controller blocks again in its next window.",
        ),
    ] = "",
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="Go on if the Deployment of --stop-controller does not exist.")
    ] = False,
    kueue: Annotated[
        str,
        typer.Option(
            "--kueue", metavar="VERSION", help="Activate Kueue's Workloads too: its API's version, or auto to find it."
        ),
    ] = "",
    only_kueue: Annotated[
        bool, typer.Option("--only-kueue", help="Leave budgets and Jobs as they are, with --kueue.")
    ] = False,
    timeout: Annotated[int, typer.Option("--timeout", min=1, max=3600, help="Give up after so many seconds.")] = 60,
) -> None:
    """Resume suspended Jobs and lift blocks, now.

    Exit code 1 if something could not be released, a named object does not exist, or the time was up.
    """
    if everything and namespace:
        fail("--all and --namespace exclude each other: write one of them", code=2)
    if not everything and not namespace:
        fail("write either --all, or --namespace NAME", code=2)
    if budget and not namespace:
        fail("--budget needs --namespace", code=2)
    if only_kueue and not kueue:
        fail("--only-kueue needs --kueue VERSION, or --kueue auto", code=2)
    controller_namespace, _, controller_name = stop_controller.partition("/")
    if stop_controller and not (controller_namespace and controller_name):
        fail(f"--stop-controller must be NAMESPACE/NAME, not {stop_controller!r}", code=2)

    from carbonbudget_operator.enforcement.budget_effects_removal import BudgetEffectsRemoval, RemovalScope
    from carbonbudget_operator.kube.client import KubeClient, KubeError

    async def run() -> BudgetEffectsRemoval:
        client = KubeClient.from_environment()
        done = BudgetEffectsRemoval(client, dry_run, lambda line: print(printable_cell(line)), kueue)
        try:
            async with asyncio.timeout(timeout):
                scope, now = RemovalScope(namespace, budget), int(time.time())
                await done.check(scope)
                if stop_controller:
                    await done.stop_controller(controller_namespace, controller_name, ignore_not_found)
                before = done.done
                await (done.run_workloads(scope, now) if only_kueue else done.run(scope, now))
                if done.done == before and not done.failed:
                    await done.check_budget(scope)
        finally:
            await client.close()
        return done

    try:
        made = asyncio.run(run())
    except TimeoutError:
        fail(f"not all was released within {timeout} s: run it again, or give it a longer --timeout")
    except KubeError as error:
        fail(error.reason, code_of(error))
    if made.failed:
        fail(f"{made.failed} could not be released")
    if not made.done:
        print("nothing to release")
    elif made.done > made.started and not stop_controller and not dry_run:
        print(
            "a running controller evaluates again in its next window: raise the limit, remove the threshold, or label "
            "the namespace carbonbudget.dev/enforcement=off"
        )
