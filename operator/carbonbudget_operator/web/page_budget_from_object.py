"""A budget's object in the cluster as the page shows it. `kubectl carbon ui` reads it with the user's own rights."""

from __future__ import annotations

from collections.abc import Sequence

from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.api.condition_troubles import is_trouble
from carbonbudget_operator.budgets.limit_in_force import base_limit_ug, limit_in_force_ug
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.web.object_times import second_of as _second
from carbonbudget_operator.web.views.page_adjustments import PageAdjustment, PageChildren
from carbonbudget_operator.web.views.page_budget import PageBudget, PagePeriod, PageWorkload


def shown_object(budget: AnyBudget, sections: Sequence[tuple[str, Sequence[str]]] = ()) -> PageBudget:
    """The same figures that `kubectl carbon budgets` has. `sections` are what `explain` says about it."""
    spec, status = budget.spec, budget.status
    parts, force = status.breakdown, status.enforcement
    used_ug = status.used_micrograms if status.used_micrograms is not None else _mass(status.used)
    limit_ug = _limit(budget)
    return PageBudget(
        namespace=budget.metadata.namespace,
        name=budget.metadata.name,
        limit_ug=limit_ug or 0,
        limit_known=limit_ug is not None,
        accounting=spec.accounting,
        per_workload=spec.per == "Workload",
        time_zone=spec.time_zone,
        used_ug=used_ug if status.used is not None else None,
        percent=status.percent_used,
        forecast_ug=_mass(status.forecast),
        exhausted_at=_second(status.exhausted_at),
        state=status.state or "",
        action=status.action or "",
        blocks_until=_second(force.until) if force else None,
        suspends_from=_second(force.suspend_from) if force else None,
        start=_second(status.period.start) if status.period else None,
        end=_second(status.period.end) if status.period else None,
        data_through=_second(status.data_through),
        coverage=status.coverage,
        measured=status.measured,
        message=status.message or "",
        contact=spec.contact or "",
        parts=[
            (name, mass)
            for name in ("dynamic", "idle", "overhead", "embodied")
            if parts is not None and (mass := getattr(parts, name))
        ],
        workloads=[
            PageWorkload(one.namespace or "", one.kind, one.name, one.emissions, one.percent, one.state or "")
            for one in status.top_workloads or ()
        ],
        history=[
            PagePeriod(
                _second(one.start) or 0,
                _second(one.end) or 0,
                _mass(one.used) or 0,
                _mass(one.effective_limit or one.limit) or 0,
            )
            for one in reversed(status.history or ())
        ],
        troubles=[
            f"{one.type} is {one.status} ({one.reason}): {one.message}"
            for one in status.conditions or ()
            if is_trouble(one.type, one.status)
        ],
        sections=sections,
        base_limit_ug=_base_limit(budget),
        adjustments=[
            PageAdjustment(one.reason, one.micrograms, one.source) for one in status.adjustments or ()
        ],
        parent=spec.parent or "",
        children=None if (below := status.children) is None else PageChildren(
            below.count, below.allocated, below.unallocated
        ),
    )  # fmt: skip


def _limit(budget: AnyBudget) -> int | None:
    try:
        return limit_in_force_ug(budget)
    except QuantityError:
        return None


def _base_limit(budget: AnyBudget) -> int | None:
    try:
        return base_limit_ug(budget)
    except QuantityError:
        return None


def _mass(text: str | None) -> int | None:
    try:
        return None if text is None else parse_mass(text)
    except QuantityError:
        return None
