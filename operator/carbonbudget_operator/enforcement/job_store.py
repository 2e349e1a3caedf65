"""All Jobs of the cluster, by a watch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.api.resource_names import FINAL_ANNOTATION
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.enforcement.job import Job, parse_job
from carbonbudget_operator.enforcement.kueue import KueueWorkload, jobs_with_workloads, parse_workload
from carbonbudget_operator.kube.client import KubeClient

JOBS: Final = ApiPath("batch", "v1", "jobs")
_MAX_DEPARTED: Final = 10_000


@dataclass(slots=True)
class JobStore:
    """All Jobs by uid. `changed` rings when one changed that budgets may act on; one event loop, so no lock."""

    jobs: dict[str, Job] = field(default_factory=dict)
    departed: dict[str, Job] = field(default_factory=dict)
    """Finished, and deleted before their figures could be told (ttlSecondsAfterFinished); the ledger has them."""
    departed_dropped: int = 0
    listed: bool = False
    """Whether all Jobs have been seen once; before that none is missing, just unknown."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    workloads: dict[str, KueueWorkload] = field(default_factory=dict)
    """Kueue's, of Jobs, by their own uid; empty unless enforcement.kueue is set."""

    def acted_on(self) -> list[Job]:
        """All Jobs, and those that Kueue manages once more as their Workloads have them."""
        return [*self.jobs.values(), *jobs_with_workloads(self.jobs, self.workloads.values())]

    async def follow_workloads(self, client: KubeClient, path: ApiPath) -> None:
        """Keep Kueue's Workloads, for ever."""
        seen: set[str] = set()
        async for event, body in client.watch(path):
            if event == "LISTING":
                seen = set()
            elif event == "LISTED":
                self.workloads = {uid: one for uid, one in self.workloads.items() if uid in seen}
            elif body is not None and (workload := parse_workload(body)) is not None:
                seen.add(workload.uid)
                if event == "DELETED":
                    self.workloads.pop(workload.uid, None)
                else:
                    self.workloads[workload.uid] = workload
            self.changed.set()

    async def follow(self, client: KubeClient) -> None:
        """Keep it filled, for ever."""
        seen: set[str] = set()
        listing = False
        async for event, body in client.watch(JOBS):
            if event == "LISTING":
                listing, seen = True, set()
            elif event == "LISTED":
                for uid in self.jobs.keys() - seen:  # deleted while nobody watched
                    self._gone(uid)
                listing, self.listed = False, True
                self.changed.set()
            elif body is not None:
                job = parse_job(body)
                if event == "DELETED":
                    self.jobs[job.uid] = job  # its last state
                    self._gone(job.uid)
                    continue
                if listing:
                    seen.add(job.uid)
                self.seen(job)

    def seen(self, job: Job) -> None:
        """One that is there."""
        self.jobs[job.uid] = job
        if job.opted_in or job.marked:
            self.changed.set()

    def forget(self, uid: str) -> None:
        """A write found it gone."""
        self.jobs.pop(uid, None)
        self.workloads.pop(uid, None)

    def _gone(self, uid: str) -> None:
        job = self.jobs.pop(uid)
        if not job.finished_at or FINAL_ANNOTATION in job.annotations:
            return
        if len(self.departed) >= _MAX_DEPARTED:
            self.departed_dropped += 1
        else:
            self.departed[uid] = job
