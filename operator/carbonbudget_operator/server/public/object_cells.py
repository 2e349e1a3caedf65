"""Cells of /api/v1 that are made of a budget or of a target, from the objects that the API server has. Pure.

Their owners write these objects. What cannot be read is null, and no text is longer than the CRDs allow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from carbonbudget_core.jsons import at, text
from carbonbudget_operator.api.budget_status import StatusCondition
from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.api.carbontarget import AnyTarget
from carbonbudget_operator.api.selector import LabelSelector, selector_text
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import Resource
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.server.public.row_formats import Cell, instant

_LONGEST_TEXT: Final = 2_000
_LONGEST_SELECTOR: Final = 8_000
_UG_PER_G: Final = 1_000_000

Cells = dict[str, Cell]
_Object = TypeVar("_Object", bound=BaseModel)


def parsed_object(model: type[_Object], body: Mapping[str, object]) -> _Object | None:
    """The object as its model; with an empty status where that is of another version; None if the spec is."""
    for tried in (body, {"metadata": body.get("metadata"), "spec": body.get("spec")}):
        try:
            return model.model_validate(tried)
        except ValidationError:
            continue
    return None


def name_cells(resource: Resource, body: Mapping[str, object]) -> Cells:
    """Kind, namespace and name."""
    metadata = at(body, "metadata")
    return {
        "kind": resource.kind,
        "namespace": text(metadata.get("namespace")) if resource.namespaced else None,
        "name": text(metadata.get("name")),
    }


def is_current(parsed: AnyBudget | AnyTarget | None) -> bool | None:
    """Whether the figures of the status are of the present spec; None where that is not known."""
    if parsed is None or parsed.status.evaluated_generation is None:
        return None
    return parsed.status.evaluated_generation == parsed.metadata.generation


def condition_cell(conditions: Iterable[StatusCondition] | None, kind: str) -> bool | None:
    """Whether a condition is true; None where that is not known."""
    found = next((one.status for one in conditions or () if one.type == kind), "Unknown")
    return None if found == "Unknown" else found == "True"


def condition_rows(conditions: Iterable[StatusCondition] | None) -> list[Cells]:
    """All conditions."""
    return [
        {
            "type": one.type, "status": one.status, "reason": one.reason, "message": cut_text(one.message),
            "last_transition_time": time_text(one.last_transition_time),
        }
        for one in conditions or ()
    ]  # fmt: skip


def selector_cell(selector: LabelSelector | None) -> str | None:
    """As `kubectl` writes selectors; None for one that selects everything."""
    return cut_text(selector_text(selector), _LONGEST_SELECTOR) or None


def mass_cells(name: str, micrograms: int | None) -> Cells:
    """A mass in grams and, exactly, in micrograms: `name`_g and `name`_ug."""
    if micrograms is None:
        return {f"{name}_g": None, f"{name}_ug": None}
    return {f"{name}_g": micrograms / _UG_PER_G, f"{name}_ug": str(micrograms)}


def micrograms_of(mass: str | None) -> int | None:
    """Micrograms of a mass with its unit; None without one, and for text that is none."""
    try:
        return None if mass is None else parse_mass(mass)
    except QuantityError:
        return None


def mass_in_grams(mass: str | None) -> float | None:
    """The grams of a mass in a status; None where it has none."""
    micrograms = micrograms_of(mass)
    return None if micrograms is None else micrograms / _UG_PER_G


def time_text(at: dt.datetime | None) -> str | None:
    """RFC 3339, UTC."""
    try:
        return None if at is None else instant(seconds(at))
    except (OverflowError, ValueError, OSError):  # its UTC year is none of 1 to 9999
        return None


def cut_text(long: str, most: int = _LONGEST_TEXT) -> str:
    """The text, or its beginning where it is longer."""
    return long if len(long) <= most else f"{long[: most - 3]}..."
