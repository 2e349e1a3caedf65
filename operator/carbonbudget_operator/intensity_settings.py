"""Settings of hourly intensities: the sources by type, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from carbonbudget_operator.dated import DATED


def milligrams(figures: Mapping[str, Decimal]) -> dict[str, int]:
    """mg/kWh by zone, from g/kWh."""
    return {zone.upper(): int(figure * 1000) for zone, figure in figures.items()}


class SettingsSection(BaseModel):
    """One section of the file; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(SettingsSection):
    """What every source of hourly intensities has."""

    name: str = Field(min_length=1, max_length=60, description="How factors name it.")

    @property
    def words(self) -> str:
        """How a factor names it."""
        return self.name


class NetworkSourceSettings(SourceSettings):
    """A source on the network."""

    requests_per_minute: int = Field(30, ge=1, le=6000, description="Never more questions than these.")
    timeout_seconds: float = Field(10, gt=0, le=60, description="For one whole answer.")


class ZonedSourceSettings(NetworkSourceSettings):
    """A source for many zones, mostly with a key."""

    zones: dict[str, str] = Field(
        {},
        description="Our zones and the source's names for them; electricityMaps adds them to its bundled names, "
        "http asks for no other zones.",
    )
    key_file: Path | None = Field(None, description="File with the key, from a Secret; read at each question.")


class ElectricityMapsSettings(ZonedSourceSettings):
    """Electricity Maps, API v3."""

    name: str = Field("electricityMaps", min_length=1, max_length=60, description="How factors name it.")
    type: Literal["electricityMaps"] = Field("electricityMaps", description="Electricity Maps, API v3.")
    url: str = Field("https://api.electricitymaps.com/v3", description="Where its API is.")
    key_file: Path = Field(description="File with the token, from a Secret.")
    both_bases: bool = Field(
        False,
        description="Ask for the other basis too, so that reports set direct and upstream emissions apart; twice the "
        "questions.",
    )


class NesoSettings(NetworkSourceSettings):
    """NESO's Carbon Intensity API."""

    name: str = Field("neso", min_length=1, max_length=60, description="How factors name it.")
    type: Literal["neso"] = Field("neso", description="NESO, Great Britain: zone GB, direct emissions, no key.")
    url: str = Field("https://api.carbonintensity.org.uk", description="Where its API is.")


class HttpJsonSettings(ZonedSourceSettings):
    """Any JSON over HTTP."""

    type: Literal["http"] = Field("http", description="Any JSON over HTTP; an average signal, never a marginal one.")
    url: str = Field(description="The question; {zone}, {start}, {end} and {key} are filled in, here and below.")
    params: dict[str, str] = Field({}, description="Query parameters.")
    headers: dict[str, str] = Field({}, description="Request headers, for example {authorization: Bearer {key}}.")
    items: str = Field("", description="Path of the list in the answer, for example data; empty: the answer.")
    value: str = Field(description="Path of the intensity in an item.")
    time: str = Field(description="Path of the start, ISO 8601, in an item.")
    estimated: str = Field("", description="Path of a flag in an item that says that it is an estimate.")
    unit: Literal["g/kWh", "kg/MWh", "t/MWh", "lb/MWh", "g/MJ"] = Field("g/kWh", description="Unit of the value.")
    step_seconds: int = Field(3600, ge=60, le=86_400, description="How long a value holds.")
    expect: dict[str, str] = Field({}, description="Paths in the answer and what must be there: zone, signal.")
    login_url: str = Field("", description="Where `user:password` of key_file is changed for the {key}, if so.")
    login_token: str = Field("token", description="Path of the key in the login's answer.")
    basis: Literal["lifecycle", "direct"] = Field(description="What its figures include.")
    max_days: int = Field(2, ge=1, le=36, description="How far back one question may reach.")


class StaticSourceSettings(SourceSettings):
    """Figures stated here."""

    name: str = Field("static", min_length=1, max_length=60, description="How factors name it.")
    type: Literal["static"] = Field("static", description="Figures stated here, by zone, in gCO2e per kWh.")
    figures: dict[str, Annotated[Decimal, Field(ge=0, le=5000)]] = Field(description="gCO2e per kWh by zone.")
    basis: Literal["lifecycle", "direct"] = Field(description="What they include.")
    other_figures: dict[str, Annotated[Decimal, Field(ge=0, le=5000)]] = Field(
        {},
        description="The same source's figures of the other basis, by zone: reports then set direct and upstream "
        "emissions apart.",
    )
    source: str = Field(min_length=1, description="Who says so, and where.")
    year: int = Field(ge=2000, le=2100, description="The year that they are of.")

    @model_validator(mode="after")
    def _direct_is_part_of_the_whole(self) -> StaticSourceSettings:
        others = {zone.upper(): figure for zone, figure in self.other_figures.items()}
        for zone, figure in self.figures.items():
            other = others.get(zone.upper(), figure)
            if other != figure and (other > figure) == (self.basis == "lifecycle"):
                raise ValueError(
                    f"{zone.upper()}: the direct figure is above the life-cycle one, of which it is a part: are "
                    "figures and other_figures mixed up?"
                )
        return self

    @property
    def words(self) -> str:
        """With who says so."""
        return f"{self.name}: {self.source}, {self.year}"


NetworkSource = ElectricityMapsSettings | NesoSettings | HttpJsonSettings
AnySource = Annotated[
    ElectricityMapsSettings | NesoSettings | HttpJsonSettings | StaticSourceSettings, Field(discriminator="type")
]


class IntensitySettings(SettingsSection):
    """Hourly intensities in place of yearly ones."""

    sources: Annotated[list[AnySource], DATED] = Field(
        [], description="Asked in this order; none: the bundled yearly tables."
    )
    interval_seconds: int = Field(900, ge=60, le=86_400, description="Each source is asked once in that time.")
    max_age_hours: int = Field(24, ge=0, le=168, description="How long the last good figure stands in.")
    revised_hours: int = Field(24, ge=1, le=240, description="How far back figures are asked for again.")

    @property
    def both_bases(self) -> bool:
        """Whether any source gives direct and life-cycle figures of the same hour."""
        return any(getattr(one, "both_bases", False) or getattr(one, "other_figures", None) for one in self.sources)
