"""Prints a report as CSV: each line has the span that it covers and the factors that it uses."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from typing import Any, Final

from carbonbudget_operator.cli.covered_span import CSV_COVERS, csv_covers
from carbonbudget_operator.cli.external_output import csv_line
from carbonbudget_operator.cli.report_cost import COST_COLUMNS, cost_cells
from carbonbudget_operator.csv_text import csv_cells, csv_list
from carbonbudget_operator.special_label_values import UNLABELLED

COLUMNS: Final = (
    "it_energy_kwh", "facility_energy_kwh", "location_g", "market_g", "embodied_g", "measured_percent",
)  # fmt: skip
_FIGURES: Final = (*COLUMNS, "embodied_low_g", "embodied_high_g")
_OF_A_LINE: Final = ("emissions_g", "note", "it_energy_low_kwh", "it_energy_high_kwh")
_OF_A_CHANGE: Final = tuple(
    f"{name}_{what}"
    for name in ("energy_kwh", "location_g", "market_g", "embodied_g")
    for what in ("before", "change", "change_percent")
)
_OF_THE_REPORT: Final = ("cluster", "basis", "coverage_percent", "factors", "closed_sha256", "settings")
_ADDED: Final = ("unlabelled_energy_percent",)
_OF_A_ROW: Final = ("row_kind", "row_method")


def print_csv(result: dict[str, Any], closed_sha256: str) -> None:
    """All lines; columns are only ever added at the end, so that what reads them by place goes on working.

    `closed_sha256` is of the report itself, where it is printed as it was closed. Else it is that of the closed report
    of the same period, if there is one.
    """
    coverage = result["coverage_percent"]
    closed = closed_sha256 or result.get("closed", {}).get("sha256", "")
    of_all = [
        *csv_cells([result["cluster"], result["basis"], "" if coverage is None else coverage]),
        csv_list(result["factors"]), *csv_cells([closed, result.get("settings") or ""]),
    ]  # fmt: skip
    said = csv_covers(result)
    writer = csv.writer(sys.stdout)
    costs = cost_cells(result)
    priced = [*COST_COLUMNS, "currency"] if costs else []
    writer.writerow(
        [
            "kind",
            "name",
            *_FIGURES,
            *CSV_COVERS,
            *_OF_A_LINE,
            *_OF_THE_REPORT,
            *_ADDED,
            *_OF_A_CHANGE,
            *priced,
            *_OF_A_ROW,
        ]
    )
    changes, labels = _changes(result), result.get("labels", {})
    for kind, name, figures in _lines(result):
        own, more = ([figures.get(column, "") for column in columns] for columns in (_FIGURES, _OF_A_LINE))
        change = changes.get((kind, name), {})
        share = labels.get("unlabelled_energy_percent", "") if kind == "total" else figures.get("unlabelled", "")
        added = ["" if (cell := change.get(column)) is None else cell for column in _OF_A_CHANGE]
        cost = costs.get((kind, name), [""] * len(priced))
        of_a_row = [figures.get(column, "") for column in _OF_A_ROW]
        last = csv_cells([share, *added, *cost, *of_a_row])
        writer.writerow([*csv_cells([kind, name, *own, *said, *more]), *of_all, *last])


def _changes(result: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The changes since the period before by the kind and name of their lines."""
    change = result.get("change", {})
    if not change.get("has_data"):
        return {}
    found = {("total", "total"): change["total"]}
    found |= {("namespace", name): one for name, one in change["namespaces"].items()}
    for key, values in change["labels"].items():
        found |= {(f"label:{key}", value): one for value, one in values.items()}
    return found


def _lines(result: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, name and cells of each line."""
    by_owner = "ownership" if "ownership" in result else "scopes"  # as closed by an earlier version
    yield "total", "total", result["total"]
    for name, figures in result[by_owner].items():
        yield by_owner.removesuffix("s"), name, figures
    for name, figures in result["namespaces"].items():
        yield "namespace", name, figures
    for row in result.get("inventory", ()):
        # Empty in a report that an earlier version closed.
        cells = {name: row.get(key, "") for name, key in zip(_OF_A_ROW, ("kind", "method"), strict=True)}
        yield "inventory", row["name"], {"emissions_g": row["g"] or "", "note": row["note"], **cells}
    for line in result["energy"]:
        yield "energy", f"{line['domain']} by {line['method']}", {
            "it_energy_kwh": line["kwh"], "it_energy_low_kwh": line["low_kwh"], "it_energy_high_kwh": line["high_kwh"],
        }  # fmt: skip
    yield from _label_lines(result)
    for row in result.get("external", ()):
        yield "external", *csv_line(row)


def _label_lines(result: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each value of the required labels, and the names that only the period before had."""
    labels, change = result.get("labels", {}), result.get("change", {})
    values = labels.get("values", {})
    for key, rows in values.items():
        share = labels["unlabelled_energy_percent_by_label"][key]
        for row in rows:
            figures = {
                "it_energy_kwh": row["energy_kwh"], "location_g": row["location_g"], "market_g": row["market_g"],
                "embodied_g": row["embodied_g"], "unlabelled": share if row["value"] == UNLABELLED else "",
            }  # fmt: skip
            yield f"label:{key}", row["value"], figures
    if change.get("has_data"):
        for name in sorted(change["namespaces"].keys() - result["namespaces"].keys()):
            yield "namespace", name, {}
        for key, found in change["labels"].items():
            for value in sorted(found.keys() - {row["value"] for row in values.get(key, ())}):
                yield f"label:{key}", value, {}
