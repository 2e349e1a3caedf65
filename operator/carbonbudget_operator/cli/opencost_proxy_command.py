"""`carbonbudget opencost-proxy`: clients of OpenCost that cannot send a token read what one account may read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import LogFormat, LogLevel, address, code_of, fail, set_up_logging


def opencost_proxy(
    server_url: Annotated[str, typer.Option(envvar="CARBONBUDGET_SERVER_URL", help="The server's URL.")],
    server_ca: Annotated[Path, typer.Option(envvar="CARBONBUDGET_SERVER_CA", help="CA of its certificate.")],
    server_token_file: Annotated[
        Path, typer.Option(envvar="CARBONBUDGET_SERVER_TOKEN_FILE", help="The token that is added to each request.")
    ],
    listen: Annotated[
        str, typer.Option(envvar="CARBONBUDGET_LISTEN", help="ADDRESS:PORT of the listener, without TLS.")
    ] = "127.0.0.1:9003",
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Answer OpenCost's API to clients that send no token.

    It adds one account's token: whoever reaches it reads what that account reads.
    """
    set_up_logging(log_level, log_format)
    if not server_url.startswith("https://"):  # the token would be sent in the clear
        fail(f"server-url must begin with https://, not {server_url!r}", code=2)
    # Imported here: `--help` should not wait for it.
    from carbonbudget_operator.opencost_proxy import run_proxy
    from carbonbudget_operator.server_client import ServerClient
    from carbonbudget_operator.tls import trust_in

    server = ServerClient(server_url, server_token_file, trust_in(server_ca))
    try:
        asyncio.run(run_proxy(server, *address(listen)))
    except OSError as error:
        fail(str(error), code_of(error))
