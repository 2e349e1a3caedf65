"""Google Cloud's Carbon Footprint export from BigQuery, as JSON lines or CSV, in kgCO2e. Pure.

In JSON lines records are nested; in CSV their columns are joined by a point or, as BigQuery names them, an underscore.
Offsets (`after_offsets`, `carbon_offsets_kgCO2e`) are never read: they are no emissions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from carbonbudget_operator.external.file_draft import FileDraft, ScopedAmounts, newest_versions, version_number
from carbonbudget_operator.external.file_instants import check_past, month_of
from carbonbudget_operator.external.file_rows import csv_rows, json_line_rows, name_of
from carbonbudget_operator.external.import_errors import ExternalFileError, shown
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ledger.external_figure import ExternalFigure

_FOOTPRINT: Final = "carbon_footprint_kgCO2e"
_TOTAL: Final = "carbon_footprint_total_kgCO2e"
_PARTS: Final = {
    "1": f"{_FOOTPRINT}.scope1",
    "2-location": f"{_FOOTPRINT}.scope2.location_based",
    "2-market": f"{_FOOTPRINT}.scope2.market_based",
    "3": f"{_FOOTPRINT}.scope3",
}
_TOTALS: Final = {"all-location": f"{_TOTAL}.location_based", "all-market": f"{_TOTAL}.market_based"}
_NAMES: Final = (
    "usage_month", "billing_account_id", "carbon_model_version", "project.id", "project.number", "service.id",
    "service.description", "location.region", "location.location",
)  # fmt: skip
_COLUMNS: Final = (*_NAMES, *_PARTS.values(), *_TOTALS.values())
_NEEDED: Final = ("usage_month", "billing_account_id", "carbon_model_version")


def read_gcp(text: str, _: ImportRequest, now: int) -> FileDraft:
    """The figures of the file. Raises ExternalFileError."""
    draft = FileDraft()
    rows = _json_rows if text.lstrip().startswith("{") else _csv_rows
    newest = newest_versions(  # the rows are read twice: all of them at once take much memory
        ((row["billing_account_id"], row["usage_month"]), row["carbon_model_version"], f"line {line}")
        for line, row in rows(text)
    )
    for line, row in rows(text):
        place = f"line {line}"
        if version_number(row["carbon_model_version"], place) != newest[row["billing_account_id"], row["usage_month"]]:
            draft.superseded += 1
            continue
        start, end = month_of(row["usage_month"], f"{place}: usage_month")
        check_past(end, now, f"{place}: its month")
        name_of(row["billing_account_id"], f"{place}: billing_account_id")
        names = {name: name_of(row[name], f"{place}: {name}", needed=False) for name in _NAMES}
        account = f"{names['billing_account_id']} / {names['project.number'] or names['project.id'] or 'no project'}"
        service = names["service.id"] or names["service.description"]
        item = " / ".join((service, names["location.region"], names["location.location"]))
        amounts = ScopedAmounts(place, "kgCO2e").of(
            {scope: (column, row[column]) for scope, column in _PARTS.items()},
            {scope: (column, row[column]) for scope, column in _TOTALS.items()},
        )
        for scope, emissions_ug, rounded, stated in amounts:
            made = f"Google model {row['carbon_model_version']}"
            draft.add(
                ExternalFigure(
                    "gcp", scope, account, item, start, end, emissions_ug, None, made, line, stated
                ),
                rounded,
            )  # fmt: skip
    return draft


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for line, row in csv_rows(text, _NEEDED):
        by_name = {name.replace(".", "_"): value for name, value in row.items()}
        if not any(column.replace(".", "_") in by_name for column in (*_PARTS.values(), *_TOTALS.values())):
            raise ExternalFileError(f"line 1 has no column of {_FOOTPRINT} or {_TOTAL}: this is no such export")
        yield line, {column: by_name.get(column.replace(".", "_"), "") for column in _COLUMNS}


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for line, row in json_line_rows(text):
        if missing := [name for name in _NEEDED if row.get(name) in (None, "")]:
            raise ExternalFileError(f"line {line} has no {missing[0]}: this is no such export")
        yield line, {column: _leaf(row, column, line) for column in _COLUMNS}


def _leaf(row: Mapping[str, Any], column: str, line: int) -> str:
    value: Any = row
    for name in column.split("."):
        if value is None:
            return ""
        if not isinstance(value, dict):
            raise ExternalFileError(f"line {line}: {column} is no record of that form")
        value = value.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ExternalFileError(f"line {line}: {column} is {shown(value)}, not one value")
    return value
