"""The `carbonbudget` command: one module a subcommand, loaded only when it is the one asked for.

Loading all of them would cost the webhook the ledger's and kopf's memory, so that each subcommand is
named here with its help line and imported on use.
"""

from __future__ import annotations

import sys
from importlib import import_module, metadata

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command

from carbonbudget_operator.settings import SettingsError

# name: module and attribute (a function, or a typer app of subcommands).
_COMMANDS = {
    "server": ("carbonbudget_operator.cli.server", "serve"),
    "controller": ("carbonbudget_operator.cli.controller", "controller"),
    "admission": ("carbonbudget_operator.cli.admission", "admission"),
    "allocate": ("carbonbudget_operator.cli.allocate", "allocate"),
    "ledger": ("carbonbudget_operator.cli.ledger", "app"),
}


class _Commands(TyperGroup):
    """Resolves a subcommand to its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        target = getattr(import_module(module), attribute)
        if isinstance(target, typer.Typer):
            return get_command(target)
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(target)
        return get_command(single)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Carbon budgets for Kubernetes: record, allocate, value and judge what pods emit.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"carbonbudget {metadata.version('carbonbudget')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_show_version, help="Show the version and leave."
    ),
) -> None:
    pass


def main() -> None:
    """Entry point; a setting that cannot be used ends with one line for each defect, and exit code 2."""
    try:
        app()
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
