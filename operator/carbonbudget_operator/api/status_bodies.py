"""The answer of /api/v1/status, as its OpenAPI document describes it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ExportStatus(BaseModel):
    """A target that closed hours are sent to."""

    target: str = Field(description="Its name in the settings")
    last_hour: str | None = Field(description="Start of the latest hour that it has, RFC 3339, UTC; null for none")
    hours_behind: int = Field(description="Closed hours of which it has nothing; an hour is closed 15 minutes later")
    oldest_missing: str | None = Field(description="Start of the first of them")


class RefusedReportsRow(BaseModel):
    """Node reports of one sender that the answering server refused for one reason since `refused_since`."""

    sender: str = Field(description="The node; the account if it is bound to none; `unknown` without a valid token")
    kind: str = Field(description="The reason in a word, as the label of carbonbudget_ingest_refused has it")
    reports: int = Field(description="How many times a report was refused; a report may be sent again")
    last: str = Field(description="When the last one was refused, RFC 3339, UTC")
    reason: str = Field(description="The reason of the last one in a sentence")


class ServerStatus(BaseModel):
    """What the server has."""

    cluster: str
    version: str
    settings: str = Field(description="Which settings value the energy")
    data_through: str | None = Field(description="The instant up to which every node reported")
    required_labels: list[str] = Field(description="Labels that every pod should have, by the settings")
    exports: list[ExportStatus] = Field(description="The continuous exports of the settings")
    refused_since: str = Field(description="Start of the server that answers; each server counts its own")
    refused: list[RefusedReportsRow] = Field(description="Refused node reports, the latest first, at most 500 rows")
