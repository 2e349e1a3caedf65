"""Body of the request that removes an imported file of external figures."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RemoveExternal(BaseModel):
    """POST /v1/external/remove: remove a file's figures; what was removed stays on record."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(max_length=32, description="codecarbon, carbontracker, aws, gcp or azure.")
    sha256: str = Field(min_length=8, max_length=64, description="The file's SHA-256, or its first digits.")
    reason: str = Field(min_length=1, max_length=500, description="Why; it stays on record.")


class ExternalSum(BaseModel):
    """Figures that others measured, of one source, scope and method. They are in no figure of ours."""

    source: str = Field(description="codecarbon, carbontracker, aws, gcp or azure")
    scope: str
    scope_name: str = Field(description="The scope in words")
    method: str = Field(description="How the source computed them; figures of two methods are not added")
    figures: int = Field(description="How many lie inside the window")
    accounts: int = Field(description="Of how many accounts, projects or runs they are")
    files: int = Field(description="From how many imported files")
    emissions_g: float = Field(description="Their sum in grams of CO2 equivalent")
    emissions_ug: str = Field(description="The same, exact, in micrograms")
    energy_kwh: float | None = Field(description="Energy in kilowatt-hours; null where none is stated")
    energy_uj: str | None
    first: str | None = Field(description="Start of the first one, RFC 3339, UTC")
    last: str | None = Field(description="End of the last one")
    partly_figures: int = Field(description="How many only reach into the window; they are not in the sums")
    partly_g: float
    partly_ug: str


class ExternalAnswer(BaseModel):
    """The answer to GET /api/v1/external in JSON."""

    start: str = Field(description="The window, RFC 3339, UTC")
    end: str
    rows: list[ExternalSum]
