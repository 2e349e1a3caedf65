"""A target's status as JSON, and whether a person would see it change. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.budget_query_bodies import WorkloadUse
from carbonbudget_operator.api.target_query_bodies import TargetSpanAnswer
from carbonbudget_operator.api.target_spec import ClusterCarbonTargetSpec
from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.api.times import format_time, instant
from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.status_conditions import visible_part
from carbonbudget_operator.controller.status_json import Status
from carbonbudget_operator.targets.target_baseline import TargetBaseline
from carbonbudget_operator.targets.target_sentence import shown_rates, without_time
from carbonbudget_operator.targets.target_verdict import TargetVerdict, change_percent, one_decimal
from carbonbudget_operator.targets.unit_sums import format_units, rate_ug

_MOST: Final = 2**63 - 1  # an int64 of the API
# A status whose texts stay the same is written after so long, so that its window is not left behind.
_FRESH_S: Final = 6 * 3600
# Compared by their text alone: their micrograms move with each hour.
_BY_TEXT: Final = ("current", "expectedNow")
_SILENT: Final = frozenset({*_BY_TEXT, "message", "observedAt", "dataThrough", "conditions"})


def bounded(value: Fraction | int) -> int:
    """A whole number that the API server takes: rounded down, and at most an int64."""
    return max(-_MOST, min(_MOST, int(value // 1)))


def figure_json(prepared: PreparedTarget, answer: TargetSpanAnswer, per_unit: str) -> Status:
    """The figure of a span that has units. `per_unit` is its text."""
    rate = rate_ug(answer.emissions_ug, answer.units_micro, prepared.terms.per)
    known: Status = {}
    if answer.known_percent is not None and answer.all_emissions_ug is not None:
        known = {
            "emissionsPercent": answer.known_percent,
            "allEmissionsMicrograms": bounded(answer.all_emissions_ug),
        }
    return known | {
        "start": format_time(answer.start),
        "end": format_time(answer.end),
        "perUnit": per_unit,
        "perUnitMicrograms": bounded(rate),
        "units": format_units(answer.units_micro),
        "emissions": format_mass(answer.emissions_ug),
        "emissionsMicrograms": bounded(answer.emissions_ug),
        "embodiedMicrograms": bounded(answer.embodied_ug),
        "energyMicrojoules": bounded(answer.energy_uj),
        "hoursPercent": answer.known_hours * 100 // answer.hours if answer.hours else 0,
        "knownHours": answer.known_hours,
        "measured": answer.measured_percent,
        "coverage": answer.coverage_percent,
    }


def _expected_json(verdict: TargetVerdict) -> Status | None:
    """What the path asks for; None without a baseline."""
    if verdict.expected is None or verdict.reduction is None:
        return None
    beside = verdict.compared if verdict.compared is not None else verdict.expected
    return {
        "perUnit": shown_rates(beside, verdict.expected)[1],
        "perUnitMicrograms": bounded(verdict.expected),
        "reduction": one_decimal(verdict.reduction),
    }


def baseline_json(frozen: FrozenBaseline | None) -> Status | None:
    """The baseline; None without one."""
    if frozen is None:
        return None
    return frozen.model_dump(mode="json", by_alias=True, exclude_none=True) | {
        # Absent from a merge patch would leave that of a baseline before.
        "measured": frozen.measured.model_dump(mode="json", by_alias=True) if frozen.measured is not None else None,
        "restated": frozen.restated,
        "method": frozen.method,
    }


def against_baseline(verdict: TargetVerdict, baseline: TargetBaseline | None) -> Status:
    """What the path asks for, the figure at the baseline's grid and the change; None what is not known."""
    change = grid = None
    if baseline is not None and verdict.compared is not None:
        change = change_percent(verdict.compared, baseline.rate_ug) or None
    if baseline is not None and baseline.sums is not None and verdict.at_grid is not None:
        grid = format_mass(int(verdict.at_grid))
    return {"atBaselineGrid": grid, "expectedNow": _expected_json(verdict), "change": change}


def namespaces_json(prepared: PreparedTarget) -> Status:
    """The namespaces that count and those that did, of a target that selects some."""
    spec = prepared.spec
    if not isinstance(spec, ClusterCarbonTargetSpec) or spec.namespace_selector is None:
        return {"namespaces": None, "formerNamespaces": None}
    former = [{"name": name, "until": format_time(until)} for name, until in sorted(prepared.until.items())]
    live = [name for name in prepared.namespaces or () if name not in prepared.until]
    return {"namespaces": live or None, "formerNamespaces": former or None}


def current_json(prepared: PreparedTarget, answer: TargetSpanAnswer, verdict: TargetVerdict) -> Status | None:
    """The figure of the window, with as many digits as show on which side of the path it is; None without one."""
    if verdict.current is None:
        return None
    beside = verdict.expected
    text = format_mass(int(verdict.current)) if beside is None else shown_rates(verdict.current, beside)[0]
    return figure_json(prepared, answer, text)


def top_workloads_json(prepared: PreparedTarget, workloads: Iterable[WorkloadUse]) -> list[Status] | None:
    """The workloads by name and not by rank: an hour in which two change places is no reason to write a status."""
    found = []
    for use in sorted(workloads, key=lambda use: (use.namespace, use.workload)):
        kind, _, name = use.workload.partition("/")
        its: Status = {"kind": kind, "name": name}
        found.append(its if prepared.stored.resource.namespaced else its | {"namespace": use.namespace})
    return found or None


def is_visible_change_of_target(body: Mapping[str, object], status: Status) -> bool:
    """Whether a person would see the difference between the object's status and this one."""
    previous = at(body, "status")
    if visible_part(previous.get("conditions")) != visible_part(status.get("conditions")):
        return True
    if "message" in status and without_time(str(previous.get("message"))) != without_time(str(status["message"])):
        return True
    if any(_shown(previous.get(key)) != _shown(status[key]) for key in _BY_TEXT if key in status):
        return True
    if any(_whole(previous.get(key)) != _whole(value) for key, value in status.items() if key not in _SILENT):
        return True
    before, now = (instant(one.get("dataThrough")) for one in (previous, status))
    return now is not None and (before is None or now - before >= _FRESH_S)


def _shown(figure: object) -> object:
    return figure.get("perUnit") if isinstance(figure, dict) else None


def _whole(value: object) -> object:
    """As the API server keeps it: it knows absent, not null."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items() if item is not None}
    return [_whole(item) for item in value] if isinstance(value, list) else value
