"""`carbonbudget-agent run`: creates meters, pod source, collector, checkpoint, outbox and sender, and runs the loop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from carbonbudget_agent import node_description
from carbonbudget_agent.checkpoint import Checkpoint, DurableProgress, load_checkpoint
from carbonbudget_agent.clock import Clock, SystemClock
from carbonbudget_agent.collector import Collector
from carbonbudget_agent.device_holders import DeviceHolders
from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import Meter
from carbonbudget_agent.meters.detect import choose_meters, detect_meters
from carbonbudget_agent.meters.nvml_meter import NvmlMeter
from carbonbudget_agent.online_cpus import online_cpus
from carbonbudget_agent.outbox import Outbox
from carbonbudget_agent.pods.cgroups import CgroupError, CgroupReader
from carbonbudget_agent.pods.kubelet import TIMEOUT_SECONDS, KubeletPods
from carbonbudget_agent.pods.pod_file import FilePods
from carbonbudget_agent.pods.pod_info import PodSource
from carbonbudget_agent.pods.pod_watch import WatchedPods
from carbonbudget_agent.sender import Sender
from carbonbudget_agent.window import NodeIdentity
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeReport
from carbonbudget_core.node_report_json import encode_report

_log = logging.getLogger(__name__)
_FIRST_LIST_SECONDS = 10.0  # how long the start waits for the API server's answer
_LAST_SEND_SECONDS = 5.0
_KEEP_SECONDS = 7 * 86_400  # how long the outbox stores reports while no server accepts them
_PEEK_MS = 1_000  # a pod lives longer than this, sandbox and clean-up included


def run(options: argparse.Namespace, on_stop: Callable[[Callable[[], None]], None]) -> int:
    """Measure until the process is stopped or `--windows` windows are closed.

    Raises:
        OSError, ValueError, RuntimeError: the agent cannot start; the message says what to do.
    """
    clock, counts = SystemClock(), WorkCounters()
    on_stop(clock.stop)
    _raise_file_limit()
    boot_id = node_description.boot_id(options.procfs)
    facts = _node_facts(options, clock)
    detections = detect_meters(options.sysfs, options.procfs, _instance_type(options, facts), options.calibration)
    meters = choose_meters(detections)
    for detection in detections:
        _log.info("meter %s: %s", detection.name, detection.reason)
    try:
        cgroups = CgroupReader(options.cgroup_root)
    except CgroupError as error:
        raise RuntimeError(str(error)) from None
    outbox = None if options.dry_run else Outbox(options.outbox, counts, max_reports=_KEEP_SECONDS // options.window)
    path = Path() if outbox is None else outbox.directory / "checkpoint.json"
    checkpoint = Checkpoint(boot_id) if outbox is None else load_checkpoint(path, boot_id)
    source = _pod_source(options, counts)
    collector = Collector(
        identity=NodeIdentity(options.cluster, options.node_name, boot_id),
        metering=Metering(meters, counts),
        cgroups=cgroups,
        source=source,
        procfs=options.procfs,
        window_seconds=options.window,
        clock=clock,
        checkpoint=checkpoint,
        info=facts,
        counts=counts,
        holders=_holders(options, meters, counts),
        online=partial(online_cpus, options.sysfs),
    )
    progress = None if outbox is None else DurableProgress(checkpoint, path, outbox, counts)
    sender = None if outbox is None else _sender(options, outbox, counts)
    handlers = _handlers(options, clock, counts, outbox, progress, sender)
    try:
        _loop(options, clock, counts, collector, progress, handlers)
    finally:
        if sender is not None:
            sender.finish(_LAST_SEND_SECONDS)
        source.close()
    return 0


def _raise_file_limit() -> None:
    """Up to three files a pod stay open; a container's soft limit may be 1,024, its hard limit is higher."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop(
    options: argparse.Namespace,
    clock: Clock,
    counts: WorkCounters,
    collector: Collector,
    progress: DurableProgress | None,
    handle: Callable[[NodeReport], None],
) -> None:
    collector.tick()
    if progress is not None:
        progress.store(None)  # from now on a kill loses nothing
    while not (options.windows and counts.windows >= options.windows):
        stopping = _wait(clock, collector, options.interval * 1000)
        report = collector.tick(final=stopping)
        if report is not None:
            handle(report)
        if stopping:
            last = collector.tick(final=True) if collector.unfinished else None
            if last is not None:
                handle(last)
            return


def _wait(clock: Clock, collector: Collector, interval_ms: int) -> bool:
    """Wait until the next sample is due and read young pods each second. True if the agent is to stop.

    The due time is wall time. The wait is by the steady clock, which cannot be set back.
    """
    due_ms = clock.steady_ms() + collector.next_tick_ms(interval_ms) - clock.wall_ms()
    while True:
        left_ms = due_ms - clock.steady_ms()
        if clock.wait(min(left_ms, _PEEK_MS)):
            return True
        if left_ms <= _PEEK_MS:
            return False
        collector.peek()


def _holders(options: argparse.Namespace, meters: list[Meter], counts: WorkCounters) -> DeviceHolders | None:
    """The source of the GPUs' holders; None on a node without a GPU."""
    meter = next((meter for meter in meters if isinstance(meter, NvmlMeter)), None)
    if meter is None:
        return None
    # Imported here: only a node with GPUs needs memory for HTTP/2.
    from carbonbudget_agent.pods.pod_resources_socket import PodResources

    return DeviceHolders(meter.gpus, PodResources(options.pod_resources_socket), options.procfs, counts)


def _handlers(
    options: argparse.Namespace,
    clock: Clock,
    counts: WorkCounters,
    outbox: Outbox | None,
    progress: DurableProgress | None,
    sender: Sender | None,
) -> Callable[[NodeReport], None]:
    """What to do with a closed window: print it, or store, send and export it."""
    add: Callable[[NodeReport], None] | None = None
    if options.metrics_listen:
        # Imported here: it uses memory only if metrics are on.
        from carbonbudget_agent.exporter import Exporter
        from carbonbudget_agent.liveness import Liveness

        exporter = Exporter(counts, outbox)
        host, port = options.metrics_listen
        exporter.serve(host, port, Liveness(counts, clock, options.window))
        add = exporter.add

    def handle(report: NodeReport) -> None:
        if progress is None:
            sys.stdout.write(encode_report(report) + "\n")
            sys.stdout.flush()
        else:
            progress.store(report)
        if sender is not None:
            sender.wake()
        if add is not None:
            add(report)

    return handle


def _sender(options: argparse.Namespace, outbox: Outbox, counts: WorkCounters) -> Sender:
    server = Endpoint(options.server_url, options.server_token_file, options.server_ca)
    return Sender(server, outbox, counts, options.node_name, spread_seconds=min(8.0, options.window / 8))


def _api(options: argparse.Namespace) -> Endpoint | None:
    if not options.api_url:
        return None
    return Endpoint(options.api_url, options.api_token_file, options.api_ca)


def _pod_source(options: argparse.Namespace, counts: WorkCounters) -> PodSource:
    if options.pods_file:
        return FilePods(options.pods_file, options.node_name, counts)
    if options.kubelet_url:
        kubelet = Endpoint(
            options.kubelet_url, options.kubelet_token_file, options.kubelet_ca, TIMEOUT_SECONDS,
            verify=not options.kubelet_insecure_skip_verify,
        )  # fmt: skip
        return KubeletPods(kubelet, options.node_name, counts)
    api = _api(options)
    assert api is not None
    watched = WatchedPods(api, options.node_name, counts)
    if not watched.wait_listed(_FIRST_LIST_SECONDS):
        _log.warning("no list of pods yet; energy of pods without a name is counted as unseen")
    return watched


def _node_facts(options: argparse.Namespace, clock: Clock) -> node_description.NodeInfoSource:
    api = None if options.pods_file else _api(options)
    return node_description.NodeInfoSource(api, options.node_name, node_description.local_info(options.procfs), clock)


def _instance_type(options: argparse.Namespace, facts: node_description.NodeInfoSource) -> str:
    """The given type, else the API server's, which the start waits for, because the model may need it."""
    return options.instance_type or facts.wait(_FIRST_LIST_SECONDS).instance_type
