"""`carbonbudget server`."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carbonbudget_operator.cli.options import Config, LogLevel, address, fail, set_up_logging
from carbonbudget_operator.settings import Settings, load_settings
from carbonbudget_operator.tls import follow_certificate, server_context

if TYPE_CHECKING:
    from carbonbudget_operator.reporting.derive import Deriver

_log = logging.getLogger(__name__)
_KEEP_SECONDS = 30.0


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
) -> None:
    """Receive node reports, keep the ledger, answer queries."""
    set_up_logging(log_level)
    options = {"ledger": ledger, "listen": listen, "tls_cert": tls_cert, "tls_key": tls_key}
    settings = load_settings(config, {"cluster": cluster, "server": options})
    # Imported here: `--help` and a bad option should not wait for FastAPI.
    from carbonbudget_operator.carbon.factors import UnknownZone, check_zone
    from carbonbudget_operator.kube.client import KubeError
    from carbonbudget_operator.ledger.store import LedgerError

    try:
        check_zone(settings.carbon.zone, settings.carbon.basis)
        asyncio.run(_run(settings))
    except (LedgerError, KubeError, UnknownZone) as error:
        fail(str(error))


async def _run(settings: Settings) -> None:
    import uvicorn
    from prometheus_client import CollectorRegistry

    from carbonbudget_operator.ingest.receive import Receiver
    from carbonbudget_operator.kube.access import Access
    from carbonbudget_operator.kube.client import KubeClient
    from carbonbudget_operator.ledger.store import migrate, open_ledger
    from carbonbudget_operator.ledger.writer import Writer
    from carbonbudget_operator.reporting.app import make_app
    from carbonbudget_operator.reporting.book import Book
    from carbonbudget_operator.reporting.derive import Deriver
    from carbonbudget_operator.reporting.grid import GridFollower, follow
    from carbonbudget_operator.reporting.metrics import ServerMetrics
    from carbonbudget_operator.reporting.query import Queries

    server = settings.server
    host, port = address(server.listen)
    context = server_context(server.tls_cert, server.tls_key)
    engine = open_ledger(server.ledger)
    _log.info("ledger %r has schema %s", engine.url, migrate(engine))
    client = KubeClient.from_environment()
    registry = CollectorRegistry()
    writer = Writer(engine)
    access = Access(client, server.audience)
    book = Book(engine, settings)
    queries = Queries(book)
    registry.register(ServerMetrics(writer, queries))
    receiver = Receiver(
        access,
        writer,
        settings.cluster,
        server.agent_account,
        server.max_report_bytes,
        server.max_node_watts,
        registry,
        pod_days=server.pod_days,
    )
    app = make_app(receiver, access, writer, queries, registry, server.max_report_bytes)
    options = uvicorn.Config(
        app,
        host=host,
        port=port,
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=2_000,
        backlog=2_048,
        timeout_keep_alive=75,  # longer than a window: agents keep their connection
        timeout_graceful_shutdown=20,
        # The context is made here, so that a renewed certificate can be loaded into it.
        ssl_context_factory=lambda *_: context,
    )
    assert server.tls_cert is not None
    assert server.tls_key is not None
    grid = asyncio.create_task(follow(GridFollower(engine, settings, registry)))
    keeper = asyncio.create_task(_keep(Deriver(book, server.pod_days, server.keep_months)))
    follower = asyncio.create_task(follow_certificate(context, server.tls_cert, server.tls_key))
    try:
        await uvicorn.Server(options).serve()
    finally:
        follower.cancel()
        keeper.cancel()
        grid.cancel()
        writer.close()
        await client.close()
        engine.dispose()


async def _keep(deriver: Deriver) -> None:
    """Value hours that are over, their days and months, and seal old ones, for ever.

    Questions are answered without it too, only slower.
    """
    failing = False
    while True:
        try:
            now = int(time.time())
            while await asyncio.to_thread(deriver.step, now) is not None:
                failing = False
            while await asyncio.to_thread(deriver.seal, now) is not None:
                failing = False
            await asyncio.to_thread(deriver.drop, now)
        except Exception as error:
            if not failing:  # once, until it works again
                _log.error("valued hours cannot be kept, questions are answered from facts: %s", error)
            failing = True
        await asyncio.sleep(_KEEP_SECONDS)
