"""Reports of Jobs' pods, for the tests of runs and projections."""

from __future__ import annotations

from dataclasses import replace

from tests.ledger.reports import a_report

from carbonbudget_core.node_report import DomainUse, NodeReport, PodController, PodRequests


def a_job_report(
    start: int, pods: dict[str, tuple[str, int]], node: str = "n1", namespace: str = "team-a", gpus: int = 0,
    instance_type: str = "", part: int = 0, kind: str = "Job",
) -> NodeReport:  # fmt: skip
    """One window; `pods` are (Job, microjoules) by uid. With `gpus` each pod holds as many, at 50 J idle each."""
    report = a_report(start, node, {uid: uj for uid, (_, uj) in pods.items()}, namespace=namespace, part=part)
    held_uj = gpus * 50_000_000
    usages = tuple(
        replace(
            pod,
            controller=PodController(kind, pods[pod.uid][0], f"uid-{pods[pod.uid][0]}"),
            labels={"app": "nightly"},
            requests=PodRequests(100 * (1 + index), 1000, gpus),
            idle_uj={f"gpu:{index}": held_uj} if gpus else {},
        )
        for index, pod in enumerate(report.pods)
    )
    devices = tuple(
        DomainUse(f"gpu:{index}", "nvml", "board", 60_000, held_uj, 0, 0, 0)
        for index in range(len(usages) if gpus else 0)
    )
    info = replace(
        report.node_info,
        instance_type=instance_type,
        allocatable=replace(report.node_info.allocatable, gpus=gpus * max(1, len(usages))),
    )
    return replace(report, pods=usages, domains=(*report.domains, *devices), node_info=info)
