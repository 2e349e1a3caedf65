"""`carbonbudget check`: its options, the objects it reads, and how it prints the verdict on each.

dry_run_client.py sends each object to the API server as a dry-run create. The policies and webhooks that answer a real
create answer it too, so there is no second copy of the rules. dry_run_answer.py turns the answer into a verdict. The
figures beside it are written in the webhook (admission/check_command_figures.py).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from carbonbudget_operator.cli.common_options import fail
from carbonbudget_operator.cli.exit_codes import CHECK_EXIT_CODES, UNANSWERABLE
from carbonbudget_operator.cli.kubeconfig import AsGroups, AsUser, Context, Kubeconfig, Namespace, Timeout, credentials
from carbonbudget_operator.cli.manifest_files import manifests_of
from carbonbudget_operator.cli.manifests import ManifestError, ManifestObject, to_try
from carbonbudget_operator.cli.table_cells import printable_cell

if TYPE_CHECKING:
    from carbonbudget_operator.cli.dry_run_answer import CheckVerdict, DryRunOutcome

_MOST_MIB: Final = 16  # a file: rendered charts have some MiB


class CheckFormat(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"


def check(
    files: Annotated[
        list[str],
        typer.Option("--filename", "-f", help="Manifest, directory of manifests, or - for stdin; can be repeated."),
    ],
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    as_user: AsUser = "",
    as_groups: AsGroups = None,
    namespace: Namespace = "",
    output: Annotated[
        CheckFormat, typer.Option("--output", "-o", envvar="CARBONBUDGET_OUTPUT", help="table or json.")
    ] = CheckFormat.TABLE,
    timeout: Timeout = 30,
) -> None:
    """Ask whether carbon budgets would let manifests in. Nothing is created.

    Exit code 0: yes. 3: yes, with a warning. 4: refused by a budget. 5: not answerable. 2: a bad option or
    manifest.
    """
    # Imported here: `--help` should not wait for it, and processes that are no command take 15 MB less.
    from carbonbudget_operator.cli.dry_run_answer import CheckVerdict, DryRunOutcome, worst
    from carbonbudget_operator.cli.dry_run_client import DryRun, DryRunImpossible

    entries = _read(files)
    for entry in entries:
        if namespace and entry.namespace and entry.namespace != namespace:
            fail(f"{entry.title} is of namespace {entry.namespace}, not {namespace}: leave --namespace out", code=2)
    tried, others = to_try(entries)
    who = credentials(kubeconfig, context, UNANSWERABLE, as_user=as_user, as_groups=as_groups or ())

    async def run() -> tuple[list[tuple[ManifestObject, DryRunOutcome]], Sequence[str]]:
        dry_run = DryRun(who, namespace or who.namespace, timeout)
        try:
            await dry_run.check_installation()
            return [pair async for pair in _each(dry_run, tried)], dry_run.notes
        finally:
            await dry_run.close()

    async def _each(
        dry_run: DryRun, entries: Sequence[ManifestObject]
    ) -> AsyncIterator[tuple[ManifestObject, DryRunOutcome]]:
        for entry in entries:
            yield entry, await dry_run.attempt(entry)

    results: list[tuple[ManifestObject, DryRunOutcome]] = []
    notes: Sequence[str] = ()
    try:
        if tried:
            results, notes = asyncio.run(run())
        else:
            notes = ("nothing here makes pods, so no budget has a say",)
    except DryRunImpossible as error:
        results = [(entry, DryRunOutcome(CheckVerdict.UNANSWERABLE, reason=str(error))) for entry in tried]
    verdict = worst(outcome.verdict for _, outcome in results)
    if output is CheckFormat.JSON:
        print(json.dumps(as_json(verdict, results, others, notes, namespace or who.namespace), indent=2))
    else:
        _print(verdict, results, notes)
    raise typer.Exit(CHECK_EXIT_CODES[verdict])


def as_json(
    verdict: CheckVerdict,
    results: Sequence[tuple[ManifestObject, DryRunOutcome]],
    others: Sequence[ManifestObject],
    notes: Sequence[str],
    namespace: str,
) -> dict[str, object]:
    """The answer as a machine reads it (docs/reference/commands.md); `namespace` is where what names none would go."""

    return {
        "verdict": verdict,
        "exitCode": CHECK_EXIT_CODES[verdict],
        "objects": [
            {
                "source": entry.source,
                "kind": entry.kind,
                "name": entry.name,
                "namespace": entry.namespace or namespace,
                "madeBy": entry.made_by,
                "verdict": outcome.verdict,
                "carbon": list(outcome.carbon),
                "figures": list(outcome.figures),
                "warnings": list(outcome.other),
                "reason": outcome.reason,
                "exists": outcome.exists,
            }
            for entry, outcome in results
        ],
        "untried": [{"source": entry.source, "kind": entry.kind, "name": entry.name} for entry in others],
        "notes": list(notes),
    }


def _read(files: Sequence[str]) -> list[ManifestObject]:
    entries: list[ManifestObject] = []
    try:
        for name in files:
            entries += manifests_of(name, _MOST_MIB, "check its objects in smaller files")
    except ManifestError as error:
        fail(str(error), code=2)
    if not entries:
        fail(f"no Kubernetes objects in {', '.join(files)}", code=2)
    return entries


def _print(
    verdict: CheckVerdict, results: Sequence[tuple[ManifestObject, DryRunOutcome]], notes: Sequence[str]
) -> None:
    for entry, outcome in results:
        where = f" in {entry.namespace}" if entry.namespace else ""
        print(printable_cell(f"{outcome.verdict:<13} {entry.title}{where} ({entry.source})"))
        for sentence in outcome.carbon:
            print(f"              {printable_cell(sentence)}")
        for sentence in outcome.figures:
            print(f"              {printable_cell(sentence)}")
        if outcome.reason:
            print(f"              {printable_cell(outcome.reason)}")
        for sentence in outcome.other:
            print(f"              not of carbon: {printable_cell(sentence)}")
        if outcome.exists:
            print("              it exists already")
    for note in notes:
        print(f"note: {printable_cell(note)}", file=sys.stderr)
    if len(results) > 1:
        print(f"together: {verdict}")
