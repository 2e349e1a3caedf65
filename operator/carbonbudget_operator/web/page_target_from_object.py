"""A target's object in the cluster as the page shows it. `kubectl carbon ui` reads it with the user's own rights."""

from __future__ import annotations

from carbonbudget_operator.api.carbontarget import AnyTarget, ClusterCarbonTarget
from carbonbudget_operator.api.selector import selector_text
from carbonbudget_operator.api.target_spec import source_text
from carbonbudget_operator.api.target_status import FormerWindow
from carbonbudget_operator.web.object_times import second_of
from carbonbudget_operator.web.views.page_target import PageTarget
from carbonbudget_operator.web.views.page_target_from_answer import target_counts
from carbonbudget_operator.web.views.page_target_history import PageSavings, PageWindow


def shown_target_object(target: AnyTarget) -> PageTarget:
    """A target's figures for the page, as `kubectl get carbontargets` has them, and the history."""
    spec, status = target.spec, target.status
    current, baseline, expected = status.current, status.baseline, status.expected_now
    spaces = target.spec.namespace_selector if isinstance(target, ClusterCarbonTarget) else None
    return PageTarget(
        namespace=target.metadata.namespace,
        name=target.metadata.name,
        unit=spec.unit.name,
        per=spec.unit.per,
        window=spec.window,
        time_zone=spec.time_zone,
        basis=spec.basis,
        accounting=spec.accounting,
        reduction=spec.target.reduction,
        by=second_of(spec.target.by),
        tolerance=spec.tolerance,
        state=status.state or "",
        message=status.message or "",
        current_ug=current.per_unit_micrograms if current else None,
        current_start=second_of(current.start) if current else None,
        current_end=second_of(current.end) if current else None,
        units=current.units if current else "",
        emissions_ug=current.emissions_micrograms if current else None,
        energy_uj=current.energy_microjoules if current else None,
        hours_percent=current.hours_percent if current else None,
        measured=current.measured if current else None,
        coverage=current.coverage if current else None,
        at_baseline_grid=status.at_baseline_grid or "",
        expected_ug=expected.per_unit_micrograms if expected else None,
        baseline_ug=baseline.per_unit_micrograms if baseline else None,
        baseline_start=second_of(baseline.measured.start) if baseline and baseline.measured else None,
        baseline_end=second_of(baseline.measured.end) if baseline and baseline.measured else None,
        created=second_of(target.metadata.creation_timestamp),
        baseline_restated=(baseline.restated or "") if baseline else "",
        change=status.change or "",
        data_through=second_of(status.data_through),
        path=spec.target.path,
        steps=[(at, one.reduction) for one in spec.target.steps if (at := second_of(one.by)) is not None],
        counts=target_counts(
            target.metadata.namespace, selector_text(spec.selector), selector_text(spaces),
            source_text(spec.unit.source), spec.minimum_units,
        ),
        conditions=[(one.type, one.status, one.message or one.reason) for one in status.conditions or ()],
        history=[_window(one) for one in reversed(status.history or ())],
    )  # fmt: skip


def _window(one: FormerWindow) -> PageWindow:
    figure, savings = one.figure, one.savings
    return PageWindow(
        second_of(figure.start) or 0, second_of(figure.end) or 0, figure.per_unit_micrograms, one.expected_micrograms,
        one.state, figure.units, figure.hours_percent,
        None if savings is None else PageSavings(
            savings.micrograms, savings.microjoules, savings.absolute_fall_micrograms, savings.money or ""
        ),
    )  # fmt: skip
