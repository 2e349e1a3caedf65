"""What OpenCost calls the properties of an allocation, and the keys that it groups allocations by. Pure.

The ledger knows workloads, not pods: a pod without an owner is a workload of kind Pod, and has a name here. Containers,
services, annotations and provider IDs are not in the ledger. Source of the names: opencost/opencost,
core/pkg/opencost/allocationprops.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from carbonbudget_operator.printable import printable

IDLE: Final = "__idle__"
UNALLOCATED: Final = "__unallocated__"
ALL: Final = "all"
# OpenCost's default labels for its five aliases (allocationprops.go, GetAliasedLabelDefault).
ALIASES: Final[Mapping[str, str]] = {
    "department": "department",
    "environment": "env",
    "owner": "owner",
    "product": "app",
    "team": "team",
}
DEFAULT_KEYS: Final = ("cluster", "namespace", "controller")
MAX_KEYS: Final = 10
_KINDS: Final = ("deployment", "statefulset", "daemonset", "job")
# OpenCost groups by these too; the ledger does not have them, so every allocation is `__unallocated__`.
_UNKNOWN: Final = ("service", "providerid")
_KEYS: Final = (
    "cluster", "node", "namespace", "controllerkind", "controller", "controllernamespace", "pod", "container",
    *_KINDS, *_UNKNOWN, *ALIASES,
)  # fmt: skip
_UNSAFE: Final = re.compile(r"[^a-zA-Z0-9_]")


class AggregateError(ValueError):
    """The text names no aggregation. The message is one line with what to write."""


@dataclass(frozen=True, slots=True)
class AllocationProperties:
    """What is known of one allocation. An empty text means that it has none. `labels` have sanitised names."""

    cluster: str
    node: str
    namespace: str
    controller_kind: str
    controller: str
    pod: str
    labels: Mapping[str, str]
    idle: bool = False


@lru_cache(maxsize=4_096)
def sanitised(name: str) -> str:
    """A label's name as Prometheus and OpenCost write it: `app.kubernetes.io/name` is `app_kubernetes_io_name`."""
    return _UNSAFE.sub("_", name)


def properties_of(
    cluster: str, node: str, namespace: str, workload: str, labels: Mapping[str, str]
) -> AllocationProperties:
    """The properties of the workload KIND/NAME. If two labels are equal when sanitised, the first by name counts."""
    kind, separator, name = workload.partition("/")
    bare = kind == "Pod"
    safe = {sanitised(key): labels[key] for key in sorted(labels, reverse=True)}
    owner = bool(separator) and not bare
    return AllocationProperties(
        cluster, node, namespace, kind.lower() if owner else "", name if owner else "", name if bare else "", safe
    )


def parse_aggregate(text: str) -> tuple[str, ...]:
    """ "namespace,label:app" to its keys in lower case, labels apart. `all`: no keys; nothing: DEFAULT_KEYS.

    Raises AggregateError.
    """
    parts = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        return DEFAULT_KEYS
    if parts == [ALL]:
        return ()
    if len(parts) > MAX_KEYS:
        raise AggregateError(f"aggregate: {len(parts)} keys, at most {MAX_KEYS}: name fewer")
    return tuple(dict.fromkeys(_parsed_key(part) for part in parts))


def _parsed_key(part: str) -> str:
    field, separator, name = part.partition(":")
    field = field.strip().lower()
    if separator and field in ("label", "annotation") and name.strip():
        return f"{field}:{sanitised(name.strip())}"
    if not separator and field in _KEYS:
        return field
    known = ", ".join((*_KEYS, "label:NAME", "annotation:NAME", ALL))
    raise AggregateError(f"aggregate: {printable(part, 60)!r} is unknown: there are {known}")


def key_function(keys: Sequence[str]) -> Callable[[AllocationProperties], str]:
    """Returns the name of an allocation by these keys, joined by `/`. Idle is `__idle__` by every key."""
    parts = [_part(key, "namespace" in keys) for key in keys]

    def name(properties: AllocationProperties) -> str:
        if properties.idle:
            return IDLE
        return "/".join([part(properties) for part in parts]) if parts else ALL

    return name


def _part(key: str, with_namespace: bool) -> Callable[[AllocationProperties], str]:
    field, _, label = key.partition(":")
    if field in _UNKNOWN or field == "annotation":
        return lambda _: UNALLOCATED
    if field == "label" or field in ALIASES:
        wanted = label or ALIASES[field]
        return lambda p: p.labels.get(wanted, UNALLOCATED)
    if field in _KINDS:
        return lambda p: p.controller if p.controller_kind == field and p.controller else UNALLOCATED
    if field == "controller":
        return lambda p: f"{p.controller_kind}:{p.controller}" if p.controller else UNALLOCATED
    if field == "controllernamespace":
        return lambda p: _with_namespace(p, with_namespace)
    if field in ("pod", "container"):
        # The finest that is known: the workload, where the pod has an owner.
        return lambda p: p.pod or (f"{p.controller_kind}:{p.controller}" if p.controller else UNALLOCATED)
    attribute = "controller_kind" if field == "controllerkind" else field
    return lambda p: str(getattr(p, attribute)) or UNALLOCATED


def _with_namespace(p: AllocationProperties, named_already: bool) -> str:
    if not p.controller:
        return UNALLOCATED
    return ":".join([p.controller_kind, *([] if named_already else [p.namespace]), p.controller])
