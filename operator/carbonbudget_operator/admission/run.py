"""The process `carbonbudget admission`: listeners, watches, projections and Events in one event loop."""

from __future__ import annotations

import asyncio
import math
import signal
import ssl
import time

from prometheus_client import CollectorRegistry

from carbonbudget_operator.admission.admission_events import AdmissionEvents
from carbonbudget_operator.admission.app import make_app, make_metrics_app
from carbonbudget_operator.admission.budget_cache import BudgetCache
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.admission.projection_cache import ProjectionCache, keep_fetching
from carbonbudget_operator.admission.review_handler import ReviewHandler
from carbonbudget_operator.admission.tracking_handler import CaFile, TrackingHandler
from carbonbudget_operator.admission.workload_cache import WorkloadCache
from carbonbudget_operator.admission.workload_kinds import workload_kinds
from carbonbudget_operator.bounded_listener import ConnectionMetrics, Listener, ListenerBounds
from carbonbudget_operator.garbage_collection import collect_seldom
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.watch_status import WatchMetrics
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import AdmissionSettings, EnforcementSettings
from carbonbudget_operator.tls import follow_certificate, trust_in

Address = tuple[str, int]
# An API server has up to 25 idle connections to each host, and opens one for each further request.
_MOST_CALLERS = 128
_MOST_SCRAPERS = 16


async def run(
    settings: AdmissionSettings,
    enforcement: EnforcementSettings,
    context: ssl.SSLContext,
    listen: Address,
    metrics_listen: Address,
) -> None:
    """Runs the webhook until SIGTERM. Raises KubeError without credentials, OSError if a port is in use."""
    client = KubeClient.from_environment()
    kinds = workload_kinds(enforcement.kinds)
    budgets, workloads, table = BudgetCache(), WorkloadCache(kinds), ProjectionCache()
    registry = CollectorRegistry()
    metrics = AdmissionMetrics(
        registry,
        lambda: _or_nan(table.age_s(int(time.time()))),
        {"budgets": budgets.crowded, "workloads": workloads.crowded},
    )
    WatchMetrics(registry, client.watches)
    events = AdmissionEvents(metrics)
    handler = ReviewHandler(kinds, budgets, workloads, table, enforcement.mode)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tracking = TrackingHandler(settings.server_url, CaFile(settings.server_ca)) if settings.track_pods else None
    app = make_app(handler, budgets, events, metrics, client.watches.current_at, tracking)
    connections = ConnectionMetrics(registry)
    listeners = [
        Listener("reviews", app, ListenerBounds(_MOST_CALLERS), connections, context),
        Listener("metrics", make_metrics_app(registry), ListenerBounds(_MOST_SCRAPERS), connections),
    ]
    for listener, where in zip(listeners, (listen, metrics_listen), strict=True):
        await listener.start(*where)
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    collect_seldom()  # a full collection takes some 20 ms, in which requests wait
    tasks = [
        *budgets.watches(client),
        asyncio.create_task(workloads.follow(client, budgets)),
        asyncio.create_task(events.post(client)),
        asyncio.create_task(follow_certificate(context, settings.tls_cert, settings.tls_key, registry)),
    ]
    if settings.server_ca is not None:
        server = ServerClient(settings.server_url, settings.server_token_file, trust_in(settings.server_ca))
        tasks.append(asyncio.create_task(keep_fetching(table, server)))
    try:
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*tasks, stopped], return_when="FIRST_COMPLETED")
        for task in done - {stopped}:
            await task  # its error ends the process
    finally:
        for task in tasks:
            task.cancel()
        workloads.stop()
        for listener in listeners:
            await listener.close()
        await client.close()


def _or_nan(age_s: int | None) -> float:
    return math.nan if age_s is None else float(age_s)
