"""Makes rows of /api/v1/targets from the objects that the API server has. Pure: objects in, flat dictionaries out.

Owners of targets write these objects. What cannot be read is null, and no text is longer than the CRDs allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from carbonbudget_operator.api.carbontarget import AnyTarget, CarbonTarget, ClusterCarbonTarget
from carbonbudget_operator.api.target_spec import CarbonTargetSpec, ClusterCarbonTargetSpec, source_text
from carbonbudget_operator.api.target_status import CarbonTargetStatus, FrozenBaseline
from carbonbudget_operator.api.wire_names import Resource
from carbonbudget_operator.server.public.object_cells import (
    Cells,
    condition_cell,
    condition_rows,
    cut_text,
    is_current,
    mass_cells,
    mass_in_grams,
    name_cells,
    parsed_object,
    selector_cell,
    time_text,
)

_MICRO: Final = 1_000_000


def parse_target(resource: Resource, body: Mapping[str, object]) -> AnyTarget | None:
    """The object as its model; with an empty status where that is of another version; None if the spec is."""
    model: type[AnyTarget] = CarbonTarget if resource.namespaced else ClusterCarbonTarget
    return parsed_object(model, body)


def target_row(resource: Resource, body: Mapping[str, object]) -> Cells:
    """The row of an object, with the fields of `TargetSummary`."""
    parsed = parse_target(resource, body)
    status = parsed.status if parsed is not None else CarbonTargetStatus()
    return {
        **name_cells(resource, body),
        "state": status.state,
        "message": None if status.message is None else cut_text(status.message),
        **_spec_cells(parsed.spec if parsed is not None else None),
        **_figure_cells(status),
        "ready": condition_cell(status.conditions, "Ready"),
        "units_available": condition_cell(status.conditions, "UnitsAvailable"),
        "observed_at": time_text(status.observed_at),
        "data_through": time_text(status.data_through),
        "current": is_current(parsed),
    }


def target_detail(resource: Resource, body: Mapping[str, object]) -> dict[str, object]:
    """One object with the fields of `TargetDetail`."""
    parsed = parse_target(resource, body)
    status = parsed.status if parsed is not None else CarbonTargetStatus()
    spec = parsed.spec if parsed is not None else None
    namespaces = spec.namespace_selector if isinstance(spec, ClusterCarbonTargetSpec) else None
    return {
        **target_row(resource, body),
        "selector": selector_cell(spec.selector if spec is not None else None),
        "namespace_selector": selector_cell(namespaces),
        "source": None if spec is None else cut_text(source_text(spec.unit.source)) or None,
        "minimum_units": spec.minimum_units if spec is not None else None,
        "created_at": time_text(parsed.metadata.creation_timestamp) if parsed is not None else None,
        "steps": [
            {"by": by, "reduction_percent": one.reduction}
            for one in (spec.target.steps if spec is not None else ())
            if (by := time_text(one.by)) is not None
        ],
        "baseline": None if status.baseline is None else _baseline(status.baseline),
        "conditions": condition_rows(status.conditions),
    }  # fmt: skip


def former_windows(resource: Resource, body: Mapping[str, object]) -> list[Cells]:
    """The calendar windows that are over, newest first, with the fields of `FormerTargetWindow`.

    A window whose start or end cannot be stated is left out: each row has both.
    """
    parsed = parse_target(resource, body)
    rows: list[Cells] = []
    for one in (parsed.status.history if parsed is not None else None) or ():
        figure, saved = one.figure, one.savings
        start, end = time_text(figure.start), time_text(figure.end)
        if start is None or end is None:
            continue
        rows.append(
            {
                "start": start,
                "end": end,
                "state": one.state,
                **mass_cells("per_unit", figure.per_unit_micrograms),
                "expected_g": one.expected_micrograms / _MICRO,
                "units": cut_text(figure.units),
                "emissions_ug": str(figure.emissions_micrograms),
                "energy_uj": str(figure.energy_microjoules),
                "hours_percent": figure.hours_percent,
                "emissions_percent": figure.emissions_percent,
                "saved_ug": None if saved is None else str(saved.micrograms),
                "absolute_fall_ug": None if saved is None else str(saved.absolute_fall_micrograms),
                "saved_uj": None if saved is None else str(saved.microjoules),
                "money": None if saved is None or saved.money is None else cut_text(saved.money),
            }
        )
    return rows


def _spec_cells(spec: CarbonTargetSpec | None) -> Cells:
    names = (
        "unit", "per", "reduction_percent", "by", "path", "tolerance_percent", "basis", "window", "time_zone",
        "accounting", "include",
    )  # fmt: skip
    if spec is None:
        return dict.fromkeys(names)
    return {
        "unit": spec.unit.name,
        "per": spec.unit.per,
        "reduction_percent": spec.target.reduction,
        "by": time_text(spec.target.by),
        "path": spec.target.path,
        "tolerance_percent": spec.tolerance,
        "basis": spec.basis,
        "window": spec.window,
        "time_zone": spec.time_zone,
        "accounting": spec.accounting,
        "include": ",".join(spec.include),
    }


def _figure_cells(status: CarbonTargetStatus) -> Cells:
    figure, expected, baseline = status.current, status.expected_now, status.baseline
    return {
        **mass_cells("current", figure.per_unit_micrograms if figure is not None else None),
        **mass_cells("expected", expected.per_unit_micrograms if expected is not None else None),
        **mass_cells("baseline", baseline.per_unit_micrograms if baseline is not None else None),
        "change_percent": _number(status.change),
        "at_baseline_grid_g": mass_in_grams(status.at_baseline_grid),
        "window_start": time_text(figure.start) if figure is not None else None,
        "window_end": time_text(figure.end) if figure is not None else None,
        "units": cut_text(figure.units) if figure is not None else None,
        **mass_cells("emissions", figure.emissions_micrograms if figure is not None else None),
        "embodied_ug": str(figure.embodied_micrograms) if figure is not None else None,
        "energy_uj": str(figure.energy_microjoules) if figure is not None else None,
        "hours_percent": figure.hours_percent if figure is not None else None,
        "emissions_percent": figure.emissions_percent if figure is not None else None,
        "measured_percent": figure.measured if figure is not None else None,
        "coverage_percent": figure.coverage if figure is not None else None,
    }


def _baseline(frozen: FrozenBaseline) -> dict[str, object]:
    span = frozen.measured
    return {
        **mass_cells("per_unit", frozen.per_unit_micrograms),
        "start": time_text(span.start) if span is not None else None,
        "end": time_text(span.end) if span is not None else None,
        "units": cut_text(span.units) if span is not None else None,
        "emissions_ug": str(span.emissions_micrograms) if span is not None else None,
        "energy_uj": str(span.energy_microjoules) if span is not None else None,
        "frozen_at": time_text(frozen.frozen_at),
        "restated": frozen.restated,
        "method": None if frozen.method is None else [cut_text(one) for one in frozen.method],
    }


def _number(written: str | None) -> float | None:
    try:
        found = None if written is None else float(written)
    except ValueError:
        return None
    return found if found is not None and abs(found) < 1e15 else None  # neither NaN nor infinity
