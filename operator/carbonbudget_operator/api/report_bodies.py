"""Bodies about reports: closing a period and opening it again under /v1, closed reports under /api/v1."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from carbonbudget_operator.api.base_model import NEXT_PAGE


class ClosePeriod(BaseModel):
    """POST /v1/report/close: keep a period's report as it is now."""

    model_config = ConfigDict(extra="forbid")

    period: str = Field(max_length=32, description="2026, 2026-Q1, 2026-01, 2026-W05 or 2026-01-15.")
    incomplete: bool = Field(False, description="Also if reports end before the period does.")


class ReopenPeriod(BaseModel):
    """POST /v1/report/reopen: undo a closure; it stays on record."""

    model_config = ConfigDict(extra="forbid")

    period: str = Field(max_length=32, description="As it was closed.")
    reason: str = Field(min_length=1, max_length=500, description="Why; it stays on record with the closed report.")


class ReportRow(BaseModel):
    """A report that was closed, and perhaps reopened."""

    period: str
    state: Literal["closed", "reopened"]
    closed_at: str = Field(description="RFC 3339, UTC")
    sha256: str = Field(description="Of the report's text as it was closed")
    reopened_at: str | None
    reason: str | None = Field(description="Why it was reopened")


class ReportsAnswer(BaseModel):
    """The answer to GET /api/v1/reports in JSON."""

    next: str | None = Field(description=NEXT_PAGE)
    rows: list[ReportRow]


class PeriodReport(BaseModel):
    """The report of a period, as `carbonbudget report -o json` prints it; it has more fields than are named here."""

    model_config = ConfigDict(extra="allow")

    coverage_percent: int | None = Field(description="Share of the cluster's node-time that was reported")
    settings: str = Field(description="Which settings value the energy")
    closed: dict[str, object] | None = Field(None, description="The closed report of this period, and what differs")
    reopened: list[dict[str, object]] | None = Field(None, description="Closed reports of this period that are undone")


class ClosedReportText(BaseModel):
    """A report as it was closed."""

    period: str
    closed_at: int = Field(description="UTC seconds")
    sha256: str = Field(description="Of `report` in UTF-8")
    report: str = Field(description="The report's JSON, as a string: the hash is of these bytes")
