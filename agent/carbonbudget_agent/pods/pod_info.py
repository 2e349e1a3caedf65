"""What the agent stores of a pod: name, owner, labels, requests. Parsed from the API's JSON.

The pod of a cgroup follows from fields that only the API server and the kubelet write: the pod's uid, and the status.
Fields that a tenant can write decide nothing here; docs/design/2026-11-29-pod-identity.md gives the reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from carbonbudget_agent.json_stream import Each, Parts
from carbonbudget_agent.pods.pod_lifetime import FINISHED, life_of
from carbonbudget_agent.sample import PodLifetime
from carbonbudget_core.jsons import mapping, objects, text
from carbonbudget_core.node_report import MAX_INTEGER, MAX_LABELS, MAX_TEXT, PodController, PodRequests
from carbonbudget_core.pod_requests import pod_requests

# Labels that a controller makes for each pod or revision: no person groups by them, and each value would
# be a label set of its own in the ledger.
_GENERATED = frozenset({
    "pod-template-hash",
    "pod-template-generation",
    "controller-uid",
    "controller-revision-hash",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "apps.kubernetes.io/pod-index",
    "statefulset.kubernetes.io/pod-name",
})  # fmt: skip
_CONFIG_MIRROR = "kubernetes.io/config.mirror"
_AMOUNTS: Final[Mapping[str, Parts]] = {"cpu": None, "memory": None, "nvidia.com/gpu": None}
_RESOURCES: Final[Mapping[str, Parts]] = {"requests": _AMOUNTS, "limits": _AMOUNTS}
_CONTAINERS: Final = Each(
    {"name": None, "restartPolicy": None, "resources": _RESOURCES}, lambda container: bool(container.get("resources"))
)
_STATUSES: Final = Each(
    {
        "name": None,
        "resources": _RESOURCES,
        "allocatedResources": _AMOUNTS,
        "state": {"terminated": {"finishedAt": None}},
    },
    lambda status: bool(status.get("resources") or status.get("state", {}).get("terminated")),
)
# What `parse_pod` reads, for a pod that is too large to be decoded whole.
POD_PARTS: Final[Mapping[str, Parts]] = {
    "metadata": {
        **dict.fromkeys(("uid", "name", "namespace", "resourceVersion", "deletionTimestamp")),
        "labels": MAX_LABELS + len(_GENERATED),
        "annotations": {_CONFIG_MIRROR: None},
        "ownerReferences": Each(
            dict.fromkeys(("apiVersion", "kind", "name", "uid", "controller")),
            lambda owner: owner.get("controller") is True,
        ),
    },
    "spec": {
        "containers": _CONTAINERS,
        "initContainers": _CONTAINERS,
        "resources": _RESOURCES,
        "overhead": _AMOUNTS,
    },
    "status": {
        **dict.fromkeys(("phase", "startTime")),
        "conditions": Each(
            dict.fromkeys(("type", "reason")), lambda condition: condition.get("type") == "PodResizePending"
        ),
        "containerStatuses": _STATUSES,
        "initContainerStatuses": _STATUSES,
    },
}


@dataclass(frozen=True, slots=True)
class PodInfo:
    """One pod. `cgroup_uid` is the uid its cgroup carries: the config hash for a static pod's mirror, else its own.

    `acknowledged`: the node's kubelet has written its status, so it saw the pod. `gone`: no list names it any more;
    its containers may still run, as after a deletion by force.
    """

    uid: str
    cgroup_uid: str
    namespace: str
    name: str
    controller: PodController | None
    labels: Mapping[str, str]
    requests: PodRequests
    finished: bool = field(default=False, compare=False)  # its containers have ended for good; it may stay listed
    acknowledged: bool = field(default=False, compare=False)
    gone: bool = field(default=False, compare=False)
    life: PodLifetime = field(default=PodLifetime(), compare=False)


class PodSource(Protocol):
    """A source of the node's pods: the API server, the kubelet or a file."""

    def pods(self) -> Mapping[str, PodInfo]:
        """Pods by the uid of their cgroup, those that ended a short while ago included.

        A pod is found by its own uid too, whatever its `cgroup_uid` is.
        """

    def expect(self, uids: Collection[str]) -> None:
        """These cgroups were just seen: their pods are remembered, and unknown ones are asked for sooner."""

    def close(self) -> None:
        """End the source's background work."""


def info_to_json(pod: PodInfo) -> list[object]:
    """For the checkpoint: `info_from_json` reads it back to an equal one."""
    owner = pod.controller and [pod.controller.kind, pod.controller.name, pod.controller.uid]
    requests = [pod.requests.cpu_millicores, pod.requests.memory_bytes, pod.requests.gpus]
    return [pod.uid, pod.cgroup_uid, pod.namespace, pod.name, owner, dict(pod.labels), requests]


def info_from_json(value: list[Any]) -> PodInfo:
    """The inverse of `info_to_json`. ValueError, TypeError or AttributeError for anything else."""
    uid, cgroup_uid, namespace, name, owner, labels, requests = value
    texts = [uid, cgroup_uid, namespace, name, *(owner or ()), *labels, *labels.values()]
    if not all(type(text) is str and _reportable(text) for text in texts) or not (uid and namespace and name):
        raise ValueError("a field of a pod is not a text")
    if not all(type(amount) is int and 0 <= amount <= MAX_INTEGER for amount in requests) or len(labels) > MAX_LABELS:
        raise ValueError("a pod's requests or labels are not valid")
    return PodInfo(
        uid, cgroup_uid, namespace, name, PodController(*owner) if owner else None, labels, PodRequests(*requests)
    )


def parse_pod(value: Mapping[str, object], node: str = "") -> PodInfo:
    """One pod of the API's JSON, on the node of this name; without a name no pod counts as the mirror of a static pod.

    ValueError for what is no pod; odd quantities count as 0.
    """
    metadata, status = mapping(value.get("metadata")), mapping(value.get("status"))
    uid, name, namespace = (text(metadata.get(key)) for key in ("uid", "name", "namespace"))
    if not (uid and name and namespace):
        raise ValueError("a pod has a uid, a name and a namespace")
    if not all(map(_reportable, (uid, name, namespace))):
        raise ValueError("a pod's uid, name and namespace are printable and not longer than 512 characters")
    labels = {
        key: text(value)
        for key, value in sorted(mapping(metadata.get("labels")).items())
        if key not in _GENERATED and _reportable(key) and _reportable(text(value))
    }
    return PodInfo(
        uid=uid,
        cgroup_uid=_static_hash(metadata, status, node) or uid,
        namespace=namespace,
        name=name,
        controller=_controller(metadata.get("ownerReferences")),
        labels=dict(list(labels.items())[:MAX_LABELS]),
        requests=pod_requests(mapping(value.get("spec")), status),
        finished=status.get("phase") in FINISHED,
        acknowledged=bool(status.get("startTime")),
        life=life_of(status),
    )


def _static_hash(metadata: Mapping[str, object], status: Mapping[str, object], node: str) -> str:
    """The config hash, which a static pod's cgroup is named after; empty for every pod but this node's own mirror pods.

    Annotation and owner are what NodeRestriction demands of a kubelet that makes a mirror pod. It demands them of
    kubelets alone: whoever may create pods can write both. The proof is `status.startTime`. The kubelet writes it for
    the mirror of a static pod that it runs, for no other mirror pod, and nobody else may write a status. The hash is
    read from `config.mirror`, which the kubelet compares and nobody can change later, unlike `config.hash`.
    """
    acknowledged = status.get("startTime") and not metadata.get("deletionTimestamp")
    owned = any(
        (owner.get("apiVersion"), owner.get("kind"), owner.get("name"), owner.get("controller"))
        == ("v1", "Node", node, True)
        for owner in objects(metadata.get("ownerReferences"))
    )
    return text(mapping(metadata.get("annotations")).get(_CONFIG_MIRROR)) if acknowledged and node and owned else ""


def _controller(owners: object) -> PodController | None:
    for fields in objects(owners):
        if fields.get("controller") is True:
            kind, name, uid = (text(fields.get(key)) for key in ("kind", "name", "uid"))
            known = kind and name and uid and all(map(_reportable, (kind, name, uid)))
            return PodController(kind, name, uid) if known else None
    return None


def _reportable(text: str) -> bool:
    """Whether a report may contain this text: the server would reject the whole report for one bad text."""
    return len(text) <= MAX_TEXT and text.isprintable()
