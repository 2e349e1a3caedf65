"""Makes rows of /api/v1/budgets from the objects that the API server has. Pure: objects in, flat dictionaries out.

Owners of budgets write these objects. What cannot be read is null, and no text is longer than the CRDs allow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from carbonbudget_operator.api.budget_spec import ClusterCarbonBudgetSpec
from carbonbudget_operator.api.budget_status import CarbonBudgetStatus
from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.wire_names import Resource
from carbonbudget_operator.budgets.limit_in_force import base_limit_ug, limit_in_force_ug
from carbonbudget_operator.budgets.quantity import QuantityError
from carbonbudget_operator.budgets.verdict import percent
from carbonbudget_operator.server.public.object_cells import (
    Cells,
    condition_cell,
    condition_rows,
    cut_text,
    is_current,
    mass_cells,
    mass_in_grams,
    micrograms_of,
    name_cells,
    parsed_object,
    selector_cell,
    time_text,
)


def parse_budget(resource: Resource, body: Mapping[str, object]) -> AnyBudget | None:
    """The object as its model; with an empty status where that is of another version; None if the spec is."""
    model: type[AnyBudget] = CarbonBudget if resource.namespaced else ClusterCarbonBudget
    return parsed_object(model, body)


def budget_row(resource: Resource, body: Mapping[str, object]) -> Cells:
    """The row of an object, with the fields of `BudgetSummary`."""
    parsed = parse_budget(resource, body)
    return {
        **name_cells(resource, body),
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
            for one in sorted(spec.thresholds or () if spec is not None else (), key=lambda one: one.at)
        ],
        "top_workloads": [
            {
                "kind": one.kind, "name": one.name, "namespace": one.namespace, "used_g": mass_in_grams(one.emissions),
                "percent_used": one.percent, "state": one.state,
            }
            for one in status.top_workloads or ()
        ],
        "conditions": condition_rows(status.conditions),
    }  # fmt: skip


def _adjustments(parsed: AnyBudget | None) -> dict[str, object]:
    status = parsed.status if parsed is not None else CarbonBudgetStatus()
    children = status.children
    return {
        **mass_cells("base_limit", _limit_ug(parsed, in_force=False)),
        "adjustments": [
            {"reason": one.reason, **mass_cells("amount", one.micrograms), "source": cut_text(one.source)}
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


def history_rows(resource: Resource, body: Mapping[str, object]) -> list[Cells]:
    """The periods that are over, newest first, with the fields of `FormerBudgetPeriod`.

    A period whose start or end cannot be stated is left out: each row has both.
    """
    parsed = parse_budget(resource, body)
    rows: list[Cells] = []
    for one in (parsed.status.history if parsed is not None else None) or ():
        in_force = one.effective_limit or one.limit
        used, limit = micrograms_of(one.used), micrograms_of(in_force)
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


def _spec_cells(parsed: AnyBudget | None) -> Cells:
    spec = parsed.spec if parsed is not None else None
    return {
        **mass_cells("limit", _limit_ug(parsed)),
        "period": spec.period if spec is not None else None,
        "time_zone": spec.time_zone if spec is not None else None,
        "per": spec.per if spec is not None else None,
        "accounting": spec.accounting if spec is not None else None,
        "include": ",".join(spec.include) if spec is not None else None,
        "contact": spec.contact if spec is not None else None,
    }


def _status_cells(parsed: AnyBudget | None) -> Cells:
    status = parsed.status if parsed is not None else CarbonBudgetStatus()
    parts, enforced = status.breakdown, status.enforcement
    start, end = _period(parsed)
    return {
        "state": status.state,
        "action": status.action,
        "message": None if status.message is None else cut_text(status.message),
        **mass_cells("used", status.used_micrograms),
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
        "ready": condition_cell(status.conditions, "Ready"),
        "data_complete": condition_cell(status.conditions, "DataComplete"),
        "coverage_percent": status.coverage,
        "measured_percent": status.measured,
        "observed_at": time_text(status.observed_at),
        "data_through": time_text(status.data_through),
        "current": is_current(parsed),
    }


def _period(parsed: AnyBudget | None) -> tuple[dt.datetime | None, dt.datetime | None]:
    if parsed is None:
        return None, None
    period, spec = parsed.status.period, parsed.spec
    return (period.start, period.end) if period is not None else (spec.start, spec.end)


def _limit_ug(parsed: AnyBudget | None, in_force: bool = True) -> int | None:
    try:
        if parsed is None:
            return None
        return limit_in_force_ug(parsed) if in_force else base_limit_ug(parsed)
    except QuantityError:
        return None
