"""The process `carbonbudget web`: the page over TLS, and its metrics, in one event loop."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from carbonbudget_operator.garbage_collection import collect_seldom
from carbonbudget_operator.ingest.burst_reader import BurstReader
from carbonbudget_operator.ingest.connection_limits import BoundedApplication
from carbonbudget_operator.ingest.connection_peers import ConnectionPeers
from carbonbudget_operator.settings import SettingsError
from carbonbudget_operator.tls import follow_certificate, follow_client_ca, trust_in
from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.attempt_limits import AttemptLimits
from carbonbudget_operator.web.cookie_keys import follow_keys, make_key, read_keys
from carbonbudget_operator.web.guard import Guard
from carbonbudget_operator.web.metrics import WebMetrics
from carbonbudget_operator.web.probes_and_host_check import ProbesAndHostCheck, metrics_app
from carbonbudget_operator.web.proxy_guard import ProxyGuard
from carbonbudget_operator.web.security_headers import SecurityHeaders
from carbonbudget_operator.web.server_gateway import ClientPair, ServerGateway
from carbonbudget_operator.web.session_cookie import SessionSealer
from carbonbudget_operator.web.token_guard import TokenGuard
from carbonbudget_operator.web_settings import WebSettings

Address = tuple[str, int]
# An eighth of the connections may be of addresses that are no node and no known user; here all are.
_MOST_VISITORS: Final = 256
_MOST_SCRAPERS: Final = 16
_PEERS_SHARE: Final = 8
_MOST_REQUESTS: Final = 64
_END_SECONDS: Final = 5
# Garbage is collected after so many new objects. With 100,000, as in the other processes, the page took 6 MiB more.
_UNCOLLECTED_OBJECTS: Final = 5_000


async def run(settings: WebSettings, context: ssl.SSLContext, listen: Address, metrics_listen: Address) -> None:
    """Run the page until SIGTERM. Raises OSError if a port is in use, SettingsError without CA or valid keys."""
    if settings.server_ca is None:
        raise SettingsError("web.server_ca is needed: set --server-ca")
    registry = CollectorRegistry()
    metrics = WebMetrics(registry)
    gateway = ServerGateway(settings.server_url, trust_in(settings.server_ca), metrics, _pair(settings))
    keys = [make_key()] if settings.cookie_keys is None else read_keys(settings.cookie_keys)
    sealer = SessionSealer(keys, settings.session_seconds)
    limits = AttemptLimits(settings.failed_sign_ins, settings.failed_sign_ins_each)
    guard: Guard = TokenGuard(gateway, sealer, limits, metrics, settings.session_seconds)
    if settings.proxy_ca is not None:
        guard = ProxyGuard(guard, settings.proxy_names, settings.proxy_user_header, settings.proxy_groups_header)
    pages = BoundedApplication(make_app(gateway, guard), _MOST_REQUESTS)
    # The headers are outermost, so that a refusal has them too.
    served = SecurityHeaders(ProbesAndHostCheck(pages, settings.hosts, gateway.ready, metrics))
    visitors = ConnectionPeers(_MOST_VISITORS * _PEERS_SHARE)
    scrapers = ConnectionPeers(_MOST_SCRAPERS * _PEERS_SHARE)
    servers = [
        _server(served, listen, BurstReader(context, visitors)),
        _server(metrics_app(registry), metrics_listen, BurstReader(None, scrapers)),
    ]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    tasks = [asyncio.create_task(follow_certificate(context, settings.tls_cert, settings.tls_key, registry))]
    if settings.proxy_ca is not None:
        tasks.append(asyncio.create_task(follow_client_ca(context, settings.proxy_ca)))
    if settings.cookie_keys is not None:
        tasks.append(asyncio.create_task(follow_keys(settings.cookie_keys, sealer)))
    collect_seldom(_UNCOLLECTED_OBJECTS)
    try:
        await asyncio.gather(*(server.serve() for server in servers))
    finally:
        for task in tasks:
            task.cancel()
        await gateway.close()


def _pair(settings: WebSettings) -> ClientPair | None:
    if settings.client_cert is None or settings.client_key is None:
        return None
    return ClientPair(settings.client_cert, settings.client_key)


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has two servers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: ASGIApp, address: Address, reader: BurstReader) -> uvicorn.Server:
    host, port = address
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=reader.connection,  # type: ignore[arg-type] # as uvicorn calls it
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # headers that state another client address are not trusted
            backlog=128,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_END_SECONDS,
        )
    )
