"""The workload kinds that budgets cover, with the paths of their pod template and number of pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from carbonbudget_core.jsons import JsonObject, at, whole_number
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.settings import EnforcedKind
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE


@dataclass(frozen=True, slots=True)
class WorkloadKind:
    """One kind of workload.

    `template`: the path of its pod template, () for the pod itself. `replicas`: the path of its number of pods, () for
    one pod. `api_version` as in ownerReferences and Events.
    """

    kind: str
    group: str
    version: str
    resource: str
    template: tuple[str, ...] = ("spec", "template")
    replicas: tuple[str, ...] = ()
    endless: bool = False  # runs until a user ends it

    api_version: str = field(init=False)

    def __post_init__(self) -> None:
        """Sets the apiVersion."""
        object.__setattr__(self, "api_version", f"{self.group}/{self.version}" if self.group else self.version)

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
# It has no number of pods, so that there is no projection for it.
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

WorkloadKinds = Mapping[tuple[str, str], WorkloadKind]


def workload_kinds(configured: Iterable[EnforcedKind]) -> WorkloadKinds:
    """The kinds that budgets cover, by (API group, plural): those of Kubernetes, and those of the settings."""
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
    return {(workload_kind.group, workload_kind.resource): workload_kind for workload_kind in (*more, *_OWN)}


def pods_at_once(found: JsonObject, workload_kind: WorkloadKind) -> int:
    """How many pods run at a time. For a Job not more than its completions, which only an Indexed Job can raise."""
    pods = (
        whole_number(at(found, *workload_kind.replicas[:-1]).get(workload_kind.replicas[-1]), 1)
        if workload_kind.replicas
        else 1
    )
    return min(pods, whole_number(at(found, "spec").get("completions"), pods)) if workload_kind is JOB else pods
