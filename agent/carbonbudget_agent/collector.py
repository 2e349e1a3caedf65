"""The collector: takes samples, attributes the energy between them, and closes the window when its minute is over.

A window that has ended is closed at once, unless a pod began in it whose name is not known yet: what has no name at the
close is unseen, and a name may come a second after its cgroup. Such a window waits while the next one is open.

Everything that must survive a restart is in `Checkpoint`, which changes only when a window closes. After a kill, the
time since the last closed window is attributed again: from the checkpoint's sample to the first one after the start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from carbonbudget_agent import node_description
from carbonbudget_agent.attribution import AttributedEnergy, share_domain
from carbonbudget_agent.baseline import Baseline
from carbonbudget_agent.checkpoint import Checkpoint
from carbonbudget_agent.clock import Clock
from carbonbudget_agent.device_holders import DeviceHolders
from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import DomainEnergy
from carbonbudget_agent.pods.cgroups import CgroupReader
from carbonbudget_agent.pods.pod_info import PodInfo, PodSource
from carbonbudget_agent.sample import PodLifetime, Sample
from carbonbudget_agent.usage import Usage, usage_between
from carbonbudget_agent.window import NodeIdentity, Window
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeInfo, NodeReport, check_report

_log = logging.getLogger(__name__)
_LATE_MS = 1_000  # a sample this late does not belong to the window that has ended
_NAMES_WAIT_MS = 10_000  # how long a window that has ended waits for the names of pods that began in it


@dataclass(frozen=True, slots=True)
class _EndedWindow:
    """A window that nothing is added to any more, with its last sample and what that one carries over."""

    window: Window
    sample: Sample
    carry_us: Mapping[str, int]


class Collector:
    """One node's measurement."""

    def __init__(
        self,
        identity: NodeIdentity,
        metering: Metering,
        cgroups: CgroupReader,
        source: PodSource,
        procfs: Path,
        window_seconds: int,
        clock: Clock,
        checkpoint: Checkpoint,
        info: Callable[[], NodeInfo],
        counts: WorkCounters,
        holders: DeviceHolders | None = None,
        online: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`online` returns the number of CPUs that are online now; None: not known."""
        self._identity, self._metering, self._cgroups, self._source = identity, metering, cgroups, source
        self._holders, self._online = holders, online
        self._procfs, self._window_s, self._clock = procfs, window_seconds, clock
        self._checkpoint, self._info, self._counts = checkpoint, info, counts
        self._last, self._carry_us = checkpoint.sample, dict(checkpoint.carry_us)
        self._earlier_names = checkpoint.names  # of pods that only an earlier agent found in a list
        self._window: Window | None = None
        self._ended: list[_EndedWindow] = []  # oldest first
        self._blind = self._beyond = False
        self._created_ms: Mapping[str, int] = {}

    def next_tick_ms(self, interval_ms: int) -> int:
        """When to take the next sample: at the next multiple of the interval, or when the window ends."""
        now_ms = self._clock.wall_ms()
        due_ms = (now_ms // interval_ms + 1) * interval_ms
        return min(due_ms, self._window.end * 1000) if self._window else due_ms

    @property
    def unfinished(self) -> bool:
        """Whether a window is not closed yet, as after a late last sample, which ended the window before it."""
        return bool(self._ended) or (self._window is not None and not self._window.empty)

    def tick(self, final: bool = False) -> NodeReport | None:
        """Take one sample. Returns the report of a window that it closed, or None.

        `final` closes a window whatever the time, the present one as a part, and waits for no name.
        """
        began_ms = self._clock.steady_ms()
        sample = self._sample()
        if self._window is not None and not self._belongs(sample):
            self._end_window()
        if self._window is None:
            self._open(sample)
        self._add(sample)
        over = self._window is not None and sample.wall_ms >= self._window.end * 1000
        if over or (final and not self._ended):
            self._end_window()
            if not final:
                self._open(sample)  # at once, so that a sample is due at its end
        closed = self._close() if self._ended and (final or self._may_close(sample)) else None
        self._counts.sampled_ms = self._clock.steady_ms()
        self._counts.sample_ms = self._counts.sampled_ms - began_ms
        return closed

    def peek(self) -> None:
        """Read the CPU time of young pods between two samples: they may have ended at the next one."""
        self._source.expect(self._cgroups.peek())

    def _sample(self) -> Sample:
        cgroups = self._cgroups.read()
        self._counts.cgroup_errors = self._cgroups.errors
        self._source.expect(cgroups.pods)
        self._created_ms = cgroups.created_ms
        busy_us = cgroups.busy_us if cgroups.busy_us is not None else self._busy_us()
        steady_ms = self._clock.steady_ms()
        return Sample(
            wall_ms=self._clock.wall_ms(),
            steady_ms=steady_ms,
            meters=self._metering.read(steady_ms, busy_us, self._last.meters if self._last else {}),
            busy_us=busy_us,
            memory_used_bytes=node_description.memory_bytes(self._procfs)[1],
            parents_us=cgroups.parents_us,
            pods=cgroups.pods,
            ended=cgroups.ended,
            devices={} if self._holders is None else self._holders.devices(self._source.pods(), cgroups.pods),
        )

    def _names(self) -> Mapping[str, PodInfo]:
        """Pods by the uid of their cgroup, pods that only an earlier agent found in a list included."""
        return {**self._earlier_names, **self._source.pods()} if self._earlier_names else self._source.pods()

    def _store(self, sample: Sample) -> None:
        self._checkpoint.sample = sample
        self._checkpoint.names = {uid: pod for uid, pod in self._names().items() if uid in sample.pods}

    def _busy_us(self) -> int:
        """The node's busy time, or the last one while it cannot be read. Raises only at the first sample."""
        try:
            busy_us = node_description.busy_us(self._procfs)
        except (OSError, ValueError) as error:
            if self._last is None:
                raise
            self._counts.node_errors += 1
            if not self._blind:  # once, until it works again
                _log.error("%s; the node's busy time is counted when it can be read again", error)
            self._blind = True
            return self._last.busy_us
        self._blind = False
        return busy_us

    def _belongs(self, sample: Sample) -> bool:
        window = self._window
        assert window is not None
        return window.start * 1000 <= sample.wall_ms < window.end * 1000 + _LATE_MS

    def _open(self, sample: Sample) -> None:
        start = sample.wall_ms // 1000 // self._window_s * self._window_s
        since = start
        if self._last is not None:
            # By the steady clock: setting the wall clock makes no gap.
            elapsed_ms = sample.steady_ms - self._last.steady_ms
            since = min(start, (sample.wall_ms - elapsed_ms) // 1000)
        part = self._checkpoint.next_part(start)
        self._window = Window(start, start + self._window_s, since, part)

    def _add(self, sample: Sample) -> None:
        before, self._last = self._last, sample
        if before is None:  # from here on nothing of this boot is lost, if the checkpoint has it
            self._store(sample)
        if before is None or self._window is None or sample.steady_ms <= before.steady_ms:
            return
        names = self._names()
        usage, self._carry_us = usage_between(before, sample, self._carry_us, self._threads(), self._lives(names))
        if usage.beyond_us:
            self._log_beyond(usage)
        self._window.add(usage, self._share(before, sample, usage), names)

    def _threads(self) -> int:
        """The most logical CPUs that the node may have had since the last sample, those that were added included."""
        info = self._info()
        return max(info.threads, -(-info.allocatable.cpu_millicores // 1000), self._online() or 0)

    def _lives(self, names: Mapping[str, PodInfo]) -> dict[str, PodLifetime]:
        """Starts and ends of pods from the API server; the cgroup's start where that is unknown or later."""
        lives = {uid: pod.life for uid, pod in names.items()}
        for uid, created_ms in self._created_ms.items():
            life = lives.get(uid, PodLifetime())
            if life.started_ms is None or created_ms < life.started_ms:
                lives[uid] = PodLifetime(created_ms, life.ended_ms)
        return lives

    def _log_beyond(self, usage: Usage) -> None:
        self._counts.cpu_beyond += 1
        if not self._beyond:  # once, it is counted
            _log.error(
                "the pods' cgroups show %d ms of CPU time more than the node's %d CPUs have in %d ms: not counted",
                usage.beyond_us // 1000, self._threads(), usage.elapsed_ms,
            )  # fmt: skip
        self._beyond = True

    def _share(self, before: Sample, sample: Sample, usage: Usage) -> list[AttributedEnergy]:
        shares: list[AttributedEnergy] = []
        for domain in self._metering.energies(before.meters, sample.meters, usage.elapsed_ms):
            if domain.elapsed_ms > usage.elapsed_ms and self._window is not None:
                # The meter could not be read for a while: its counter includes the energy since then. The ledger
                # spreads everything in this window over that time.
                self._window.reach_back((sample.wall_ms - domain.elapsed_ms) // 1000)
            shares.append(share_domain(domain, self._idle_uj(domain, before, sample, usage), usage))
        return shares

    def _idle_uj(self, domain: DomainEnergy, before: Sample, sample: Sample, usage: Usage) -> int:
        """The idle energy of a domain: its meter's figure, else the learned one. It may exceed the measured energy."""
        if domain.idle_uj is not None:
            return domain.idle_uj
        use = self._use_permille(domain, before, sample, usage)
        if use is None and domain.kind_idle_uj is not None:
            # Its lowest power may include work, because its use is unknown.
            return domain.kind_idle_uj
        baseline = self._checkpoint.baselines.get(domain.name, Baseline())
        baseline = baseline.seen(domain.energy_uj, domain.elapsed_ms, sample.wall_ms, use or 0)
        self._checkpoint.baselines[domain.name] = baseline
        return baseline.energy_uj(domain.elapsed_ms)

    def _use_permille(self, domain: DomainEnergy, before: Sample, sample: Sample, usage: Usage) -> int | None:
        """How busy a domain was: a device by its own figure (None: unknown), any other by the node's CPUs."""
        device = usage.devices.get(domain.name)
        if device is not None:
            return device.busy_permille
        capacity_ms = max(1, usage.elapsed_ms) * max(1, self._online() or self._info().threads)
        return (sample.busy_us - before.busy_us) // capacity_ms  # us / ms is thousandths

    def _end_window(self) -> None:
        window, self._window = self._window, None
        if window is not None and not window.empty and self._last is not None:
            self._ended.append(_EndedWindow(window, self._last, dict(self._carry_us)))

    def _may_close(self, sample: Sample) -> bool:
        """Whether the oldest window that has ended has waited long enough: its names are known, or time is over."""
        oldest, reported = self._ended[0], self._checkpoint.sample
        if len(self._ended) > 1 or sample.steady_ms - oldest.sample.steady_ms >= _NAMES_WAIT_MS:
            return True
        return not oldest.window.pods - self._names().keys() - (reported.pods.keys() if reported else set())

    def _close(self) -> NodeReport:
        ended = self._ended.pop(0)
        report = ended.window.close(self._identity, self._info(), self._names())
        check_report(report)
        self._store(ended.sample)
        # A pod that was deleted by force may run on for hours: its cgroup still needs the name.
        self._earlier_names = {uid: pod for uid, pod in self._checkpoint.names.items() if uid in self._earlier_names}
        self._checkpoint.carry_us = dict(ended.carry_us)
        self._counts.windows += 1
        return report
