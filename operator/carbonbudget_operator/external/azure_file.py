"""Azure's carbon emission reports (`Microsoft.Carbon/carbonEmissionReports`), as JSON or CSV, in kgCO2E. Pure.

Only a row's month (`latestMonthEmissions`) is read: the month before, ratios and changes are other rows' figures. The
answer names neither the scopes nor the subscriptions that were asked for, and details have no date: who imports says
so by --scope, --account and --month.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from carbonbudget_operator.external.file_amounts import micrograms
from carbonbudget_operator.external.file_draft import FileDraft
from carbonbudget_operator.external.file_instants import check_past, month_of
from carbonbudget_operator.external.file_rows import MAX_ROWS, csv_rows, json_of, name_of
from carbonbudget_operator.external.import_errors import ExternalFileError, shown
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ledger.external_figure import ExternalFigure

_UNIT: Final = "kgCO2E"
_AMOUNT: Final = "latestMonthEmissions"
_DATED: Final = (
    "MonthlySummaryData", "TopItemsMonthlySummaryData", "ResourceTopItemsMonthlySummaryData",
    "ResourceGroupTopItemsMonthlySummaryData",
)  # fmt: skip
_UNDATED: Final = (
    "ItemDetailsData", "ResourceItemDetailsData", "ResourceGroupItemDetailsData", "TopItemsSummaryData",
    "ResourceTopItemsSummaryData", "ResourceGroupTopItemsSummaryData",
)  # fmt: skip
_NAMES: Final = ("resourceId", "resourceGroupUrl", "itemName", "subscriptionId", "categoryType")


def read_azure(text: str, request: ImportRequest, now: int) -> FileDraft:
    """The figures of the file. Raises ExternalFileError."""
    is_json = text.lstrip().startswith(("{", "["))
    draft = FileDraft("row" if is_json else "line")
    kind = ""
    for number, row in _json_rows(text) if is_json else csv_rows(text, ("dataType", _AMOUNT)):
        place = f"{draft.place} {number}"
        said = name_of(row.get("dataType"), f"{place}: dataType")
        if said not in (*_DATED, *_UNDATED):
            what = "sums over all months that were asked for" if said == "OverallSummaryData" else "not known"
            raise ExternalFileError(
                f"{place}: dataType is {shown(said)}: {what}. Import a MonthlySummaryReport, a "
                "TopItemsMonthlySummaryReport or an ItemDetailsReport"
            )
        if kind and said != kind:
            raise ExternalFileError(
                f"{place}: dataType is {shown(said)}, before it was {kind}: import one report a file"
            )
        kind = said
        figure, rounded = _figure(row, number, place, said, request, now)
        draft.add(figure, rounded)
    return draft


def _figure(
    row: Mapping[str, Any], number: int, place: str, kind: str, request: ImportRequest, now: int
) -> tuple[ExternalFigure, bool]:
    date = name_of(row.get("date"), f"{place}: date", needed=False)
    if kind in _DATED and request.month:
        raise ExternalFileError(f"{place}: its report has dates of its own: leave --month out")
    if not date and not request.month:
        raise ExternalFileError(f"{place} has no date: --month names the month that the report was asked for")
    start, end = month_of(date or request.month, f"{place}: date")
    check_past(end, now, f"{place}: its month")
    names = {name: name_of(row.get(name), f"{place}: {name}", needed=False) for name in _NAMES}
    amount = row.get(_AMOUNT)
    if not isinstance(amount, str):
        raise ExternalFileError(f"{place}: {_AMOUNT} is {shown(amount)}, which is no number")
    emissions_ug, rounded = micrograms(amount, _UNIT, f"{place}: {_AMOUNT}")
    item = names["resourceId"] or names["resourceGroupUrl"] or names["itemName"] or "all"
    if names["categoryType"]:
        item = f"{names['categoryType']} / {item}"
    if request.account and names["subscriptionId"] not in ("", request.account):
        raise ExternalFileError(f"{place} is of subscription {shown(names['subscriptionId'])}: leave --account out")
    account = names["subscriptionId"] or request.account
    figure = ExternalFigure(
        "azure", request.scope or "all", account, item, start, end, emissions_ug, None, f"Azure {kind}", number,
        f"{amount} {_UNIT}",
    )  # fmt: skip
    return figure, rounded


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of the API's answer, or of an array of them; they are counted from 1."""
    value = json_of(text, "the file")
    if isinstance(value, dict):
        if value.get("skipToken") or value.get("nextLink"):
            raise ExternalFileError(
                "the answer has a skipToken: more pages follow it. Join the rows of all pages first"
            )
        if isinstance(value.get("error"), dict):
            raise ExternalFileError("the file holds an error of Azure and no report")
        value = value.get("value")
    if not isinstance(value, list):
        raise ExternalFileError("the file has no array `value`: this is no carbon emission report")
    if len(value) > MAX_ROWS:
        raise ExternalFileError(f"the file has more than {MAX_ROWS} rows: import it in parts")
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise ExternalFileError(f"row {number} is no JSON object")
        yield number, row
