"""`carbonbudget server`: starts the server that stores node reports and answers questions."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import Config, LogFormat, LogLevel, address, code_of, fail, set_up_logging
from carbonbudget_operator.settings import load_settings

_log = logging.getLogger(__name__)


def serve(
    config: Config = None,
    ledger: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_LEDGER", help="SQLAlchemy URL of the ledger.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(envvar="CARBONBUDGET_LISTEN", help="ADDRESS:PORT of the TLS listener.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(envvar="CARBONBUDGET_TLS_CERT", help="PEM certificate chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="CARBONBUDGET_TLS_KEY", help="PEM private key.")] = None,
    cluster: Annotated[str | None, typer.Option(envvar="CARBONBUDGET_CLUSTER", help="This cluster's name.")] = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Receive node reports, keep the ledger, answer queries."""
    set_up_logging(log_level, log_format)
    options = {"ledger": ledger, "listen": listen, "tls_cert": tls_cert, "tls_key": tls_key}
    settings = load_settings(config, {"cluster": cluster, "server": options})
    _log.info("settings: %s", settings.source)
    # Imported here: `--help` and a bad option should not wait for FastAPI.
    import uvloop

    from carbonbudget_operator.carbon.grid_factors import UnknownZone
    from carbonbudget_operator.kube.client import KubeError
    from carbonbudget_operator.ledger.ledger_engine import LedgerError
    from carbonbudget_operator.server.wiring import run
    from carbonbudget_operator.valuation.node_factors import check_all_places

    try:
        check_all_places(settings.carbon)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings, *address(settings.server.listen), log_level, log_format))
    except UnknownZone as error:
        fail(str(error), code=2)
    except (LedgerError, KubeError) as error:
        fail(str(error), code_of(error))
