"""The JSON of OpenCost's answers, with our figures beside its own fields. Pure.

The fields are those of OpenCost's Go structs (core/pkg/opencost/allocation_json.go, summaryallocation_json.go). What
the ledger does not know is 0 or null, as OpenCost writes what it has no data for: cores, bytes, efficiencies, costs of
machines. The cost of emissions by `carbon.price` is `externalCost`, and so the whole of `totalCost`.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping
from typing import Final

from carbonbudget_operator.answers.window_parser import Range
from carbonbudget_operator.budgets.price import EMISSION_PARTS, ENERGY_PARTS, amount
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.opencost.allocation_properties import AllocationProperties
from carbonbudget_operator.opencost.allocation_sets import Allocation, AllocationFigures, Allocations

_UG_PER_G: Final = 1_000_000
_UG_PER_KG: Final = 1_000_000_000
_NANOSECONDS: Final = 1_000_000_000  # a Go time.Duration is written in them
_UNKNOWN: Final[Mapping[str, object]] = {
    "cpuCores": 0, "cpuCoreRequestAverage": 0, "cpuCoreLimitAverage": 0, "cpuCoreUsageAverage": 0, "cpuCoreHours": 0,
    "cpuCost": 0, "cpuCostAdjustment": 0, "cpuCostIdle": 0, "cpuEfficiency": 0,
    "gpuCount": 0, "gpuHours": 0, "gpuCost": 0, "gpuCostAdjustment": 0, "gpuCostIdle": 0, "gpuEfficiency": 0,
    "networkTransferBytes": 0, "networkReceiveBytes": 0, "networkCost": 0, "networkCrossZoneCost": 0,
    "networkCrossRegionCost": 0, "networkInternetCost": 0, "networkCostAdjustment": 0,
    "loadBalancerCost": 0, "loadBalancerCostAdjustment": 0,
    "pvBytes": 0, "pvByteHours": 0, "pvCost": 0, "pvs": None, "pvCostAdjustment": 0,
    "ramBytes": 0, "ramByteRequestAverage": 0, "ramByteLimitAverage": 0, "ramByteUsageAverage": 0, "ramByteHours": 0,
    "ramCost": 0, "ramCostAdjustment": 0, "ramCostIdle": 0, "ramEfficiency": 0,
    "externalCost": 0, "sharedCost": 0, "totalCost": 0, "totalEfficiency": 0, "lbAllocations": None,
    "gpuAllocation": None,
}  # fmt: skip
_SUMMARY_UNKNOWN: Final[Mapping[str, object]] = {
    "cpuCoreRequestAverage": 0, "cpuCoreUsageAverage": 0, "cpuCost": 0, "gpuCost": 0, "networkCost": 0,
    "loadBalancerCost": 0, "pvCost": 0, "ramByteRequestAverage": 0, "ramByteUsageAverage": 0, "ramCost": 0,
    "sharedCost": 0, "externalCost": 0, "totalEfficiency": 0, "totalCost": 0,
}  # fmt: skip


def rounded(figure: float) -> float | None:
    """As OpenCost's formatFloat64ForResponse: five decimals, halves away from zero; None for what is no number."""
    if math.isnan(figure) or math.isinf(figure):
        return None
    scaled = figure * 100_000
    if math.isinf(scaled):
        return figure
    return math.copysign(math.floor(abs(scaled) + 0.5), figure) / 100_000


def allocations_json(sets: Iterable[tuple[Range, Allocations]], reported_until: int, with_labels: bool) -> bytes:
    """The answer of /allocation: a map for each step. `reported_until` is the UTC second of the latest report."""
    data = [
        {name: _allocation(name, one, step, reported_until, with_labels) for name, one in found.items()}
        for step, found in sets
    ]
    return _envelope(data)


def summary_json(sets: Iterable[tuple[Range, Allocations]], window: Range, reported_until: int) -> bytes:
    """The answer of /allocation/summary: fewer fields, in OpenCost's other form."""
    made = [
        {"allocations": {name: _summary(name, one, step, reported_until) for name, one in found.items()},
         "window": _window(step)}
        for step, found in sets
    ]  # fmt: skip
    lengths = {step[1] - step[0] for step, _ in sets}
    length = lengths.pop() if len(lengths) == 1 else 0
    return _envelope({"step": length * _NANOSECONDS, "sets": made, "window": _window(window)})


def error_json(status: int, message: str) -> dict[str, object]:
    """The body of an error, as OpenCost has it."""
    return {"code": status, "status": "error", "message": message}


def _envelope(data: object) -> bytes:
    return json.dumps({"code": 200, "status": "success", "data": data}, separators=(",", ":")).encode()


def _allocation(name: str, one: Allocation, step: Range, reported_until: int, with_labels: bool) -> dict[str, object]:
    start, end = step[0], _end(step, reported_until)
    return {
        "name": name,
        "properties": _properties(one.common, with_labels),
        "window": _window(step),
        "start": _instant(start),
        "end": _instant(end),
        "minutes": rounded((end - start) / 60),
        **_UNKNOWN,
        **_carbon(one.figures),
    }


def _summary(name: str, one: Allocation, step: Range, reported_until: int) -> dict[str, object]:
    around = {"name": name, "start": _instant(step[0]), "end": _instant(_end(step, reported_until))}
    return {**around, **_SUMMARY_UNKNOWN, **_carbon(one.figures)}


def _carbon(figures: AllocationFigures) -> dict[str, object]:
    cost = _cost(figures.location_cost, EMISSION_PARTS)
    return {
        "externalCost": cost,
        "totalCost": cost,
        "carbonKilograms": figures.location_ug / _UG_PER_KG,
        "carbonbudget": {
            "energyKWh": figures.energy_uj / UJ_PER_KWH,
            "locationG": figures.location_ug / _UG_PER_G,
            "marketG": figures.market_ug / _UG_PER_G,
            "embodiedG": figures.embodied_ug / _UG_PER_G,
            "idleG": figures.idle_ug / _UG_PER_G,
            "measuredPercent": figures.measured_percent,
            **({"energyCost": _cost(figures.energy_cost, ENERGY_PARTS)} if figures.energy_cost else {}),
        },
    }


def _cost(parts: int, of_one: int) -> float:
    return float(amount(parts, of_one)) or 0


def _properties(common: AllocationProperties, with_labels: bool) -> dict[str, object]:
    """What is empty is left out, as Go's omitempty does."""
    shown = {
        "cluster": common.cluster,
        "node": common.node,
        "controller": common.controller,
        "controllerKind": common.controller_kind,
        "namespace": common.namespace,
        "pod": common.pod,
        "labels": dict(common.labels) if with_labels else {},
    }
    return {name: value for name, value in shown.items() if value}


def _end(step: Range, reported_until: int) -> int:
    """A step that is not over ends where the reports end."""
    return max(step[0], min(step[1], reported_until))


def _window(step: Range) -> dict[str, str]:
    return {"start": _instant(step[0]), "end": _instant(step[1])}


def _instant(second: int) -> str:
    return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
