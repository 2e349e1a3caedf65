"""Bodies of the questions that close a period's report and open it again."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
