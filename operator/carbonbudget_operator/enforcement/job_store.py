"""Keeps all Jobs of the cluster in memory, and with Kueue its Workloads, by watches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.api.wire_names import FINAL_ANNOTATION
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.job_fields import Job, parse_job
from carbonbudget_operator.enforcement.kueue import KueueWorkload, jobs_with_workloads, parse_workload
from carbonbudget_operator.kube.client import KubeClient

JOBS: Final = ApiPath("batch", "v1", "jobs")
_MAX_DEPARTED: Final = 10_000


@dataclass(slots=True)
class JobStore:
    """All Jobs by uid. `changed` is set when a Job changed that budgets may act on. One event loop, so no lock."""

    jobs: dict[str, Job] = field(default_factory=dict)
    deleted: dict[str, Job] = field(default_factory=dict)
    """Jobs that finished and were deleted before their final figures (ttlSecondsAfterFinished); the ledger has them."""
    deleted_dropped: int = 0
    """How many more of them there were than are kept."""
    listed: bool = False
    """Whether all Jobs have been listed once. Before that, a Job that is not here may exist."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    wishes_changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a Job changed whose owner wishes its start to be chosen."""
    workloads: dict[str, KueueWorkload] = field(default_factory=dict)
    """Kueue's Workloads of Jobs, by the Workload's uid; empty unless enforcement.kueue is set."""

    def suspension_candidates(self) -> list[Job]:
        """All Jobs, and each Job with a Workload of Kueue once more, with the state and marks of the Workload."""
        return [*self.jobs.values(), *jobs_with_workloads(self.jobs, self.workloads.values())]

    async def follow_workloads(self, client: KubeClient, path: ApiPath) -> None:
        """Watch Kueue's Workloads at `path`; never returns."""
        seen: set[str] = set()
        async for event, body in client.watch(path):
            if event == "LISTING":
                seen = set()
            elif event == "LISTED":
                self.workloads = {uid: workload for uid, workload in self.workloads.items() if uid in seen}
            elif body is not None and (workload := parse_workload(body)) is not None:
                seen.add(workload.uid)
                if event == "DELETED":
                    self.workloads.pop(workload.uid, None)
                else:
                    self.workloads[workload.uid] = workload
            self.changed.set()

    async def follow(self, client: KubeClient) -> None:
        """Watch the Jobs; never returns."""
        seen: set[str] = set()
        listing = False
        async for event, body in client.watch(JOBS):
            if event == "LISTING":
                listing, seen = True, set()
            elif event == "LISTED":
                for uid in self.jobs.keys() - seen:  # deleted while there was no watch
                    self._record_deletion(uid)
                listing, self.listed = False, True
                self.changed.set()
                self.wishes_changed.set()
            elif body is not None:
                job = parse_job(body)
                if event == "DELETED":
                    self.jobs[job.uid] = job  # its last state
                    self._record_deletion(job.uid)
                    continue
                if listing:
                    seen.add(job.uid)
                self.put(job)

    def put(self, job: Job) -> None:
        """Store a Job that exists."""
        self.jobs[job.uid] = job
        if job.opted_in or job.marked:
            self.changed.set()
        if job.wish is not None:
            self.wishes_changed.set()

    def forget(self, uid: str) -> None:
        """Remove a Job or Workload that a write did not find."""
        self.jobs.pop(uid, None)
        self.workloads.pop(uid, None)

    def _record_deletion(self, uid: str) -> None:
        job = self.jobs.pop(uid)
        if not job.finished_at or FINAL_ANNOTATION in job.annotations:
            return
        if len(self.deleted) >= _MAX_DEPARTED:
            self.deleted_dropped += 1
        else:
            self.deleted[uid] = job
