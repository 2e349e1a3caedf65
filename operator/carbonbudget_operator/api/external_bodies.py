"""Body of the request that removes an imported file of external figures."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RemoveExternal(BaseModel):
    """POST /v1/external/remove: remove a file's figures; what was removed stays on record."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(max_length=32, description="codecarbon, carbontracker, aws, gcp or azure.")
    sha256: str = Field(min_length=8, max_length=64, description="The file's SHA-256, or its first digits.")
    reason: str = Field(min_length=1, max_length=500, description="Why; it stays on record.")
