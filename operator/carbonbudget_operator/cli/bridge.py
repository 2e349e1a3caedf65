"""`carbonbudget bridge`: runs `carbonbudget-bridge` of the client library, where that is installed too."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import fail

PASSED_ON = {"allow_extra_args": True, "allow_interspersed_args": False, "ignore_unknown_options": True}


def bridge(
    tracker: Annotated[str, typer.Argument(help="mlflow, wandb or comet.", show_default=False)],
    options: Annotated[
        list[str] | None, typer.Argument(help="See: carbonbudget-bridge TRACKER --help.", show_default=False)
    ] = None,
) -> None:
    """Write figures to finished runs in MLflow, W&B or Comet.

    It is part of carbonbudget-client, and needs no operator: a team runs it with its own token.
    """
    try:
        command = import_module("carbonbudget.bridge.bridge_command")
    except ImportError:
        fail("carbonbudget-bridge is not installed here: run `pip install ./client` in a checkout")
    raise typer.Exit(command.main([tracker, *(options or ())]))
