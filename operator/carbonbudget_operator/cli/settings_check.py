"""`carbonbudget settings check`: tries a settings file before a server starts with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
import yaml

from carbonbudget_operator.cli.common_options import address, fail
from carbonbudget_operator.cli.settings_listing import differences
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.settings import parse_settings
from carbonbudget_operator.strict_yaml import StrictLoader

app = typer.Typer(no_args_is_help=True, add_completion=False)
_KEY: Final = "config.yaml"  # of the chart's ConfigMap
_MOST_BYTES: Final = 3 * 2**20  # a ConfigMap has 1 MiB at most


@app.callback()  # without it typer makes the only command the group itself
def _group() -> None:
    """Try a settings file."""


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="Settings file, ConfigMap of the chart, or - for stdin.")],
) -> None:
    """Check a settings file. Nothing is written.

    Server, controller, webhook and `carbonbudget web` would read it in the same way.

    Exit code 0: all of them would start with it. 2: they would not, one line for each defect.
    """
    from carbonbudget_operator.carbon.grid_factors import UnknownZone
    from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
    from carbonbudget_operator.ledger.ledger_engine import printable_url as url_of
    from carbonbudget_operator.valuation.node_factors import check_all_places

    name = "stdin" if file == "-" else file
    settings = parse_settings(_settings_in(_read(file), name), name)
    try:
        check_all_places(settings.carbon)
        engine = open_ledger(settings.server.ledger)  # the URL alone: nothing is opened
    except (UnknownZone, LedgerError) as error:
        fail(f"{name}: {error}", code=2)
    for key, listen in (
        ("server.listen", settings.server.listen),
        ("controller.listen", settings.controller.listen),
        ("admission.listen", settings.admission.listen),
        ("web.listen", settings.web.listen),
        ("web.metrics_listen", settings.web.metrics_listen),
    ):
        address(listen, f"{name}: {key}")
    print(f"{printable_cell(settings.source)} can be used; what differs from the defaults:")
    for key, value in differences(settings):
        print(printable_cell(f"  {key}: {url_of(engine) if key == 'server.ledger' else value}"))
    print("files that it names and addresses are not tried here", file=sys.stderr)


def _read(file: str) -> bytes:
    try:
        if file == "-":
            text = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as source:
                text = source.read(_MOST_BYTES + 1)
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}", code=2)
    if len(text) > _MOST_BYTES:
        fail(f"{file}: more than {_MOST_BYTES} bytes are no settings file", code=2)
    return text


def _settings_in(text: bytes, name: str) -> bytes:
    """The settings themselves: of a ConfigMap, as `helm template` prints it, what it holds."""
    try:
        value = yaml.load(text.decode(), StrictLoader)  # noqa: S506 # a safe loader's subclass
    except (yaml.YAMLError, ValueError, RecursionError):
        return text  # parse_settings says why it is none
    if not isinstance(value, dict) or value.get("kind") != "ConfigMap":
        return text
    data = value.get("data")
    content = data.get(_KEY) if isinstance(data, dict) else None
    if not isinstance(content, str):
        fail(f"{name}: the ConfigMap has no data.{_KEY}: is it carbonbudget-config?", code=2)
    return content.encode()
