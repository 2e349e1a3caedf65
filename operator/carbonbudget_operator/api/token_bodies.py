"""Bodies of the requests that create and revoke read tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class CreateReadToken(BaseModel):
    """POST /v1/tokens: create a token that reads the public API."""

    model_config = ConfigDict(extra="forbid")

    namespaces: list[Annotated[str, Field(min_length=1, max_length=63)]] = Field(
        min_length=1, max_length=20, description="What it may read; `*` alone for the whole cluster."
    )
    seconds: int = Field(ge=3600, le=366 * 86_400, description="After how many seconds it expires.")
    name: str = Field(default="", max_length=200, description="What it is for.")


class RevokeReadToken(BaseModel):
    """POST /v1/tokens/revoke: revoke one."""

    model_config = ConfigDict(extra="forbid")

    id: int = Field(ge=1, le=2**31 - 1, description="Its number, as the list has it.")
