"""Answers of /api/v1 about nodes and closed reports, as its OpenAPI document describes them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_NEXT = "The `cursor` of the next page; null on the last one"


class NodeRow(BaseModel):
    """The energy of one domain of a node by one method. A node without energy in the window has one row."""

    node: str
    zone: str = Field(description="Grid zone; empty for a node that never reported")
    region: str
    instance_type: str
    domain: str | None = Field(description="What the meter covers: `cpu`, `dram`, `gpu:UUID`, `platform`")
    method: str | None = Field(description="How the energy is known: a meter, or `model`")
    energy_kwh: float = Field(description="Energy of the domain in kilowatt-hours")
    energy_uj: str = Field(description="The same, exact, in microjoules")
    measured_percent: int = Field(description="Share of the node's energy that a meter measured")
    first_report: str | None = Field(description="Start of the node's first report ever, RFC 3339, UTC")
    last_report: str | None = Field(description="End of its last report")
    coverage_percent: int | None = Field(
        description="Share of the node's time in the window that was reported; null where none was expected"
    )


class NodesAnswer(BaseModel):
    """The answer to GET /api/v1/nodes in JSON."""

    data_through: str | None = Field(description="The instant up to which every node reported; null without a report")
    start: str = Field(description="What is covered: the whole hours that hold the window")
    end: str
    next: str | None = Field(description=_NEXT)
    rows: list[NodeRow]


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

    next: str | None = Field(description=_NEXT)
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
