"""`carbonbudget controller`: starts the controller that evaluates budgets."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import Config, LogFormat, LogLevel, address, code_of, fail, set_up_logging
from carbonbudget_operator.settings import load_settings


def controller(
    config: Config = None,
    server_url: Annotated[str | None, typer.Option(envvar="CARBONBUDGET_SERVER_URL", help="The server's URL.")] = None,
    server_ca: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_SERVER_CA", help="CA of its certificate.")
    ] = None,
    server_token_file: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_SERVER_TOKEN_FILE", help="Token for it.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_LISTEN", help="ADDRESS:PORT of /healthz and /metrics.")
    ] = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Evaluate budgets each window and write what changed."""
    set_up_logging(log_level, log_format)
    options = {
        "server_url": server_url,
        "server_ca": server_ca,
        "server_token_file": server_token_file,
        "listen": listen,
    }
    settings = load_settings(config, {"controller": options})
    logging.getLogger(__name__).info("settings: %s", settings.source)
    # Imported here: `--help` should not wait for kopf.
    from carbonbudget_operator.controller.run import run
    from carbonbudget_operator.kube.client import KubeError

    host, port = address(settings.controller.listen)  # outside: how typer ends a process is a RuntimeError too
    try:
        asyncio.run(run(settings, host, port))
    except (KubeError, RuntimeError, OSError) as error:
        fail(str(error), code_of(error))
