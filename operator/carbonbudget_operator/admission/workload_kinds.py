"""The workload kinds that budgets cover, with the paths of their pod template and number of pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.namespace_names import EVERY_NAMESPACE
from carbonbudget_operator.settings import EnforcedKind


@dataclass(frozen=True, slots=True)
class WorkloadKind:
    """One kind. `template` is the path of its pod template, () for the pod itself; `replicas` () for one pod."""

    kind: str
    group: str
    version: str
    resource: str
    template: tuple[str, ...] = ("spec", "template")
    replicas: tuple[str, ...] = ()
    endless: bool = False  # runs until somebody ends it

    @property
    def api_version(self) -> str:
        """As ownerReferences and Events have it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str) -> ApiPath:
        """The path of its objects in a namespace, or in EVERY_NAMESPACE."""
        return ApiPath(self.group, self.version, self.resource, None if namespace == EVERY_NAMESPACE else namespace)


_REPLICAS = ("spec", "replicas")
JOB = WorkloadKind("Job", "batch", "v1", "jobs", replicas=("spec", "parallelism"))
POD = WorkloadKind("Pod", "", "v1", "pods", template=())
REPLICATION_CONTROLLER = WorkloadKind(
    "ReplicationController", "", "v1", "replicationcontrollers", replicas=_REPLICAS, endless=True
)
DEPLOYMENT = WorkloadKind("Deployment", "apps", "v1", "deployments", replicas=_REPLICAS, endless=True)
STATEFUL_SET = WorkloadKind("StatefulSet", "apps", "v1", "statefulsets", replicas=_REPLICAS, endless=True)
# How many pods it gets is not in it: no projection.
DAEMON_SET = WorkloadKind("DaemonSet", "apps", "v1", "daemonsets")
_OWN = (
    JOB,
    POD,
    DEPLOYMENT,
    STATEFUL_SET,
    WorkloadKind("ReplicaSet", "apps", "v1", "replicasets", replicas=_REPLICAS, endless=True),
    REPLICATION_CONTROLLER,
    DAEMON_SET,
)

Shapes = Mapping[tuple[str, str], WorkloadKind]


def workload_kinds(configured: Iterable[EnforcedKind]) -> Shapes:
    """All judged kinds by (API group, plural): Kubernetes' own, and those of the settings."""
    more = (
        WorkloadKind(
            kind.kind,
            kind.group,
            kind.version,
            kind.resource,
            template=tuple(kind.template.split(".")),
            replicas=tuple(kind.replicas.split(".")) if kind.replicas else (),
        )
        for kind in configured
    )
    return {(shape.group, shape.resource): shape for shape in (*more, *_OWN)}
