"""`carbonbudget web`: starts the web page."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import Config, LogFormat, LogLevel, address, code_of, fail, set_up_logging
from carbonbudget_operator.settings import load_settings


def web(
    config: Config = None,
    listen: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_LISTEN", help="ADDRESS:PORT of the TLS listener.")
    ] = None,
    metrics_listen: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_METRICS_LISTEN", help="ADDRESS:PORT of /metrics.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_TLS_CERT", help="PEM certificate chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="CARBONBUDGET_TLS_KEY", help="PEM private key.")] = None,
    server_url: Annotated[str | None, typer.Option(envvar="CARBONBUDGET_SERVER_URL", help="The server's URL.")] = None,
    server_ca: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_SERVER_CA", help="CA of its certificate.")
    ] = None,
    cookie_keys: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_COOKIE_KEYS", help="Keys that seal sessions.")
    ] = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Serve budgets and emissions as a page, with sign-in."""
    set_up_logging(log_level, log_format)
    options = {
        "listen": listen,
        "metrics_listen": metrics_listen,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "server_url": server_url,
        "server_ca": server_ca,
        "cookie_keys": cookie_keys,
    }
    settings = load_settings(config, {"web": options})
    logging.getLogger(__name__).info("settings: %s", settings.source)
    own = settings.web
    # Imported here: `--help` should not wait for it.
    import uvloop

    from carbonbudget_operator.tls import server_context
    from carbonbudget_operator.web.run import run

    context = server_context(own.tls_cert, own.tls_key)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(own, context, address(own.listen), address(own.metrics_listen)))
    except OSError as error:
        fail(str(error), code_of(error))
