"""`carbonbudget controller`: kopf's watch, the evaluation loop, certificates and the probe in one event loop."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import kopf
from prometheus_client import CollectorRegistry

from carbonbudget_operator.api.wire_names import ENFORCED_KINDS
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.carbon_price import savings_money
from carbonbudget_operator.controller.adjustment_metrics import AdjustmentMetrics
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.certificate_store import CertificateStore
from carbonbudget_operator.controller.credit_loop import CreditLoop
from carbonbudget_operator.controller.evaluation_loop import EvaluationInputs, EvaluationLoop
from carbonbudget_operator.controller.kopf_setup import configure, registry_of
from carbonbudget_operator.controller.liveness_probe import serve_probe
from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.suspension_conflicts import ConflictStore
from carbonbudget_operator.controller.target_loop import TargetLoop
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import TargetStore
from carbonbudget_operator.controller.transfer_loop import TransferLoop
from carbonbudget_operator.controller.watch_audit import WatchAudit
from carbonbudget_operator.controller.watch_proxy import BudgetWatchProxy
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.garbage_collection import collect_seldom
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import SERVICE_ACCOUNT
from carbonbudget_operator.kube.watch_status import WatchMetrics
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import ControllerSettings, Settings, SettingsError
from carbonbudget_operator.tls import trust_in

_log = logging.getLogger(__name__)
_END_SECONDS = 3.0  # for a write that is under way; the kubelet gives 10 s in all
_KOPF_END_SECONDS = 5.0


async def run(whole: Settings, host: str, port: int) -> None:
    """Runs until SIGTERM. Raises KubeError without credentials, SettingsError without a namespace."""
    settings = whole.controller
    client = KubeClient.from_environment()
    registry = CollectorRegistry()
    namespaces = Namespaces(logs_ignored_labels=True)
    seen, metrics = EvaluationInputs(BudgetStore(), namespaces, ConflictStore()), ControllerMetrics(registry)
    WatchMetrics(registry, client.watches)
    keys = None
    if settings.certificates:
        keys = CertificateStore(client, _namespace(settings), settings.agent_namespace, settings.web_certificate)
    server = ServerClient(settings.server_url, settings.server_token_file, _trust(settings.server_ca, keys))
    terms = EnforcementTerms(settings.fresh_for_seconds, acts=whole.enforcement.mode == "Enforce")
    loop = EvaluationLoop(client, server, seen, metrics, settings.window_seconds, terms, kinds=_kinds(whole))
    stop, ready = asyncio.Event(), asyncio.Event()
    feed = BudgetWatchProxy(client)
    await feed.start()
    _on_signals(stop)
    kopf_settings = kopf.OperatorSettings()
    configure(kopf_settings)
    operator = kopf.operator(
        registry=registry_of(seen.budgets, feed),
        settings=kopf_settings,
        clusterwide=True,
        standalone=True,
        # Or kopf looks up our user, and an image has none. Its alias of str is private.
        identity="carbonbudget-controller",  # type: ignore[arg-type] # kopf's own NewType of str
        stop_flag=stop,
        ready_flag=ready,
    )
    targets = TargetStore()
    enforcement = _enforcement(whole, client, server, seen, loop, registry, targets)
    loop.run_events.uids = enforcement.job_uids
    loop.run_events.enforced = enforcement.acts_in
    price = functools.partial(savings_money, settings=whole)
    target_loop = TargetLoop(client, server, targets, namespaces, TargetMetrics(registry), price=price)
    evaluate_soon = seen.budgets.changed.set  # what was booked changes a limit
    booking = AdjustmentMetrics(registry)
    loop.targets = lambda: targets.body if targets.listed() else None
    transfers = TransferLoop(client, server, loop.transfer_figures, evaluate_soon, metrics=booking)
    credit_loop = CreditLoop(
        server,
        lambda: seen.budgets.snapshot().values(),
        lambda: [one.body for one in targets.snapshot().values()],
        evaluate_soon,
        client=client,
        metrics=booking,
    )
    tasks = [
        asyncio.create_task(operator, name="kopf"),
        asyncio.create_task(feed.run(), name="feed"),
        asyncio.create_task(loop.run(), name="evaluation"),
        asyncio.create_task(loop.profiles.run(), name="profiles"),
        asyncio.create_task(seen.namespaces.follow(client), name="namespaces"),
        asyncio.create_task(WatchAudit(client, seen.budgets).run(), name="watch-audit"),
        *([asyncio.create_task(keys.run(), name="certificates")] if keys else []),
        asyncio.create_task(enforcement.run(), name="enforcement"),
        asyncio.create_task(targets.run(client), name="target-watches"),
        asyncio.create_task(target_loop.run(), name="targets"),
        asyncio.create_task(transfers.follow(), name="transfer-watch"),
        asyncio.create_task(transfers.run(), name="transfers"),
        asyncio.create_task(credit_loop.run(), name="credits"),
    ]
    collect_seldom()
    runner = await serve_probe(host, port, registry, tasks)
    signals = asyncio.create_task(_take_back_signals(ready, stop))
    try:
        # Whichever ends first ends the process: the kubelet starts a whole one again.
        done, _ = await asyncio.wait([*tasks, asyncio.create_task(stop.wait())], return_when="FIRST_COMPLETED")
        for task in done:
            # A SIGTERM that kopf took cancels what is younger than it: that is an end, and no failure.
            if not stop.is_set() and not task.cancelled() and task.exception() is not None:
                raise RuntimeError(f"{task.get_name()} ended: {task.exception()}")
    finally:
        # kopf last: it waits 5 s for whatever else is still there.
        await _end([signals, *tasks[1:]])
        await runner.cleanup()
        stop.set()
        await asyncio.wait(tasks[:1], timeout=_KOPF_END_SECONDS)
        await feed.stop()
        await client.close()


def _on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _take_back_signals(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """kopf handles SIGTERM itself once it starts. Take the signal back, so that kopf ends last."""
    await ready.wait()
    _on_signals(stop)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_END_SECONDS)


def _kinds(whole: Settings) -> frozenset[str]:
    return ENFORCED_KINDS | {kind.kind for kind in whole.enforcement.kinds}


def _enforcement(
    whole: Settings,
    client: KubeClient,
    server: ServerClient,
    seen: EvaluationInputs,
    loop: EvaluationLoop,
    registry: CollectorRegistry,
    targets: TargetStore,
) -> EnforcementLoop:
    return EnforcementLoop(
        client,
        server,
        bodies=lambda: {stored.uid: stored.body for stored in seen.budgets.snapshot().values()},
        changed=seen.budgets.moved,
        namespaces=seen.namespaces.labels,
        conflicts=seen.conflicts,
        settings=whole.enforcement,
        exempt=frozenset(whole.enforcement.exempt_namespaces),
        metrics=EnforcementMetrics(registry),
        window_seconds=whole.controller.window_seconds,
        pod_days=whole.server.pod_days,
        is_evaluated=loop.shows_verdict,
        targets=lambda: [one.body for one in targets.snapshot().values()] if targets.listed() else None,
    )


def _trust(ca_file: Path | None, keys: CertificateStore | None) -> Callable[[], str | None]:
    """The CA bundle: the controller's own if it makes certificates, else the file's."""
    if keys is not None:
        return lambda: keys.bundle
    return trust_in(ca_file) if ca_file is not None else lambda: None


def _namespace(settings: ControllerSettings) -> str:
    if settings.namespace:
        return settings.namespace
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text(encoding="ascii").strip()
    except OSError:
        raise SettingsError("controller.namespace is needed outside a cluster") from None
