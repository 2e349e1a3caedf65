"""`kubectl carbon transfer`: writes a CarbonTransfer with the user's own rights and waits until it is decided."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Final

import typer

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.wire_names import BUDGET, GROUP, KUBECTL_MANAGER, TRANSFER, VERSION
from carbonbudget_operator.api_path import ApiPath, is_label, is_subdomain
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.budgets.workload_demand import duration_s
from carbonbudget_operator.cli.api_server_budgets import ask_api_server
from carbonbudget_operator.cli.common_options import fail
from carbonbudget_operator.cli.kubeconfig import AsGroups, AsUser, Context, Kubeconfig, Namespace, Timeout, credentials
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.kube.client import ImpossibleName, KubeClient, KubeError
from carbonbudget_operator.printable import is_printable

_POLL_SECONDS: Final = 1.0
_MOST_WAIT_SECONDS: Final = 3600
_MAX_REASON: Final = 128
_MAX_PREFIX: Final = 200  # of the generated name: the API server adds five characters


class TransferFormat(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of the transfer. `state` is empty while it is not decided."""

    namespace: str
    name: str
    state: str
    message: str


def transfer(
    amount: Annotated[str, typer.Argument(help="How much, for example 5kg.", metavar="AMOUNT")],
    source: Annotated[str, typer.Option("--from", metavar="NAME", help="The CarbonBudget whose limit falls.")],
    to: Annotated[
        str,
        typer.Option("--to", metavar="[NAMESPACE/]NAME", help="The CarbonBudget whose limit rises by as much."),
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, in one line: it is kept with both budgets.")] = "",
    wait: Annotated[
        str, typer.Option("--wait", help="How long to wait for the decision, at most 1h; 0s returns at once.")
    ] = "2m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check names and rights, and create nothing.")] = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    as_user: AsUser = "",
    as_groups: AsGroups = None,
    output: Annotated[
        TransferFormat, typer.Option("--output", "-o", envvar="CARBONBUDGET_OUTPUT", help="text or json.")
    ] = TransferFormat.TEXT,
    timeout: Timeout = 30,
) -> None:
    """Give a part of one budget's limit to another, for this period.

    The period is the present one of both. It needs the verb update on both budgets, which the role carbonbudget-editor
    has. At most what is left of the source can be given. A transfer cannot be changed or undone: the way back is
    another one. Exit code 0: applied. 1: refused, not decided in time, or not created.
    """
    wait_s = duration_s(wait)
    if wait_s is None or wait_s > _MOST_WAIT_SECONDS:
        fail(f"--wait must be a duration of at most 1h such as 2m or 0s, not {wait!r}", code=2)
    _check(amount, source, reason)
    who = credentials(kubeconfig, context, as_user=as_user, as_groups=as_groups or ())
    space = namespace or who.namespace
    body = _object(amount, source, to, reason, space)

    async def ask(client: KubeClient) -> _Answer:
        return await _create(client, body, space, dry_run)

    made = ask_api_server(who, timeout, ask, space)
    spec = at(body, "spec")
    what = f"{amount} from {space}/{source} to {at(spec, 'to')['namespace']}/{at(spec, 'to')['name']}"
    if dry_run:
        _print(made, output, f"{what}: names and rights are in order; nothing was created")
        return
    where = f"{space}/{made.name}"
    if wait_s == 0:
        _print(made, output, f"created carbontransfer {where}; not waited for its decision")
        return
    print(printable_cell(f"created carbontransfer {where}; waiting for its decision"), file=sys.stderr)

    async def follow(client: KubeClient) -> _Answer:
        return await _decided(client, made, wait_s)

    ended = ask_api_server(who, wait_s + timeout, follow, space)
    if ended.state != "Applied" and output is TransferFormat.JSON:
        _print(ended, output, "")
    if ended.state == "Refused":
        fail(f"refused: {ended.message}")
    if not ended.state:
        known = f" ({ended.message})" if ended.message else ""
        fail(
            f"not decided within {wait}{known}: it still may be. `kubectl -n {space} get carbontransfer {made.name}` "
            "shows the state; does the controller run?"
        )
    _print(ended, output, f"applied: {ended.message}")


def _check(amount: str, source: str, reason: str) -> None:
    """Ends with exit code 2 for values that are wrong in every namespace, before credentials are looked for."""
    try:
        amount_ug = parse_mass(amount)
    except QuantityError as error:
        fail(f"the amount {error}", code=2)
    if amount_ug == 0:
        fail("the amount must be more than zero", code=2)
    if not is_subdomain(source):
        fail(f"--from must be the name of a CarbonBudget, not {source!r}", code=2)
    if len(reason) > _MAX_REASON or not is_printable(reason):
        fail(f"--reason must be one line of at most {_MAX_REASON} printable characters", code=2)


def _object(amount: str, source: str, to: str, reason: str, space: str) -> dict[str, object]:
    """The CarbonTransfer; ends with exit code 2 for names that the API server would refuse."""
    to_namespace, _, to_name = to.rpartition("/")
    to_namespace = to_namespace or ("" if to.startswith("/") else space)
    if not is_label(to_namespace) or not is_subdomain(to_name):
        fail(f"--to must be NAMESPACE/NAME of a CarbonBudget, not {to!r}", code=2)
    if (to_namespace, to_name) == (space, source):
        fail("--from and --to are the same budget: write another one", code=2)
    prefix = source[:_MAX_PREFIX].rstrip("-.")
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": TRANSFER.kind,
        "metadata": {"generateName": f"{prefix}-", "namespace": space},
        "spec": {
            "source": source,
            "to": {"namespace": to_namespace, "name": to_name},
            "amount": amount,
            **({"reason": reason} if reason else {}),
        },
    }


async def _create(client: KubeClient, body: Mapping[str, object], space: str, dry_run: bool) -> _Answer:
    params = {"fieldManager": KUBECTL_MANAGER, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    try:
        made = await client.request("POST", TRANSFER.path(space), body, params=params)
    except KubeError as error:
        if error.status == 403:  # RBAC or the policy; both say which right on what
            raise KubeError(0, f"not created, a right is missing: {error.reason}") from error
        if error.status == 404 and not isinstance(error, ImpossibleName):
            raise KubeError(
                0, f"this cluster has no CarbonTransfers, or no namespace {space}: {error.reason}"
            ) from error
        raise
    if dry_run:
        await _check_budgets(client, body, space)
    return _answer(made, space)


async def _check_budgets(client: KubeClient, body: Mapping[str, object], space: str) -> None:
    """Raises KubeError if a budget does not exist. Who may update budgets and not get them is not told."""
    spec = at(body, "spec")
    to = at(spec, "to")
    for namespace, name in ((space, spec["source"]), (to["namespace"], to["name"])):
        try:
            await client.request("GET", BUDGET.path(str(namespace), str(name)))
        except KubeError as error:
            if error.status == 404:
                raise KubeError(0, f"there is no CarbonBudget {namespace}/{name}") from error
            if error.status != 403:
                raise


async def _decided(client: KubeClient, made: _Answer, wait_s: int) -> _Answer:
    """The transfer once it is decided, or as it is after `wait_s`. What it waits for is printed once."""
    path: ApiPath = TRANSFER.path(made.namespace, made.name)
    loop = asyncio.get_running_loop()
    until, last = loop.time() + wait_s, made
    while loop.time() < until:
        try:
            now = _answer(await client.request("GET", path), made.namespace)
        except KubeError as error:
            if error.status in (401, 403, 404):
                what = "was deleted before it was decided" if error.status == 404 else f"cannot be read: {error.reason}"
                raise KubeError(0, f"carbontransfer {made.namespace}/{made.name} {what}") from error
        else:
            if now.state:
                return now
            if now.message != last.message:
                print(printable_cell(now.message), file=sys.stderr)
            last = now
        await asyncio.sleep(min(_POLL_SECONDS, max(0.0, until - loop.time())))
    return last


def _answer(body: Mapping[str, object], space: str) -> _Answer:
    status = at(body, "status")
    return _Answer(
        space,
        str(at(body, "metadata").get("name") or ""),
        str(status.get("state") or ""),
        str(status.get("message") or ""),
    )


def _print(answer: _Answer, output: TransferFormat, sentence: str) -> None:
    print(json.dumps(asdict(answer), indent=2) if output is TransferFormat.JSON else printable_cell(sentence))
