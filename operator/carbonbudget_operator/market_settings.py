"""Settings of market-based figures: contracts, the supplier's factor, residual mixes, attested claims."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from carbonbudget_operator.dated_settings import DATED
from carbonbudget_operator.intensity_settings import SettingsSection


class MarketRate(SettingsSection):
    """A market-based factor: of a supplier, or of a zone's residual mix."""

    g_per_kwh: Decimal = Field(ge=0, le=3000, description="gCO2e per kWh.")
    source: str = Field(min_length=1, description="Source of the figure: publisher and document.")
    year: int = Field(ge=2000, le=2100, description="The year that the figure is for.")


class ResidualMix(MarketRate):
    """The factor of a zone's electricity that no contract claims."""

    zone: str = Field(min_length=2, description="Grid zone, for example DE.")


class ContractSettings(SettingsSection):
    """Energy attribute certificates or a power purchase agreement, delivered evenly over its hours."""

    name: str = Field(min_length=1, description="How the report names it.")
    certificate: str = Field(min_length=1, description="Its id in the registry, for auditors.")
    zone: str = Field(min_length=2, description="Grid zone that it delivers to.")
    start: dt.date = Field(description="First day, UTC.")
    end: dt.date = Field(description="The day after the last.")
    kwh: int = Field(gt=0, description="Energy of the whole contract.")
    g_per_kwh: Decimal = Field(Decimal(0), ge=0, le=3000, description="Its own factor in gCO2e per kWh.")

    @model_validator(mode="after")
    def _in_order(self) -> ContractSettings:
        if self.end <= self.start:
            raise ValueError("end must be after start")
        return self


class MarketSettings(SettingsSection):
    """Factors for market-based figures (GHG Protocol, Scope 2). Without any, the location's factor is used."""

    contracts: list[ContractSettings] = Field(
        [],
        description="Contractual instruments for electricity that you buy yourself (owned nodes); the lowest factor is "
        "used first.",
    )
    supplier: Annotated[MarketRate | None, DATED] = Field(
        None, description="Your supplier's own factor, for electricity of owned nodes that no contract covers."
    )
    residual_mixes: Annotated[list[ResidualMix], DATED] = Field(
        [], description="By zone, for all nodes without a contract, supplier's factor or attested claim."
    )
    attested_providers: Annotated[list[str], DATED] = Field(
        [], description="Clouds (aws, azure, gcp) for whose annual claims for their nodes you have an attestation."
    )

    @model_validator(mode="after")
    def _each_certificate_once(self) -> MarketSettings:
        seen: dict[tuple[object, ...], str] = {}
        for its in self.contracts:
            volume = (its.certificate.strip().casefold(), its.start, its.end, its.kwh)
            if volume in seen:
                raise ValueError(
                    f"contracts {seen[volume]} and {its.name} are the same {its.kwh} kWh of certificate "
                    f"{its.certificate}: remove one, because a certificate is redeemed once, or give each its own id"
                )
            seen[volume] = its.name
        return self
