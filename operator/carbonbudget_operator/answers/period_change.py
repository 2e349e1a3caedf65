"""A report's figures beside those of the period before, in total, by namespace and by label. Pure.

The change is no part of a closed report: it also depends on the other period, whose figures may be revised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from carbonbudget_operator.answers.required_labels import MOST_VALUES
from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.special_label_values import OTHER_VALUES

# The name of a figure here, its key in a total or namespace, its key in a label's value, and how it is written.
_FIGURES: Final = (
    ("energy_kwh", "it_energy_uj", "energy_uj", kilowatt_hours),
    ("location_g", "location_ug", "location_ug", grams),
    ("market_g", "market_ug", "market_ug", grams),
    ("embodied_g", "embodied_ug", "embodied_ug", grams),
)

_Sums = Mapping[str, Mapping[str, int]]  # by value of a label
_Values = Mapping[str, _Sums]  # by label


def period_change(
    report: Mapping[str, Any],
    before: Mapping[str, Any],
    before_has_data: bool,
    over: bool,
    label_values: tuple[_Values, _Values] = ({}, {}),
    settings_changes: Sequence[tuple[int, list[str]]] = (),
) -> dict[str, object]:
    """What `report` has more or less than `before`, two reports in their JSON form.

    `over`: whether the report's period is over; else a part of a period stands beside a whole one. Where nothing was
    reported in the period before there are no changes, because no data are not zero emissions. `label_values`: of
    both, `RequiredLabels.all_values`. Each report folds its own smallest values together, so those do not compare.
    `settings_changes`: by which settings hours of both periods differ, by the UTC second from which they do.
    """
    found: dict[str, object] = {
        "from": before["from"], "to": before["to"], "has_data": before_has_data, "over": over,
        "coverage_percent": before["coverage_percent"],
    }  # fmt: skip
    if not before_has_data:
        return found
    labels, labels_before = label_values
    return found | {
        "settings_changes": [{"from": since, "settings": its} for since, its in settings_changes],
        "total": _change(report["total"], before["total"], False),
        "namespaces": _changes(report["namespaces"], before["namespaces"], False),
        "labels": {key: _changes(*_folded(values, labels_before.get(key, {})), True) for key, values in labels.items()},
    }


def _folded(now: _Sums, before: _Sums) -> tuple[_Sums, _Sums]:
    """Both periods with the same values: the largest in either of them, the others together as `OTHER_VALUES`."""

    def largest(value: str) -> int:
        return max(int(one.get(value, {}).get("location_ug", 0)) for one in (now, before))

    names = sorted(now.keys() | before.keys(), key=lambda value: (-largest(value), value))
    kept, rest = names[:MOST_VALUES], names[MOST_VALUES:]

    def fold(one: _Sums) -> _Sums:
        found = {value: one[value] for value in kept if value in one}
        if rest:
            found[OTHER_VALUES] = {
                column: sum(int(one.get(value, {}).get(column, 0)) for value in rest) for _, _, column, _ in _FIGURES
            }
        return found

    return fold(now), fold(before)


def _changes(now: Mapping[str, Any], before: Mapping[str, Any], of_label: bool) -> dict[str, object]:
    """By name, also of those that only one of the two periods has; in the order of today's, then by name."""
    names = [*now, *sorted(before.keys() - now.keys())]
    return {name: _change(now.get(name, {}), before.get(name, {}), of_label) for name in names}


def _change(now: Mapping[str, Any], before: Mapping[str, Any], of_label: bool) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, key, label_key, written in _FIGURES:
        column = label_key if of_label else key
        new, old = int(now.get(column, 0)), int(before.get(column, 0))
        found[name] = written(new)
        found[f"{name}_before"] = written(old)
        found[f"{name}_change"] = f"-{written(old - new)}" if new < old else written(new - old)
        found[f"{name}_change_percent"] = _percent(new - old, old)
    return found


def _percent(change: int, before: int) -> str | None:
    """With one decimal, half away from zero; None where there was nothing before."""
    if not before:
        return None
    tenths = (abs(change) * 2000 + before) // (2 * before)
    return f"{'-' if change < 0 and tenths else ''}{tenths // 10}.{tenths % 10}"
