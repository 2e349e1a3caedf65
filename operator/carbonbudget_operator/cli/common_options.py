"""Options that several commands share, how their values are read, and how a command reports an error.

Cells and tables are in table_cells.py.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from carbonbudget_operator.api_path import is_label
from carbonbudget_operator.cli.exit_codes import COULD_NOT, WRONG_USE
from carbonbudget_operator.cli.table_cells import printable_cell
from carbonbudget_operator.logs import quieten_libraries, stderr_handler
from carbonbudget_operator.name_rules import no_namespace

Config = Annotated[Path | None, typer.Option("--config", envvar="CARBONBUDGET_CONFIG", help="YAML file of settings.")]
LogLevel = Annotated[
    str, typer.Option("--log-level", envvar="CARBONBUDGET_LOG_LEVEL", help="debug, info, warning or error.")
]
LogFormat = Annotated[
    str, typer.Option("--log-format", envvar="CARBONBUDGET_LOG_FORMAT", help="text or json: one object a line.")
]


class OutputFormat(StrEnum):
    """How a command's answer is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def set_up_logging(level: str, form: str = "text") -> None:
    """One line an event on stderr. Ends the process with exit code 2 for an unknown level or format."""
    if level.lower() not in ("debug", "info", "warning", "error"):
        fail(f"--log-level must be debug, info, warning or error, not {level!r}", code=2)
    if form.lower() not in ("text", "json"):
        fail(f"--log-format must be text or json, not {form!r}", code=2)
    logging.basicConfig(handlers=[stderr_handler(form)], level=level.upper())
    quieten_libraries(level)


def fail(sentence: str, code: int = COULD_NOT) -> NoReturn:
    """Say what is wrong and leave. `sentence` may have several lines."""
    print("\n".join(map(printable_cell, sentence.split("\n"))), file=sys.stderr)
    raise typer.Exit(code)


def check_namespace(option: str, name: str) -> None:
    """Ends the process with exit code 2 where no namespace can have the name that `option` gives."""
    if not is_label(name):
        fail(f"{option}: {no_namespace(name)}", code=2)


def code_of(error: Exception) -> int:
    """The exit code of an error: 2 where what is given cannot be right, 1 where it could not be done."""
    return WRONG_USE if getattr(error, "wrong_use", False) else COULD_NOT


def announce(settings: str, output: OutputFormat | None = None, is_default: bool = False) -> None:
    """Name on stderr the settings that figures follow from; for JSON not: it holds them beside the figures.

    `is_default`: no file was named, and a server's figures may be others.
    """
    if output is not OutputFormat.JSON:
        hint = ": the server's figures may differ, --config or CARBONBUDGET_CONFIG names its file" if is_default else ""
        print(f"settings: {printable_cell(settings)}{hint}", file=sys.stderr)


def address(listen: str, name: str = "listen") -> tuple[str, int]:
    """ "127.0.0.1:8443" as host and port. ":8443" has an empty host: all addresses, IPv4 and IPv6.

    Ends the process with exit code 2 for anything else. `name`: the setting's.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        fail(f"{name} must be ADDRESS:PORT, or :PORT for all addresses, not {listen!r}", code=2)
    return host.removeprefix("[").removesuffix("]"), int(port)


def instant(text: str, option: str) -> int:
    """UTC seconds of a date or an instant; without a zone it is UTC. Ends with exit code 2 for anything else."""
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} must be a date or an instant such as 2026-11-23T18:00:00Z, not {text!r}", code=2)
    seconds = int((value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp())
    if seconds < 0:
        fail(f"{option} must be 1970 or later, not {text!r}", code=2)
    return seconds
