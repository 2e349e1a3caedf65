"""What a pod reserves of its node: what the scheduler sets aside for it, from the API's JSON.

The formula is Kubernetes' own (k8s.io/component-helpers/resource, KEP-753 for sidecars, KEP-1287 for resize in place):
of each container the largest of what the spec requests, what is allocated and what is in force; a resize that the
kubelet found infeasible does not count. Work without a status reserves what its spec requests.

Which resources are counted, and in which unit, is for the caller to decide: `Count` turns quantities by resource name
into amounts. CPU and memory that the pod itself requests are known by the names `cpu` and `memory` (KEP-2837).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from operator import add

from carbonbudget_core.jsons import at, objects
from carbonbudget_core.node_report import MAX_INTEGER, PodRequests

# At most two digits of exponent: "1e999999999" would be a number of a gigabyte.
_QUANTITY = re.compile(r"([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?)([a-zA-Z]{0,2})")
_SUFFIXES = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "E": Fraction(10**18), "Ki": Fraction(2**10), "Mi": Fraction(2**20),
    "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip
Amounts = Mapping[str, Fraction]
Count = Callable[[Mapping[str, object]], Amounts]
_UNITS = {"cpu": 1000, "memory": 1, "nvidia.com/gpu": 1}  # a request is reported in thousandths, bytes, pieces
_OF_A_POD = ("cpu", "memory")  # what a pod can request as a whole (KEP-2837)
_NONE = Fraction(0)


def pod_requests(spec: Mapping[str, object], status: Mapping[str, object]) -> PodRequests:
    """The reserved amounts. An invalid quantity counts as 0, and so does one beyond the limit of a report."""
    amounts = pod_amounts(spec, status, _reported)
    cpu, memory, gpus = (int(amounts.get(name, _NONE) * unit) for name, unit in _UNITS.items())
    return PodRequests(*(amount if amount <= MAX_INTEGER else 0 for amount in (cpu, memory, gpus)))


def pod_amounts(spec: Mapping[str, object], status: Mapping[str, object], count: Count) -> Amounts:
    """What is reserved of all that `count` counts; `status` is empty for work that does not run yet."""
    granted = _granted_by_name(status, count) if status else {}
    infeasible = bool(status) and _resize_is_infeasible(status)

    def reserved(container: Mapping[str, object], resizable: bool = True) -> Amounts:
        """The amounts of one container. Without resources in its status only the spec is known."""
        own = granted.get(str(container.get("name"))) if resizable else None
        if own is not None and infeasible:
            return own
        # A limit without a request is its request: the API server fills it in later.
        requested = count({**at(container, "resources", "limits"), **at(container, "resources", "requests")})
        return requested if own is None else _combined(requested, own, max)

    running: Amounts = {}
    for container in objects(spec.get("containers")):
        running = _combined(running, reserved(container), add)
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in objects(spec.get("initContainers")):
        if container.get("restartPolicy") == "Always":
            sidecars = _combined(sidecars, reserved(container), add)
            starting = _combined(starting, sidecars, max)
        else:  # it runs beside the sidecars that were started before it, and is never resized
            starting = _combined(starting, _combined(sidecars, reserved(container, resizable=False), add), max)
    needed = _combined(_combined(running, sidecars, add), starting, max)
    # The request of the pod as a whole replaces those of its containers; its limit only if no container has a request.
    limits, requests = (count(at(spec, "resources", kind)) for kind in ("limits", "requests"))
    whole = {**limits, **needed, **requests}
    needed = {**needed, **{name: whole[name] for name in _OF_A_POD if name in whole}}
    return _combined(needed, count(at(spec, "overhead")), add)


def parse_quantity(text: str) -> Fraction:
    """A Kubernetes quantity ("100m", "1.5Gi", "2e3") as an exact number. ValueError for any other text."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"{text[:40]!r} is not a quantity")
    return Fraction(match[1]) * _SUFFIXES[match[2]]


def quantity(value: object) -> Fraction:
    """The quantity in a value of unknown kind; 0 for an invalid or negative quantity, which the API server rejects."""
    try:
        return max(_NONE, parse_quantity(str(value)))
    except ValueError:
        return _NONE


def _granted_by_name(status: Mapping[str, object], count: Count) -> dict[str, Amounts]:
    """The grants of the kubelet by container: the larger of what is in force and what is allocated."""
    kinds = ("containerStatuses", "initContainerStatuses")
    entries = (entry for kind in kinds for entry in objects(status.get(kind)))
    return {
        str(entry.get("name")): _combined(
            count(at(entry, "resources", "requests")), count(at(entry, "allocatedResources")), max
        )
        for entry in entries
        if isinstance(entry.get("resources"), dict)
    }


def _resize_is_infeasible(status: Mapping[str, object]) -> bool:
    pending = (entry for entry in objects(status.get("conditions")) if entry.get("type") == "PodResizePending")
    return next((entry.get("reason") == "Infeasible" for entry in pending), False)


def _reported(quantities: Mapping[str, object]) -> Amounts:
    return {name: quantity(quantities[name]) for name in _UNITS if name in quantities}


def _combined(one: Amounts, other: Amounts, by: Callable[[Fraction, Fraction], Fraction]) -> Amounts:
    """The sum (`add`) or the larger (`max`) of each amount; a missing amount is 0."""
    return {name: by(one.get(name, _NONE), other.get(name, _NONE)) for name in {**one, **other}}
