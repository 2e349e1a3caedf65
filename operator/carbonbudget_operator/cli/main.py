"""The `carbonbudget` command, put together from its subcommands.

The modules imported here import what is heavy (SQLAlchemy, FastAPI, kopf) when they run: the webhook must
not pay for the ledger.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import metadata

import typer

from carbonbudget_operator.cli import external, ledger, report, settings_check, spans, token
from carbonbudget_operator.cli.admission import admission
from carbonbudget_operator.cli.allocate import allocate
from carbonbudget_operator.cli.bridge import PASSED_ON, bridge
from carbonbudget_operator.cli.card import card
from carbonbudget_operator.cli.check import check
from carbonbudget_operator.cli.command_group import CommandGroup
from carbonbudget_operator.cli.controller import controller
from carbonbudget_operator.cli.estimate import estimate
from carbonbudget_operator.cli.export import export
from carbonbudget_operator.cli.factors import factors
from carbonbudget_operator.cli.gate import gate
from carbonbudget_operator.cli.namespace_usage import usage
from carbonbudget_operator.cli.opencost_proxy_command import opencost_proxy
from carbonbudget_operator.cli.release import release
from carbonbudget_operator.cli.server import serve
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.cli.web import web
from carbonbudget_operator.cli.when import when
from carbonbudget_operator.settings import SettingsError


class _Commands(CommandGroup):
    first = ("check", "usage", "report", "when", "gate", "estimate")  # what teams use
    last = ("server", "controller", "admission", "web", "opencost-proxy")  # processes, which the chart starts


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # its boxes cut long names short, and at 80 columns nothing is wider
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Carbon budgets for Kubernetes: record, allocate and value the emissions of pods, and evaluate budgets.",
)
app.command("server")(serve)
app.command("controller")(controller)
app.command("admission")(admission)
app.command("web")(web)
app.command("allocate")(allocate)
app.command("usage")(usage)
app.command("card")(card)
app.command("gate")(gate)
app.command("check")(check)
app.command("factors")(factors)
app.command("estimate")(estimate)
app.command("when")(when)
app.command("export")(export)
app.command("release")(release)
app.command("opencost-proxy")(opencost_proxy)
app.command("bridge", context_settings=PASSED_ON)(bridge)
app.add_typer(report.app, name="report")
app.add_typer(ledger.app, name="ledger")
app.add_typer(external.app, name="external")
app.add_typer(spans.app, name="spans")
app.add_typer(token.app, name="token")
app.add_typer(settings_check.app, name="settings")


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


@functools.cache
def _command() -> Callable[[], object]:
    """The commands, made of their functions' signatures in a tenth of a second: once where a process runs several."""
    return typer.main.get_command(app)


def main() -> None:
    """Entry point; a setting that cannot be used ends with one line for each defect, and exit code 2."""
    try:
        _command()()
    except SettingsError as error:
        for line in str(error).splitlines():
            print(printable_cell(line), file=sys.stderr)
        sys.exit(2)
