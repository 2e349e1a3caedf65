"""What the agent keeps of a pod: name, owner, labels, requests. Parsed from the API's JSON."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from carbonbudget_agent.pods.life import FINISHED, life_of
from carbonbudget_agent.report import MAX_INTEGER, MAX_LABELS, MAX_TEXT, Controller, Requests
from carbonbudget_agent.sample import Life

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
_CONFIG_HASH = "kubernetes.io/config.hash"
# At most two digits of exponent: "1e999999999" would be a number of a gigabyte.
_QUANTITY = re.compile(r"([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?)([a-zA-Z]{0,2})")
_SUFFIXES = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "E": Fraction(10**18), "Ki": Fraction(2**10), "Mi": Fraction(2**20),
    "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodInfo:
    """One pod. `cgroup_uid` is the uid its cgroup carries: the config hash for a static pod."""

    uid: str
    cgroup_uid: str
    namespace: str
    name: str
    controller: Controller | None
    labels: Mapping[str, str]
    requests: Requests
    finished: bool = field(default=False, compare=False)  # its containers have ended for good; it may stay listed
    life: Life = field(default=Life(), compare=False)


class PodSource(Protocol):
    """Who knows the node's pods."""

    def pods(self) -> Mapping[str, PodInfo]:
        """Pods by the uid of their cgroup, those that ended a short while ago included."""

    def expect(self, uids: Collection[str]) -> None:
        """These pods were just seen in the cgroups: a source that asks now and then asks for unknown ones sooner."""

    def close(self) -> None:
        """End whatever runs in the background."""


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
        raise ValueError("a text of a pod is none")
    if not all(type(amount) is int and 0 <= amount <= MAX_INTEGER for amount in requests) or len(labels) > MAX_LABELS:
        raise ValueError("a pod's requests or labels are none")
    return PodInfo(uid, cgroup_uid, namespace, name, Controller(*owner) if owner else None, labels, Requests(*requests))


def parse_pod(value: Mapping[str, object]) -> PodInfo:
    """One pod of the API's JSON. ValueError for what is no pod; odd quantities count as 0."""
    metadata = _mapping(value.get("metadata"))
    spec = _mapping(value.get("spec"))
    uid, name, namespace = (_text(metadata.get(key)) for key in ("uid", "name", "namespace"))
    if not (uid and name and namespace):
        raise ValueError("a pod has a uid, a name and a namespace")
    annotations = _mapping(metadata.get("annotations"))
    if not all(map(_reportable, (uid, name, namespace))):
        raise ValueError("a pod's uid, name and namespace are printable and not longer than 512 characters")
    labels = {
        key: _text(text)
        for key, text in sorted(_mapping(metadata.get("labels")).items())
        if key not in _GENERATED and _reportable(key) and _reportable(_text(text))
    }
    return PodInfo(
        uid=uid,
        cgroup_uid=_text(annotations.get(_CONFIG_HASH)) or uid,
        namespace=namespace,
        name=name,
        controller=_controller(metadata.get("ownerReferences")),
        labels=dict(list(labels.items())[:MAX_LABELS]),
        requests=_requests(spec),
        finished=_mapping(value.get("status")).get("phase") in FINISHED,
        life=life_of(_mapping(value.get("status"))),
    )


def parse_quantity(text: str) -> Fraction:
    """A Kubernetes quantity ("100m", "1.5Gi", "2e3") as an exact number. ValueError if it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"{text[:40]!r} is not a quantity")
    return Fraction(match[1]) * _SUFFIXES[match[2]]


def _controller(owners: object) -> Controller | None:
    for owner in owners if isinstance(owners, list) else []:
        fields = _mapping(owner)
        if fields.get("controller") is True:
            kind, name, uid = (_text(fields.get(key)) for key in ("kind", "name", "uid"))
            known = kind and name and uid and all(map(_reportable, (kind, name, uid)))
            return Controller(kind, name, uid) if known else None
    return None


def _requests(spec: Mapping[str, object]) -> Requests:
    """As the scheduler counts: containers and sidecars together, or the largest init container."""
    return Requests(
        cpu_millicores=_amount(spec, "cpu", 1000),
        memory_bytes=_amount(spec, "memory"),
        gpus=_amount(spec, "nvidia.com/gpu"),
    )


def _amount(spec: Mapping[str, object], resource: str, unit: int = 1) -> int:
    """What the pod reserves; 0 for more than a report can say, which no node has."""
    amount = int(_effective(spec, resource) * unit)
    return amount if amount <= MAX_INTEGER else 0


def _effective(spec: Mapping[str, object], resource: str) -> Fraction:
    overhead = _quantity(_mapping(spec.get("overhead")).get(resource))
    # Of the pod as a whole (Kubernetes 1.34 on, by default): then its containers' share in that.
    whole = _mapping(_mapping(spec.get("resources")).get("requests")).get(resource)
    if whole is not None:
        return _quantity(whole) + overhead
    running = sum((_request(c, resource) for c in _list(spec.get("containers"))), Fraction(0))
    sidecars, starting = Fraction(0), Fraction(0)
    for container in _list(spec.get("initContainers")):
        amount = _request(container, resource)
        if container.get("restartPolicy") == "Always":
            sidecars += amount
            starting = max(starting, sidecars)
        else:
            starting = max(starting, sidecars + amount)
    return max(running + sidecars, starting) + overhead


def _request(container: Mapping[str, object], resource: str) -> Fraction:
    resources = _mapping(container.get("resources"))
    for kind in ("requests", "limits"):  # without a request the limit stands for it
        amount = _mapping(resources.get(kind)).get(resource)
        if amount is not None:
            return _quantity(amount)
    return Fraction(0)


def _quantity(value: object) -> Fraction:
    try:
        return max(Fraction(0), parse_quantity(str(value))) if value is not None else Fraction(0)
    except ValueError:
        return Fraction(0)


def _reportable(text: str) -> bool:
    """Whether a report with this text would be taken: one bad text would cost the whole window."""
    return len(text) <= MAX_TEXT and text.isprintable()


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Mapping[str, object]]:
    return [_mapping(item) for item in value] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
