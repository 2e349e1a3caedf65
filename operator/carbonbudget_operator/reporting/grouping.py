"""Grouping and filtering of valued rows, for `carbonbudget allocate` and GET /v1/allocation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carbonbudget_operator.reporting.numbers import grams, kilowatt_hours
from carbonbudget_operator.reporting.valued import ValuedRow

_FIELDS = ("namespace", "workload", "node")
UNLABELLED = "__unlabelled__"
FILTERED = "__filtered__"


class GroupingError(ValueError):
    """A grouping or filter that is none; one line says what to write."""


@dataclass(frozen=True, slots=True)
class Group:
    """One row of the answer."""

    key: dict[str, str]
    energy_uj: int
    location_ug: int

    def to_json(self) -> dict[str, object]:
        """Integers, with decimal strings beside them."""
        return {
            "key": self.key,
            "energy_uj": self.energy_uj,
            "energy_kwh": kilowatt_hours(self.energy_uj),
            "location_ug": self.location_ug,
            "location_g": grams(self.location_ug),
        }


def parse_group_by(text: str) -> tuple[str, ...]:
    """ "namespace,workload,label:project" to its parts. Raises GroupingError."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in parts:
        if part not in _FIELDS and not (part.startswith("label:") and len(part) > len("label:")):
            raise GroupingError(f"cannot group by {part!r}: use {', '.join(_FIELDS)} or label:KEY")
    return parts or ("namespace",)


def parse_filter(text: str) -> tuple[tuple[str, str], ...]:
    """ "namespace=a,label:project=x" to its parts. Raises GroupingError."""
    parts: list[tuple[str, str]] = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        field, separator, value = item.partition("=")
        if not separator:
            raise GroupingError(f"filter {item!r} has no value: write FIELD=VALUE")
        parts.append((parse_group_by(field)[0], value))
    return tuple(parts)


def group(rows: Iterable[ValuedRow], group_by: Sequence[str], filters: Sequence[tuple[str, str]]) -> list[Group]:
    """Sums by key, largest first. What a filter leaves out is one row, so that the total stays the total."""
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        kept = all(_field(row, field) == value for field, value in filters)
        key = tuple(_field(row, field) for field in group_by) if kept else (FILTERED,) * len(group_by)
        total = sums.setdefault(key, [0, 0])
        total[0] += row.energy_uj
        total[1] += row.location_ug
    groups = [
        Group(dict(zip(group_by, key, strict=True)), energy_uj, location_ug)
        for key, (energy_uj, location_ug) in sums.items()
    ]
    return sorted(groups, key=lambda g: (-g.location_ug, -g.energy_uj, *g.key.values()))


def answer(groups: Sequence[Group]) -> dict[str, object]:
    """The JSON of an allocation: the total and its rows."""
    total = Group({}, sum(g.energy_uj for g in groups), sum(g.location_ug for g in groups)).to_json()
    del total["key"]
    return {"total": total, "rows": [g.to_json() for g in groups]}


def _field(row: ValuedRow, field: str) -> str:
    if field == "namespace" or (row.special and field != "node"):
        return row.namespace
    if field == "workload":
        return row.workload
    if field == "node":
        return row.node
    return row.labels.get(field.removeprefix("label:"), UNLABELLED)
