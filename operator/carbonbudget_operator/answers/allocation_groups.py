"""Grouping and filtering of valued rows, for `carbonbudget allocate` and GET /v1/allocation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from carbonbudget_operator.answers.time_ranges import covers
from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.ledger.valued_rows import (
    EMBODIED_HIGH_UG,
    EMBODIED_LOW_UG,
    EMBODIED_UG,
    ENERGY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedRow,
)
from carbonbudget_operator.run_labels import SHORT_NAMES, with_keys
from carbonbudget_operator.special_label_values import UNLABELLED

_FIELDS = ("namespace", "workload", "node", *SHORT_NAMES)
_SUMS = ("energy_uj", "location_ug", "market_ug", "embodied_ug", "metered_uj", "embodied_low_ug", "embodied_high_ug")
FILTERED = "__filtered__"


class GroupingError(ValueError):
    """The text is no grouping or filter. The message is one line with what to write."""


@dataclass(frozen=True, slots=True)
class AllocationGroup:
    """One row of the answer. Location-based and market-based stand side by side, never netted; embodied apart."""

    key: dict[str, str]
    factors: frozenset[str]
    energy_uj: int
    location_ug: int
    market_ug: int
    embodied_ug: int
    metered_uj: int
    embodied_low_ug: int
    embodied_high_ug: int

    def to_json(self, sentences: Mapping[str, int]) -> dict[str, object]:
        """Integers, with decimal strings beside them; `factors` are the places of its sentences in the answer's."""
        return {
            "key": self.key,
            "energy_uj": self.energy_uj,
            "energy_kwh": kilowatt_hours(self.energy_uj),
            "location_ug": self.location_ug,
            "location_g": grams(self.location_ug),
            "market_ug": self.market_ug,
            "market_g": grams(self.market_ug),
            "embodied_ug": self.embodied_ug,
            "embodied_g": grams(self.embodied_ug),
            "embodied_low_ug": self.embodied_low_ug,
            "embodied_high_ug": self.embodied_high_ug,
            "measured_percent": self.metered_uj * 100 // self.energy_uj if self.energy_uj else 0,
            "factors": sorted(sentences[factor] for factor in self.factors),
        }


def parse_group_by(text: str) -> tuple[str, ...]:
    """ "namespace,workload,label:project" to its parts; runs and models with their namespace. Raises GroupingError."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in parts:
        _check_field(part, "group")
    return with_keys(parts) if SHORT_NAMES.keys() & set(parts) else parts or ("namespace",)


def parse_filter(text: str) -> tuple[tuple[str, str], ...]:
    """ "namespace=a,label:project=x" to its parts. Raises GroupingError."""
    parts: list[tuple[str, str]] = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        field, separator, value = item.partition("=")
        if not separator:
            raise GroupingError(f"filter {item!r} has no value: write FIELD=VALUE")
        _check_field(field := field.strip(), "filter")
        _check_value(field, value := value.strip())
        if any(field == previous for previous, _ in parts):
            raise GroupingError(f"filter names {field} twice, and no row has two: ask once for each")
        parts.append((field, value))
    return tuple(parts)


def _check_value(field: str, value: str) -> None:
    """A value that no row can have is an error, not an answer without rows."""
    if not value and not field.startswith("label:"):  # a label may be empty
        raise GroupingError(f"filter {field!r} has no value: write {field}=VALUE")
    if field == "workload" and "/" not in value and not value.startswith("__"):
        raise GroupingError(
            f"filter workload={value} has no kind: write workload=KIND/{value}, for example Job/{value}"
        )


def _check_field(field: str, to: str) -> None:
    if field not in _FIELDS and not (field.startswith("label:") and len(field) > len("label:")):
        raise GroupingError(f"cannot {to} by {field!r}: use {', '.join(_FIELDS)} or label:KEY")


def needs_nodes(group_by: Sequence[str], filters: Sequence[tuple[str, str]]) -> bool:
    """Whether the rows of different nodes must be separate."""
    return "node" in group_by or any(field == "node" for field, _ in filters)


def group_rows(
    rows: Iterable[ValuedRow], group_by: Sequence[str], filters: Sequence[tuple[str, str]]
) -> list[AllocationGroup]:
    """Sums by key, largest first. What a filter leaves out is one more row, so that the total is unchanged."""
    sums: dict[tuple[str, ...], list[int]] = {}
    factors: dict[tuple[str, ...], frozenset[str]] = {}
    for row in rows:
        selected = all(field_of(row, field) == value for field, value in filters)
        key = tuple(field_of(row, field) for field in group_by) if selected else (FILTERED,) * len(group_by)
        total, figures = sums.setdefault(key, [0] * len(_SUMS)), row.figures
        if not row.factors <= factors.setdefault(key, row.factors):
            factors[key] |= row.factors
        total[0] += sum(figures[ENERGY_UJ])
        total[1] += sum(figures[LOCATION_UG])
        total[2] += sum(figures[MARKET_UG])
        total[3] += figures[EMBODIED_UG]
        total[4] += figures[METERED_UJ]
        total[5] += figures[EMBODIED_LOW_UG]
        total[6] += figures[EMBODIED_HIGH_UG]
    groups = [
        AllocationGroup(dict(zip(group_by, key, strict=True)), factors[key], *total) for key, total in sums.items()
    ]
    return sorted(groups, key=lambda g: (-g.location_ug, -g.energy_uj, *g.key.values()))


def allocation_json(groups: Sequence[AllocationGroup], span: tuple[int, int]) -> dict[str, object]:
    """The JSON of an allocation: what it covers, the total, its rows, a sentence for each factor that went into them.

    `span` is the [start, end) in UTC seconds that the groups are of (`covered_range`).
    """
    sums = (sum(getattr(g, field) for g in groups) for field in _SUMS)
    factors = sorted(frozenset[str]().union(*(g.factors for g in groups)))
    sentences = {factor: index for index, factor in enumerate(factors)}
    total = AllocationGroup({}, frozenset(factors), *sums).to_json(sentences)
    del total["key"], total["factors"]
    rows = [g.to_json(sentences) for g in groups]
    return {"covers": covers(span), "total": total, "rows": rows, "factors": factors}


def field_of(row: ValuedRow, field: str) -> str:
    """The row's value of a grouping field; of a row of no pod its name, for every field but the node."""
    if field == "namespace" or (row.special and field != "node"):
        return row.namespace
    if field == "workload":
        return row.workload
    if field == "node":
        return row.node
    if field in SHORT_NAMES:  # an empty label names nothing
        return row.labels.get(SHORT_NAMES[field]) or UNLABELLED
    return row.labels.get(field.removeprefix("label:"), UNLABELLED)
