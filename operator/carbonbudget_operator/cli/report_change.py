"""The lines of a report about required labels, sealed hours and the change since the period before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from carbonbudget_operator.cli.covered_span import date_of
from carbonbudget_operator.cli.table_cells import rounded

_MOST_LINES: Final = 20  # of one label; JSON and CSV have all
_SHOWN: Final = (("energy_kwh", "kWh of IT energy"), ("location_g", "g location-based"), ("market_g", "g market-based"))


def label_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """How much of the pods' energy has not all required labels; nothing where the settings require none."""
    labels = report.get("labels")
    if labels is None:
        return
    yield (
        f"without all of the required labels {', '.join(labels['required'])}: {labels['unlabelled_energy_percent']} % "
        f"of the pods' energy ({rounded(labels['unlabelled_energy_kwh'])} of {rounded(labels['pods_energy_kwh'])} kWh "
        "of IT energy)"
    )
    for key, percent in labels["unlabelled_energy_percent_by_label"].items():
        yield f"without the label {key}: {percent} % of the pods' energy"


def change_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The change in total and by label, the largest emissions first; or that the period before has no data."""
    change = report.get("change")
    if change is None:
        return
    span = f"{date_of(change['from'])} to {date_of(change['to'])}"
    if not change["has_data"]:
        yield f"the period before, {span}, has no data: there is nothing to compare with"
        return
    yield f"change since the period before, {span}{_notes(change)}:"
    for since, settings in settings_changes(change):
        yield f"  other settings from {since}, a part of the change comes from them: {settings}"
    yield f"  total: {_sentence(change['total'])}"
    for key, values in change["labels"].items():
        for value, one in list(values.items())[:_MOST_LINES]:
            yield f"  {key}={value}: {_sentence(one)}"
        if (more := len(values) - _MOST_LINES) > 0:
            yield f"  {more} more values of {key}: -o json and -o csv have all"


def settings_changes(change: Mapping[str, Any]) -> list[tuple[str, str]]:
    """From when on which settings differ within the two periods; a change that an earlier version made has none."""
    return [(date_of(one["from"]), "; ".join(one["settings"])) for one in change.get("settings_changes", ())]


def sealed_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Up to when hours are sealed, and what follows from that; nothing where none is."""
    if sealed := report.get("sealed_until"):
        yield (
            f"hours before {date_of(sealed)} are sealed: a residual mix, contract or PUE that is known later does not "
            "change them"
        )


def signed(figure: str) -> str:
    """A change as people read it: with its sign."""
    return rounded(figure) if figure.startswith("-") or figure == "0" else f"+{rounded(figure)}"


def percent_of(percent: str | None) -> str:
    """A change in percent; where there was nothing before, in words."""
    if percent is None:
        return "nothing before"
    return f"{'' if percent.startswith('-') or percent == '0.0' else '+'}{percent} %"


def _notes(change: Mapping[str, Any]) -> str:
    said = "" if change["over"] else "; this period is not over, so a part of it stands beside a whole one"
    covered = change["coverage_percent"]
    if covered is not None and covered < 100:
        said += f"; the period before has a coverage of {covered or 'less than 1'} %"
    return said


def _sentence(one: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{signed(one[f'{name}_change'])} {unit} ({percent_of(one[f'{name}_change_percent'])})" for name, unit in _SHOWN
    )
