"""What the pods of new work reserve, what that emits in a duration at given rates, and durations as people write them.

Integers: millicores, thousandths of a GPU, seconds, micrograms. A projection is rounded up: it is compared with what
is left. It counts idle and overhead whatever a budget includes, since a request reserves them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from carbonbudget_core.pod_requests import Amounts, pod_amounts, quantity

_HOUR_MILLI: Final = 3600 * 1000
# The rule of enforce.grace in the CRD has the same.
_DURATION = re.compile(r"(?:([0-9]{1,3})w)?(?:([0-9]{1,4})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,8})m)?(?:([0-9]{1,9})s)?")
_MAX_SHOWN: Final = 40  # characters of a text that is no duration
_GPU: Final = "gpu"
INSTANCE_TYPE_LABELS: Final = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_MIG = re.compile(r"nvidia\.com/mig-([1-7])g\.")
_MIG_SLICES: Final = 7  # of every MIG-capable GPU


@dataclass(frozen=True, slots=True)
class PodDemand:
    """What one pod requests."""

    millicores: int
    milligpus: int


@dataclass(frozen=True, slots=True)
class EmissionRates:
    """What a requested core and a requested GPU emit in an hour, in micrograms."""

    core_hour_ug: int
    gpu_hour_ug: int


def expected_ug(demand: PodDemand, pods: int, seconds: int, rates: EmissionRates) -> int:
    """Micrograms of `pods` pods that run for `seconds` at the same time, rounded up."""
    each = demand.millicores * rates.core_hour_ug + demand.milligpus * rates.gpu_hour_ug
    return -(-pods * seconds * each // _HOUR_MILLI)


def duration_s(text: str) -> int | None:
    """Seconds of "3h", "90m", "1h30m", "2d", "1w" or "45s"; None for anything else. The one parser of durations."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds


def no_duration(key: str, text: str, instead: str = "") -> str:
    """The sentence for a `text` under `key` that is no duration above zero; `instead` says what is done without it."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    shown = shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
    what = "no duration" if duration_s(text) is None else "zero"
    return f'{key} "{shown}" is {what}{f", so {instead}" if instead else ""}; write e.g. 2h30m'


def pod_demand(spec: Mapping[str, object]) -> PodDemand:
    """What the scheduler reserves for a pod: the sum of its containers and sidecars, or more while it starts."""
    amounts = pod_amounts(spec, {}, _counted)
    return PodDemand(int(amounts.get("cpu", 0)), int(amounts.get(_GPU, 0)))


def _counted(quantities: Mapping[str, object]) -> Amounts:
    """Thousandths of CPUs and of GPUs of every vendor, each quantity rounded up; a MIG device is its share of one."""
    amounts: dict[str, Fraction] = {}
    for name, value in quantities.items():
        key = "cpu" if name == "cpu" else _GPU
        slices = _MIG.match(name)
        if key == "cpu" or name.endswith("/gpu") or slices is not None:
            milli = math.ceil(quantity(value) * 1000)
            if slices is not None:
                milli = milli * int(slices[1]) // _MIG_SLICES
            amounts[key] = amounts.get(key, Fraction(0)) + milli
    return amounts
