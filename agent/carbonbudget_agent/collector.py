"""The sampling loop's body: look, attribute, sum up; close the window when it is over.

Everything that lasts is in `Progress`, which changes only when a window closes. A tick inside an open
window changes memory alone: after a kill the stretch since the last closed window is attributed again,
from the checkpoint's sample to the first one after the start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from carbonbudget_agent import node
from carbonbudget_agent.attribution import Shares, Usage, share_domain, usage_between
from carbonbudget_agent.baseline import Baseline
from carbonbudget_agent.checkpoint import Checkpoint
from carbonbudget_agent.clock import Clock
from carbonbudget_agent.counts import Counts
from carbonbudget_agent.meters import Meter, MeterError
from carbonbudget_agent.pods.cgroups import CgroupReader
from carbonbudget_agent.pods.info import PodSource
from carbonbudget_agent.report import NodeInfo, NodeReport, check_report
from carbonbudget_agent.sample import Sample
from carbonbudget_agent.window import Identity, Window

_log = logging.getLogger(__name__)
_LATE_MS = 1_000  # a tick this late no longer belongs to the window that is over


class Collector:
    """One node's measurement."""

    def __init__(
        self,
        identity: Identity,
        meter: Meter,
        cgroups: CgroupReader,
        source: PodSource,
        procfs: Path,
        window_seconds: int,
        clock: Clock,
        checkpoint: Checkpoint,
        info: Callable[[], NodeInfo],
        counts: Counts,
    ) -> None:
        self._identity, self._meter, self._cgroups, self._source = identity, meter, cgroups, source
        self._procfs, self._window_s, self._clock = procfs, window_seconds, clock
        self._baselines, self.progress, self._info, self._counts = (
            checkpoint.baselines, checkpoint.progress, info, counts,
        )  # fmt: skip
        self._last, self._carry_us = checkpoint.progress.sample, dict(checkpoint.progress.carry_us)
        self._window: Window | None = None
        self._meter_failed = False

    def next_tick_ms(self, interval_ms: int) -> int:
        """When to look next: at the next multiple of the interval, or when the window ends."""
        now_ms = self._clock.wall_ms()
        due_ms = (now_ms // interval_ms + 1) * interval_ms
        return min(due_ms, self._window.end * 1000) if self._window else due_ms

    def tick(self, final: bool = False) -> NodeReport | None:
        """Look once; the report of the window that this look closed, if it closed one.

        `final` closes the running window as a part, whatever the time.
        """
        began_ms = self._clock.steady_ms()
        sample = self._look()
        closed: NodeReport | None = None
        if self._window is not None and not self._belongs(sample):
            closed = self._close()
        if self._window is None:
            self._open(sample)
        self._book(sample)
        over = self._window is not None and sample.wall_ms >= self._window.end * 1000
        if closed is None and (over or final):
            closed = self._close()
            if not final:
                self._open(sample)  # at once, so that its end is a time to look
        self._counts.sample_ms = self._clock.steady_ms() - began_ms
        return closed

    def _look(self) -> Sample:
        reading = self._cgroups.read()
        busy_us = reading.busy_us if reading.busy_us is not None else node.busy_us(self._procfs)
        try:
            meter = {**self._meter.read(), "busy_us": busy_us}
        except MeterError as error:
            self._failed(error)
            meter = {"busy_us": busy_us}
        return Sample(
            wall_ms=self._clock.wall_ms(),
            steady_ms=self._clock.steady_ms(),
            meter=meter,
            busy_us=busy_us,
            memory_used_bytes=node.memory_bytes(self._procfs)[1],
            parents_us=reading.parents_us,
            pods=reading.pods,
        )

    def _belongs(self, sample: Sample) -> bool:
        window = self._window
        assert window is not None
        return window.start * 1000 <= sample.wall_ms < window.end * 1000 + _LATE_MS

    def _open(self, sample: Sample) -> None:
        start = sample.wall_ms // 1000 // self._window_s * self._window_s
        since = start
        if self._last is not None:
            # By the boot's own clock: a wall clock that was set is no gap.
            elapsed_ms = sample.steady_ms - self._last.steady_ms
            since = min(start, (sample.wall_ms - elapsed_ms) // 1000)
        part = self.progress.next_part(start)
        self._window = Window(start, start + self._window_s, since, part)

    def _book(self, sample: Sample) -> None:
        before, self._last = self._last, sample
        if before is None:  # from here on nothing of this boot is lost, so it is worth a checkpoint
            self.progress.sample = sample
        if before is None or self._window is None or sample.steady_ms <= before.steady_ms:
            return
        usage, self._carry_us = usage_between(before, sample, self._carry_us)
        self._window.add(usage, self._share(before, sample, usage), self._source.pods())

    def _share(self, before: Sample, sample: Sample, usage: Usage) -> list[Shares]:
        try:
            domains = self._meter.energy(before.meter, sample.meter, usage.elapsed_ms)
        except (MeterError, KeyError) as error:
            self._failed(error)
            return []
        self._meter_failed = False
        shares: list[Shares] = []
        for domain in domains:
            baseline = self._baselines.get(domain.name, Baseline())
            if domain.idle_uj is None:
                baseline = baseline.seen(domain.energy_uj, usage.elapsed_ms, sample.wall_ms)
                self._baselines[domain.name] = baseline
            shares.append(share_domain(domain, baseline.energy_uj(usage.elapsed_ms), usage))
        return shares

    def _close(self) -> NodeReport | None:
        window, self._window = self._window, None
        if window is None or window.empty:
            return None
        report = window.close(self._identity, self._info(), self._source.pods())
        check_report(report)
        self.progress.sample, self.progress.carry_us = self._last, dict(self._carry_us)
        self._counts.windows += 1
        return report

    def _failed(self, error: Exception) -> None:
        """Log once until it works again, count always: the stretch has no energy and says so."""
        self._counts.meter_errors += 1
        if not self._meter_failed:
            _log.error("meter %s: %s; this stretch has no figure", self._meter.name, error)
        self._meter_failed = True
