"""`carbonbudget admission`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from carbonbudget_operator.cli.options import Config, LogLevel, address, fail, set_up_logging
from carbonbudget_operator.settings import load_settings


def admission(
    config: Config = None,
    listen: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_LISTEN", help="ADDRESS:PORT of the TLS listener.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_TLS_CERT", help="PEM certificate chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="CARBONBUDGET_TLS_KEY", help="PEM private key.")] = None,
    log_level: LogLevel = "info",
) -> None:
    """Warn whoever creates work under a budget that warns."""
    set_up_logging(log_level)
    options = {"listen": listen, "tls_cert": tls_cert, "tls_key": tls_key}
    settings = load_settings(config, {"admission": options}).admission
    # Imported here: `--help` should not wait for it.
    from carbonbudget_operator.admission.app import run
    from carbonbudget_operator.kube.client import KubeError
    from carbonbudget_operator.tls import server_context

    context = server_context(settings.tls_cert, settings.tls_key)
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    try:
        asyncio.run(run(*address(settings.listen), context, settings.tls_cert, settings.tls_key))
    except (KubeError, OSError) as error:
        fail(str(error))
