"""AWS Data Exports, table CARBON_EMISSIONS, as CSV: a row a month, account, service and region, in MTCO2e. Pure.

Rows of several model versions of one month stand side by side: the newest of each account and month counts. Totals are
read only where a row has no scopes, as in exports of model versions before v3.
"""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.external.file_amounts import EMISSION_UNITS
from carbonbudget_operator.external.file_draft import FileDraft, ScopedAmounts, newest_versions, version_number
from carbonbudget_operator.external.file_instants import check_past, month_between
from carbonbudget_operator.external.file_rows import Row, csv_rows, name_of
from carbonbudget_operator.external.import_errors import ExternalFileError, shown
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ledger.external_figure import ExternalFigure

_NEEDED: Final = ("model_version", "usage_account_id", "usage_period_start", "usage_period_end")
_PARTS: Final = {
    "1": "total_scope_1_emissions",
    "2-location": "total_scope_2_lbm_emissions",
    "2-market": "total_scope_2_mbm_emissions",
    "3-location": "total_scope_3_lbm_emissions",
    "3-market": "total_scope_3_mbm_emissions",
}
_TOTALS: Final = {"all-location": "total_lbm_emissions", "all-market": "total_mbm_emissions"}
_UNIT: Final = "MTCO2e"


def read_aws(text: str, _: ImportRequest, now: int) -> FileDraft:
    """The figures of the file. Raises ExternalFileError."""
    draft = FileDraft()
    newest = newest_versions(  # the rows are read twice: all of them at once take much memory
        ((row["usage_account_id"], _month(line, row)), row["model_version"], f"line {line}")
        for line, row in csv_rows(text, _NEEDED)
    )
    for line, row in csv_rows(text, _NEEDED):
        place, (start, end) = f"line {line}", _month(line, row)
        if version_number(row["model_version"], place) != newest[row["usage_account_id"], (start, end)]:
            draft.superseded += 1
            continue
        check_past(end, now, f"{place}: its month")
        account = name_of(row["usage_account_id"], f"{place}: usage_account_id")
        item = " / ".join(
            name_of(row.get(name, ""), f"{place}: {name}", needed=False)
            for name in ("product_code", "region_code", "location")
        )
        amounts = ScopedAmounts(place, _UNIT).of(_texts(row, _PARTS, place), _texts(row, _TOTALS, place))
        for scope, emissions_ug, rounded, stated in amounts:
            made = f"AWS model {row['model_version']}"
            draft.add(
                ExternalFigure(
                    "aws", scope, account, item, start, end, emissions_ug, None, made, line, stated
                ),
                rounded,
            )  # fmt: skip
    return draft


def _month(line: int, row: Row) -> tuple[int, int]:
    return month_between(row["usage_period_start"], row["usage_period_end"], f"line {line}: its period")


def _texts(row: Row, columns: dict[str, str], place: str) -> dict[str, tuple[str, str]]:
    """The amounts by scope, each with its column; their units are checked."""
    found = {}
    for scope, column in columns.items():
        text, unit = row.get(f"{column}_value", ""), row.get(f"{column}_unit", "")
        if text and unit != _UNIT:
            known = "another unit" if unit in EMISSION_UNITS else "no unit that is known"
            raise ExternalFileError(f"{place}: {column}_unit is {shown(unit)}, {known}: AWS states {_UNIT}")
        found[scope] = (f"{column}_value", text)
    return found
