"""Makes rows of /api/v1/budgets from the objects that the API server has. Pure: objects in, flat dictionaries out.

Owners of budgets write these objects. What cannot be read is null, and no text is longer than the CRDs allow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from carbonbudget_core.jsons import at, text
from carbonbudget_operator.api.budget_spec import ClusterCarbonBudgetSpec
from carbonbudget_operator.api.budget_status import CarbonBudgetStatus
from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.selector import LabelSelector, selector_text
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import Resource
from carbonbudget_operator.budgets.limit_in_force import base_limit_ug, limit_in_force_ug
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.budgets.verdict import percent
from carbonbudget_operator.server.public.row_formats import Cell, instant

_LONGEST_TEXT: Final = 2_000
_LONGEST_SELECTOR: Final = 8_000

BudgetCells = dict[str, Cell]


def parse_budget(resource: Resource, body: Mapping[str, object]) -> AnyBudget | None:
    """The object as its model; with an empty status where that is of another version; None if the spec is."""
    model = CarbonBudget if resource.namespaced else ClusterCarbonBudget
    for tried in (body, {"metadata": body.get("metadata"), "spec": body.get("spec")}):
        try:
            return model.model_validate(tried)
        except ValidationError:
            continue
    return None


def budget_row(resource: Resource, body: Mapping[str, object]) -> BudgetCells:
    """The row of an object, with the fields of `BudgetSummary`."""
    metadata = at(body, "metadata")
    parsed = parse_budget(resource, body)
    return {
        "kind": resource.kind,
        "namespace": text(metadata.get("namespace")) if resource.namespaced else None,
        "name": text(metadata.get("name")),
        **_status_cells(parsed),
        **_spec_cells(parsed),
    }


def budget_detail(resource: Resource, body: Mapping[str, object]) -> dict[str, object]:
    """One object with the fields of `BudgetDetail`."""
    parsed = parse_budget(resource, body)
    status = parsed.status if parsed is not None else CarbonBudgetStatus()
    spec = parsed.spec if parsed is not None else None
    namespace_selector = spec.namespace_selector if isinstance(spec, ClusterCarbonBudgetSpec) else None
    return {
        **budget_row(resource, body),
        **_adjustments(parsed),
        "selector": selector_cell(spec.selector if spec is not None else None),
        "namespace_selector": selector_cell(namespace_selector),
        "namespaces": status.namespaces,
        "thresholds": [
            {"at_percent": one.at, "action": one.action, "basis": one.basis}
            for one in (spec.thresholds or () if spec is not None else ())
        ],
        "top_workloads": [
            {
                "kind": one.kind, "name": one.name, "namespace": one.namespace, "used_g": mass_in_grams(one.emissions),
                "percent_used": one.percent, "state": one.state,
            }
            for one in status.top_workloads or ()
        ],
        "conditions": [
            {
                "type": one.type, "status": one.status, "reason": one.reason, "message": cut_text(one.message),
                "last_transition_time": time_text(one.last_transition_time),
            }
            for one in status.conditions or ()
        ],
    }  # fmt: skip


def _adjustments(parsed: AnyBudget | None) -> dict[str, object]:
    status = parsed.status if parsed is not None else CarbonBudgetStatus()
    base_ug, children = _limit_ug(parsed, in_force=False), status.children
    return {
        "base_limit_g": None if base_ug is None else base_ug / 1_000_000,
        "base_limit_ug": None if base_ug is None else str(base_ug),
        "adjustments": [
            {
                "reason": one.reason, "amount_g": one.micrograms / 1_000_000, "amount_ug": str(one.micrograms),
                "source": cut_text(one.source),
            }
            for one in status.adjustments or ()
        ],
        "parent": parsed.spec.parent if parsed is not None else None,
        "children": None
        if children is None
        else {
            "count": children.count, "allocated_g": mass_in_grams(children.allocated),
            "unallocated_g": mass_in_grams(children.unallocated),
        },
    }  # fmt: skip


def history_rows(resource: Resource, body: Mapping[str, object]) -> list[BudgetCells]:
    """The periods that are over, newest first, with the fields of `FormerBudgetPeriod`.

    A period whose start or end cannot be stated is left out: each row has both.
    """
    parsed = parse_budget(resource, body)
    rows: list[BudgetCells] = []
    for one in (parsed.status.history if parsed is not None else None) or ():
        in_force = one.effective_limit or one.limit
        used, limit = _micrograms(one.used), _micrograms(in_force)
        start, end = time_text(one.start), time_text(one.end)
        if start is None or end is None:
            continue
        rows.append(
            {
                "start": start,
                "end": end,
                "used_g": mass_in_grams(one.used),
                "limit_g": mass_in_grams(in_force),
                "percent_used": percent(used, limit) if used is not None and limit is not None else None,
            }
        )
    return rows


def _spec_cells(parsed: AnyBudget | None) -> BudgetCells:
    spec = parsed.spec if parsed is not None else None
    limit_ug = _limit_ug(parsed)
    return {
        "limit_g": None if limit_ug is None else limit_ug / 1_000_000,
        "limit_ug": None if limit_ug is None else str(limit_ug),
        "period": spec.period if spec is not None else None,
        "time_zone": spec.time_zone if spec is not None else None,
        "per": spec.per if spec is not None else None,
        "accounting": spec.accounting if spec is not None else None,
        "include": ",".join(spec.include) if spec is not None else None,
        "contact": spec.contact if spec is not None else None,
    }


def _status_cells(parsed: AnyBudget | None) -> BudgetCells:
    status = parsed.status if parsed is not None else CarbonBudgetStatus()
    used_ug, parts, enforced = status.used_micrograms, status.breakdown, status.enforcement
    start, end = _period(parsed)
    return {
        "state": status.state,
        "action": status.action,
        "message": None if status.message is None else cut_text(status.message),
        "used_g": None if used_ug is None else used_ug / 1_000_000,
        "used_ug": None if used_ug is None else str(used_ug),
        "percent_used": status.percent_used,
        "forecast_g": mass_in_grams(status.forecast),
        "exhausted_at": time_text(status.exhausted_at),
        "period_start": time_text(start),
        "period_end": time_text(end),
        "dynamic_g": mass_in_grams(parts.dynamic) if parts is not None else None,
        "idle_g": mass_in_grams(parts.idle) if parts is not None else None,
        "overhead_g": mass_in_grams(parts.overhead) if parts is not None else None,
        "embodied_g": mass_in_grams(parts.embodied) if parts is not None else None,
        "enforced_action": enforced.action if enforced is not None else None,
        "enforced_until": time_text(enforced.until) if enforced is not None else None,
        "suspend_from": time_text(enforced.suspend_from) if enforced is not None else None,
        "ready": _condition(status, "Ready"),
        "data_complete": _condition(status, "DataComplete"),
        "coverage_percent": status.coverage,
        "measured_percent": status.measured,
        "observed_at": time_text(status.observed_at),
        "data_through": time_text(status.data_through),
        "current": _is_current(parsed),
    }


def _period(parsed: AnyBudget | None) -> tuple[dt.datetime | None, dt.datetime | None]:
    if parsed is None:
        return None, None
    period, spec = parsed.status.period, parsed.spec
    return (period.start, period.end) if period is not None else (spec.start, spec.end)


def _is_current(parsed: AnyBudget | None) -> bool | None:
    if parsed is None or parsed.status.observed_generation is None:
        return None
    return parsed.status.observed_generation == parsed.metadata.generation


def _condition(status: CarbonBudgetStatus, kind: str) -> bool | None:
    found = next((one.status for one in status.conditions or () if one.type == kind), "Unknown")
    return None if found == "Unknown" else found == "True"


def selector_cell(selector: LabelSelector | None) -> str | None:
    """As `kubectl` writes selectors; None for one that selects everything."""
    return cut_text(selector_text(selector), _LONGEST_SELECTOR) or None


def _limit_ug(parsed: AnyBudget | None, in_force: bool = True) -> int | None:
    try:
        if parsed is None:
            return None
        return limit_in_force_ug(parsed) if in_force else base_limit_ug(parsed)
    except QuantityError:
        return None


def _micrograms(mass: str | None) -> int | None:
    try:
        return None if mass is None else parse_mass(mass)
    except QuantityError:
        return None


def mass_in_grams(mass: str | None) -> float | None:
    """Grams of a mass with its unit; None without one, and for text that is none."""
    micrograms = _micrograms(mass)
    return None if micrograms is None else micrograms / 1_000_000


def time_text(at: dt.datetime | None) -> str | None:
    """RFC 3339, UTC."""
    try:
        return None if at is None else instant(seconds(at))
    except (OverflowError, ValueError, OSError):  # its UTC year is none of 1 to 9999
        return None


def cut_text(long: str, most: int = _LONGEST_TEXT) -> str:
    """The text, or its beginning where it is longer."""
    return long if len(long) <= most else f"{long[: most - 3]}..."
