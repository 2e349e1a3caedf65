"""Creates the parts of the server process, connects them, and runs the background tasks.

Each part is created here once and gets what it needs as arguments. No part looks up another one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from prometheus_client import CollectorRegistry

from carbonbudget_operator.answers.span_folding import SpanFolding
from carbonbudget_operator.cluster.expected_nodes import NodeLister
from carbonbudget_operator.cluster.node_capacities import NodeCapacities
from carbonbudget_operator.cluster.owner_resolver import OwnerResolver
from carbonbudget_operator.cluster.pods import PODS, PodIndex
from carbonbudget_operator.exports.export_loop import Exports
from carbonbudget_operator.garbage_collection import collect_seldom
from carbonbudget_operator.ingest import connection_limits
from carbonbudget_operator.ingest.burst_reader import BurstReader
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.report_receiver import ReportReceiver
from carbonbudget_operator.ingest.report_verifier import ReportVerifier
from carbonbudget_operator.kube.access_reviews import Access
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.watch_restart import keep_following
from carbonbudget_operator.kube.watch_status import WatchMetrics
from carbonbudget_operator.ledger.ledger_engine import ledger_errors, printable_url
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.unit_store import UnitStore
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server.app import make_app
from carbonbudget_operator.server.background_steps import BackgroundSteps
from carbonbudget_operator.server.emission_metrics import EmissionMetrics
from carbonbudget_operator.server.ledger_answers import LedgerAnswers
from carbonbudget_operator.server.ledger_size_metrics import LedgerSizeMetrics
from carbonbudget_operator.server.log_shortening import shorten_log
from carbonbudget_operator.server.metrics import ServerMetrics
from carbonbudget_operator.server.public.listed_objects import ListedBudgets, ListedTargets
from carbonbudget_operator.server.unit_poller import STEP_SECONDS, UnitPoller
from carbonbudget_operator.server.worker_pools import UPKEEP_THREADS, WorkerPools
from carbonbudget_operator.server.worker_process import Setup
from carbonbudget_operator.server.worker_queue import QuestionQueue
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.tls import follow_certificate, follow_client_ca, server_context
from carbonbudget_operator.valuation.forecast_poller import ForecastPoller
from carbonbudget_operator.valuation.grid_hours import IntensityPoller
from carbonbudget_operator.valued_hours.upkeep import Upkeep
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps

_log = logging.getLogger(__name__)


def make_pools(setup: Setup, registry: CollectorRegistry) -> tuple[WorkerPools, QuestionQueue]:
    """The worker pools of a ledger. No process is started and no connection is opened yet."""
    people = QuestionQueue(setup, registry)
    settings = setup.settings
    return WorkerPools(setup.url, settings, settings.server.max_report_bytes, LedgerAnswers, people), people


async def run(settings: Settings, host: str, port: int, log_level: str, log_format: str) -> None:
    """Run the server until it gets a signal to end. Raises LedgerError, KubeError."""
    server = settings.server
    context = server_context(server.tls_cert, server.tls_key)
    registry = CollectorRegistry()
    pools, people = make_pools(Setup(server.ledger, settings, log_level, log_format), registry)
    # The migration of a large ledger can take minutes, in which nothing listens: the log has to show why.
    _log.info("opening the ledger %s; the server listens when its schema is up to date", printable_url(pools.upkeep))
    _log.info("ledger %s has schema %s", printable_url(pools.upkeep), migrate(pools.upkeep))
    client = KubeClient.from_environment()
    writer = LedgerWriter(pools.ingest, server.max_label_values, server.max_node_watts, server.spans.pods_per_namespace)
    with ledger_errors(pools.ingest):  # before the first report: they decide what of its pods is stored
        writer.load_selected_labels(int(time.time()))
        writer.load_tracked_pods(int(time.time()))
    access = Access(client, server.audience, server.request_header_names if server.request_header_ca else ())
    connection_limits.raise_file_limit()
    burst_reader = BurstReader(context)
    registry.register(ServerMetrics(writer, pools.probes.queries, burst_reader.peers))
    owners = OwnerResolver(pools.upkeep, client, server.owners)
    capacities = NodeCapacities(client)
    pods = PodIndex(
        client,
        registry,
        selected=writer.selected_labels.keys,
        selected_of_several=writer.selected_labels.keys_of_several,
    )
    nodes = NodeLister(
        pools.upkeep, client, settings.cluster, registry, more=server.nodes_without_agent, pods_on=pods.count_on
    )
    WatchMetrics(registry, client.watches)
    emitted = EmissionMetrics(
        pools.book, server.metric_labels, server.metric_values, required_keys=settings.reports.required_labels
    )
    registry.register(emitted)
    size = LedgerSizeMetrics(pools.upkeep)
    registry.register(size)
    grid = IntensityPoller(pools.upkeep, settings, registry)
    forecasts = ForecastPoller(pools.upkeep, settings, registry, grid)
    receiver = ReportReceiver(
        access,
        pools.reports,
        writer,
        settings.cluster,
        server.agent_account,
        server.max_report_bytes,
        server.max_node_watts,
        registry,
        pod_days=server.pod_days,
        on_stored=owners.see,
        verify=ReportVerifier(capacities, pods, registry).verify,
    )
    app = make_app(
        receiver,
        access,
        writer,
        pools,
        registry,
        ListedBudgets(client),
        ListedTargets(client),
        pods_without_agent=lambda: nodes.pods_without_agent,
        namespaces=pods.namespaces,
        want_counters=UnitStore(pools.upkeep, settings.cluster, settings.units.counters_per_namespace).register,
    )
    collect_seldom()
    # The event loop and the writer's thread take turns. Python's 5 ms would give each of them cold CPU caches.
    sys.setswitchinterval(0.05)
    # Upkeep uses asyncio's default threads, and nothing else does.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(UPKEEP_THREADS, thread_name_prefix="upkeep"))
    options = uvicorn.Config(
        connection_limits.BoundedApplication(app),
        host=host,
        port=port,
        http=burst_reader.connection,  # type: ignore[arg-type] # as uvicorn calls it
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # headers that state another client address are not trusted
        backlog=2_048,
        timeout_keep_alive=75,  # longer than a window, so that agents reuse their connection
        timeout_graceful_shutdown=20,
    )
    assert server.tls_cert is not None
    assert server.tls_key is not None
    upkeep = Upkeep(UpkeepSteps(pools.book, server.pod_days, server.keep_months), registry)
    folding = SpanFolding(pools.book, server.spans.window_days, server.spans.result_days, server.pod_days)
    exports = Exports(settings, pools.book, registry)
    units = UnitPoller(settings, registry)
    every = BackgroundSteps(pools.upkeep).every
    tasks = [
        asyncio.create_task(task)
        for task in (
            follow_certificate(context, server.tls_cert, server.tls_key, registry),
            every(30, "valued hours cannot be stored, sealed or deleted", lambda: upkeep.run(int(time.time()))),
            every(30, "hourly intensities cannot be stored", lambda: grid.step(int(time.time()))),
            every(60, "forecasts of the grid cannot be stored", lambda: forecasts.step(int(time.time()))),
            every(
                60,
                "the labels that budgets select by cannot be read",
                lambda: asyncio.to_thread(writer.load_selected_labels, int(time.time())),
            ),
            every(
                60,
                "the pods that post spans cannot be read",
                lambda: asyncio.to_thread(writer.load_tracked_pods, int(time.time())),
            ),
            every(300, "old spans cannot be folded", lambda: asyncio.to_thread(folding.step, int(time.time()))),
            _started(people),
            every(60, "the emissions of the last hour cannot be read for the metrics", emitted.step),
            every(30, "the ledger's write-ahead log cannot be emptied", lambda: shorten_log(pools.upkeep, people)),
            every(60, "the ledger's size cannot be read", size.step),
            every(5, "owners of controllers cannot be stored", owners.step),
            every(5, "nodes cannot be compared with their reports", capacities.step),
            keep_following(client, PODS, pods.run),
            every(60, "labels of pods cannot be read again", pods.read_labels_again),
            every(120, "the list of nodes cannot be stored", lambda: nodes.step(int(time.time()))),
            every(STEP_SECONDS, "units cannot be counted", lambda: units.step(int(time.time()))),
            *exports.tasks(),
        )
    ]
    if server.request_header_ca is not None:
        tasks.append(asyncio.create_task(follow_client_ca(context, server.request_header_ca)))
    try:
        await uvicorn.Server(options).serve()
    finally:
        for task in tasks:
            task.cancel()
        writer.close()
        await client.close()
        people.close()
        exports.close()
        await units.close()
        pools.close()


async def _started(people: QuestionQueue) -> None:
    """Start a worker before the first question, because the first start loads the code."""
    try:
        await people.start()
    except Refusal as refusal:
        _log.error("a process for people's questions cannot be started in advance: %s", refusal.reason)
