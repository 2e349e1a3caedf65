"""The option that names the service account whose token asks the server, and how its value is read."""

from __future__ import annotations

from typing import Annotated

import typer

from carbonbudget_operator.api_path import is_subdomain
from carbonbudget_operator.cli.common_options import check_namespace, fail

ServiceAccount = Annotated[
    str,
    typer.Option(
        "--service-account",
        metavar="NAMESPACE/NAME",
        help="Whose token asks the server.  [default: carbonbudget-reports of the chart's namespace]",
    ),
]


def parse_service_account(given: str) -> tuple[str, str] | None:
    """Namespace and name; None where nothing is given. Ends the process with exit code 2 for anything else."""
    if not given:
        return None
    space, slash, name = given.partition("/")
    if not (space and slash and name):
        fail(f"--service-account must be NAMESPACE/NAME, for example team-a/default, not {given!r}", code=2)
    check_namespace("--service-account", space)
    if not is_subdomain(name):
        fail(f"--service-account: {name!r} is not a valid name", code=2)
    return space, name
