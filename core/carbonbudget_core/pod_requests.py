"""What a pod reserves of its node: what the scheduler holds for it, from the API's JSON.

The formula is Kubernetes' own (k8s.io/component-helpers/resource, KEP-753 for sidecars, KEP-1287 for resize in
place): of each container the largest of what is wished, allocated and in force; a resize that the kubelet found
infeasible is not held. `carbonbudget_operator.budgets.projection` has the same formula for work that has no status
yet; both are tested against the table in `tests/core/test_pod_requests.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from carbonbudget_core.jsons import elements_of
from carbonbudget_core.report import MAX_INTEGER, Requests

# At most two digits of exponent: "1e999999999" would be a number of a gigabyte.
_QUANTITY = re.compile(r"([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?)([a-zA-Z]{0,2})")
_SUFFIXES = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "E": Fraction(10**18), "Ki": Fraction(2**10), "Mi": Fraction(2**20),
    "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip
_Amounts = dict[str, Fraction]
_UNITS = {"cpu": 1000, "memory": 1, "nvidia.com/gpu": 1}  # a request is reported in thousandths, bytes, pieces
_OF_A_POD = ("cpu", "memory")  # what a pod can request as a whole (KEP-2837)


def pod_requests(spec: Mapping[str, object], status: Mapping[str, object]) -> Requests:
    """What is reserved. Odd quantities count as 0, and so does more than a report can hold, which no node has."""
    amounts = _pod_amounts(spec, _granted_by_name(status), _resize_is_infeasible(status))
    cpu, memory, gpus = (int(amounts.get(name, Fraction(0)) * unit) for name, unit in _UNITS.items())
    return Requests(*(amount if amount <= MAX_INTEGER else 0 for amount in (cpu, memory, gpus)))


def parse_quantity(text: str) -> Fraction:
    """A Kubernetes quantity ("100m", "1.5Gi", "2e3") as an exact number. ValueError if it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"{text[:40]!r} is not a quantity")
    return Fraction(match[1]) * _SUFFIXES[match[2]]


def _pod_amounts(spec: Mapping[str, object], granted: Mapping[str, _Amounts], infeasible: bool) -> _Amounts:
    running: _Amounts = {}
    for container in elements_of(spec.get("containers")):
        running = _sum(running, _held(container, granted, infeasible))
    sidecars: _Amounts = {}
    starting: _Amounts = {}
    for container in elements_of(spec.get("initContainers")):
        if container.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, _held(container, granted, infeasible))
            starting = _largest(starting, sidecars)
        else:  # it runs beside the sidecars that were started before it, and is never resized
            starting = _largest(starting, _sum(sidecars, _wished(container)))
    needed = _largest(_sum(running, sidecars), starting)
    return _sum(_of_the_whole(spec, needed), _amounts(_mapping(spec.get("overhead"))))


def _of_the_whole(spec: Mapping[str, object], needed: _Amounts) -> _Amounts:
    """What the pod as a whole requests stands for its containers; its limit only where no container has a request."""
    resources = _mapping(spec.get("resources"))
    limits, requests = (_amounts(_mapping(resources.get(kind))) for kind in ("limits", "requests"))
    whole = limits | needed | requests
    return needed | {name: whole[name] for name in _OF_A_POD if name in whole}


def _held(container: Mapping[str, object], granted: Mapping[str, _Amounts], infeasible: bool) -> _Amounts:
    """Of one container that can be resized. Without resources in its status only the spec is known."""
    own = granted.get(str(container.get("name")))
    if own is None:
        return _wished(container)
    return own if infeasible else _largest(_wished(container), own)


def _wished(holder: Mapping[str, object]) -> _Amounts:
    """Requests of the spec; a limit without a request is its request."""
    resources = _mapping(holder.get("resources"))
    return _amounts({**_mapping(resources.get("limits")), **_mapping(resources.get("requests"))})


def _granted_by_name(status: Mapping[str, object]) -> dict[str, _Amounts]:
    kinds = ("containerStatuses", "initContainerStatuses")
    entries = (entry for kind in kinds for entry in elements_of(status.get(kind)))
    return {str(entry.get("name")): _granted(entry) for entry in entries if isinstance(entry.get("resources"), dict)}


def _granted(status: Mapping[str, object]) -> _Amounts:
    """What the kubelet gave a container: the larger of what is in force and what is allocated."""
    in_force = _amounts(_mapping(_mapping(status["resources"]).get("requests")))
    return _largest(in_force, _amounts(_mapping(status.get("allocatedResources"))))


def _resize_is_infeasible(status: Mapping[str, object]) -> bool:
    pending = (entry for entry in elements_of(status.get("conditions")) if entry.get("type") == "PodResizePending")
    return next((entry.get("reason") == "Infeasible" for entry in pending), False)


def _amounts(quantities: Mapping[str, object]) -> _Amounts:
    return {name: _quantity(quantities[name]) for name in _UNITS if name in quantities}


def _quantity(value: object) -> Fraction:
    try:
        return max(Fraction(0), parse_quantity(str(value)))
    except ValueError:
        return Fraction(0)


def _sum(one: _Amounts, other: _Amounts) -> _Amounts:
    return {name: one.get(name, Fraction(0)) + other.get(name, Fraction(0)) for name in one | other}


def _largest(one: _Amounts, other: _Amounts) -> _Amounts:
    return {name: max(one.get(name, Fraction(0)), other.get(name, Fraction(0))) for name in one | other}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
