"""What new work is expected to emit: requests x duration x what such nodes emit, or what its former runs emitted.

Integers: millicores, thousandths of a GPU, seconds, micrograms. A projection is rounded up: it is compared with what
is left. It counts idle and overhead whatever a budget includes, since a request reserves them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_HOUR_MILLI: Final = 3600 * 1000
_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,8})m)?(?:(\d{1,9})s)?")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e([0-9]{1,2}))?([mkMGTP]?)")
_SUFFIXES: Final[Mapping[str, Fraction]] = {
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("", "k", "M", "G", "T", "P"))},
}
_MAX_SHOWN: Final = 40  # characters of a text that is no duration
_MIG = re.compile(r"nvidia\.com/mig-([1-7])g\.")
_MIG_SLICES: Final = 7  # of every MIG-capable GPU


@dataclass(frozen=True, slots=True)
class Demand:
    """What one pod requests."""

    millicores: int
    milligpus: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What a requested core and a requested GPU emit in an hour, in micrograms."""

    core_hour_ug: int
    gpu_hour_ug: int


def expected_ug(demand: Demand, pods: int, seconds: int, rates: Rates) -> int:
    """Micrograms of `pods` pods that run for `seconds` at the same time, rounded up."""
    each = demand.millicores * rates.core_hour_ug + demand.milligpus * rates.gpu_hour_ug
    return -(-pods * seconds * each // _HOUR_MILLI)


def duration_s(text: str) -> int | None:
    """Seconds of "3h", "90m", "1h30m", "2d" or "45s"; None for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def no_duration(key: str, text: str, instead: str = "") -> str:
    """The sentence for a `text` under the annotation `key` that is none; `instead` says what is done without it."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    shown = shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
    return f'{key} "{shown}" is no duration{f", so {instead}" if instead else ""}; write e.g. 2h30m'


def pod_demand(spec: Mapping[str, object]) -> Demand:
    """What the scheduler reserves for a pod: the sum of its containers and sidecars, or more while it starts.

    The formula is Kubernetes' own (KEP-753, sidecar containers): an init container runs beside the sidecars
    that were started before it. CPU that the pod itself requests stands for its containers' (KEP-2837).
    `carbonbudget_core.pod_requests` has it for pods that run; both are tested against one table,
    `tests/core/test_pod_requests.py`.
    """
    main = _sum(map(_requests, _list(spec, "containers")))
    sidecars, peak = Demand(0, 0), Demand(0, 0)
    for container in _list(spec, "initContainers"):
        if container.get("restartPolicy") == "Always":
            sidecars = _sum([sidecars, _requests(container)])
            peak = _max(peak, sidecars)
        else:
            peak = _max(peak, _sum([sidecars, _requests(container)]))
    needed = _max(_sum([main, sidecars]), peak)
    whole = _cpu_of_the_whole(spec)
    if whole is not None:
        needed = Demand(_demand({"cpu": whole}).millicores, needed.milligpus)
    return _sum([needed, _demand(_mapping(spec.get("overhead")))])


def _cpu_of_the_whole(spec: Mapping[str, object]) -> object:
    """CPU that the pod itself requests, or its limit where no container has a request; None: neither."""
    resources = _mapping(spec.get("resources"))
    containers = [*_list(spec, "containers"), *_list(spec, "initContainers")]
    limit = None if any("cpu" in _quantities(each) for each in containers) else _mapping(resources.get("limits"))
    return _mapping(resources.get("requests")).get("cpu", (limit or {}).get("cpu"))


def _requests(holder: Mapping[str, object]) -> Demand:
    return _demand(_quantities(holder))


def _quantities(holder: Mapping[str, object]) -> dict[str, object]:
    resources = _mapping(holder.get("resources"))
    # A limit without a request is its request: the API server fills it in later.
    return _mapping(resources.get("limits")) | _mapping(resources.get("requests"))


def _demand(quantities: Mapping[str, object]) -> Demand:
    millicores = milligpus = 0
    for name, value in quantities.items():
        amount = _milli(str(value))
        if name == "cpu":
            millicores = amount
        elif name.endswith("/gpu"):
            milligpus += amount
        elif (slices := _MIG.match(name)) is not None:
            milligpus += amount * int(slices[1]) // _MIG_SLICES
    return Demand(millicores, milligpus)


def _milli(text: str) -> int:
    """Thousandths of a Kubernetes quantity, rounded up; 0 for what is none: then the API server refuses it."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return 0
    number, exponent, suffix = match[1].removesuffix("."), match[2] or "0", match[3]
    return math.ceil(Fraction(f"{number}e{exponent}") * _SUFFIXES[suffix] * 1000)


def _sum(demands: Iterable[Demand]) -> Demand:
    found = list(demands)
    return Demand(sum(d.millicores for d in found), sum(d.milligpus for d in found))


def _max(one: Demand, other: Demand) -> Demand:
    return Demand(max(one.millicores, other.millicores), max(one.milligpus, other.milligpus))


def _list(spec: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    items = spec.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
