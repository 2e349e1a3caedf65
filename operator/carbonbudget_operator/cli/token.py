"""`carbonbudget token create, list, revoke`: tokens that read the public API, for tools that keep one for weeks."""

from __future__ import annotations

import csv
import json
import sys
from typing import Annotated, Any, Final

import typer

from carbonbudget_operator.budgets.workload_demand import duration_s
from carbonbudget_operator.cli.answer_source_options import (
    SourceOptions,
    exit_on_unknown_answer,
    exit_without_answer,
    with_source_options,
)
from carbonbudget_operator.cli.common_options import OutputFormat, fail
from carbonbudget_operator.cli.covered_span import date_of
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.csv_text import csv_cells

app = typer.Typer(
    help="Create and revoke tokens that read the public API.",
    no_args_is_help=True,
    add_completion=False,
)
_LEAST_S: Final = 3_600
_MOST_DAYS: Final = 366
_MAX_NAME: Final = 200
_COLUMNS: Final = (
    "id", "name", "namespaces", "created_by", "created_at", "expires_at", "last_used", "revoked_at", "revoked_by",
)  # fmt: skip


@app.command("create")
@with_source_options
def create(
    where: SourceOptions,
    namespaces: Annotated[str, typer.Option(help="What it may read: a,b or * for the whole cluster.")],
    expires: Annotated[str, typer.Option(help="How long it is valid, for example 90d or 1d12h: 1h to 366d.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Create a token and print it. It is shown once: the server stores its hash."""
    names = [one.strip() for one in namespaces.split(",") if one.strip()]
    seconds = duration_s(expires) or 0
    if not names:
        fail("--namespaces must name at least one namespace, for example team-a,team-b", code=2)
    if not _LEAST_S <= seconds <= _MOST_DAYS * 86_400:
        fail(
            f"--expires must be a duration from 1h to {_MOST_DAYS}d, for example 90d or 1d12h, not {expires!r}", code=2
        )
    if len(name) > _MAX_NAME:
        fail(f"--name has at most {_MAX_NAME} characters", code=2)
    with exit_without_answer():
        made = where.server().create_read_token(names, seconds, name)
    with exit_on_unknown_answer():
        line = f"read token {made['id']} for {','.join(made['namespaces'])}, until {date_of(made['expires_at'])}; "
        print(printable_cell(line + "keep it: it is not shown again"), file=sys.stderr)
        for namespace in made["without_pods"]:
            note = (
                f"note: no pod runs in namespace {namespace}: check its spelling; the token shows nothing of it until "
            )
            print(printable_cell(note + "one has run"), file=sys.stderr)
        print(printable_cell(made["token"]))


@app.command("list")
@with_source_options
def list_tokens(
    where: SourceOptions,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table, json or csv.")] = OutputFormat.TABLE,
) -> None:
    """List your tokens, or all of them if you may share all namespaces. One that is over is listed for 90 days."""
    with exit_without_answer():
        found = where.server().read_tokens()
    if output is OutputFormat.JSON:
        print(json.dumps(found, indent=2))
        return
    with exit_on_unknown_answer():
        _print_list(found["items"], output)


@app.command("revoke")
@with_source_options
def revoke(
    where: SourceOptions, number: Annotated[int, typer.Argument(min=1, help="Its number, as `token list` prints it.")]
) -> None:
    """Revoke a token. No server accepts it 10 seconds later."""
    with exit_without_answer():
        gone = where.server().revoke_read_token(number)
    with exit_on_unknown_answer():
        print(f"read token {int(gone['id'])} is revoked; a server may accept it for 10 seconds more")


def _print_list(tokens: list[dict[str, Any]], output: OutputFormat) -> None:
    if output is OutputFormat.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(csv_cells(_cell(one.get(column)) for column in _COLUMNS) for one in tokens)
        return
    if not tokens:
        print("there is no read token: `carbonbudget token create` creates one", file=sys.stderr)
    for one in tokens:
        line = f"{one['id']}  {','.join(one['namespaces'])}  {one['name'] or '-'}  by {one['created_by']}"
        line += f"  until {date_of(one['expires_at'])}"
        line += f"  last used on {date_of(one['last_used'])[:10]}" if one["last_used"] else "  never used"
        if one["revoked_at"]:
            line += f"  revoked on {date_of(one['revoked_at'])} by {one['revoked_by']}"
        print(printable_cell(line))


def _cell(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else value
