"""Answers of /api/v1 about nodes, as its OpenAPI document describes them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from carbonbudget_operator.api.base_model import NEXT_PAGE


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
    next: str | None = Field(description=NEXT_PAGE)
    rows: list[NodeRow]
