"""Settings of hourly intensities: the sources, in the order in which they are queried.

The module `settings.py` includes them under `carbon.intensity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from carbonbudget_operator.dated_settings import DATED


def milligrams(figures: Mapping[str, Decimal]) -> dict[str, int]:
    """Convert figures by zone from g/kWh to mg/kWh."""
    return {zone.upper(): int(figure * 1000) for zone, figure in figures.items()}


class SettingsSection(BaseModel):
    """Base class of the sections of a settings file. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(SettingsSection):
    """Settings of every source of hourly intensities."""

    name: str = Field(min_length=1, max_length=60, description="Name of the source in factors.")

    @property
    def words(self) -> str:
        """The name of the source in factors."""
        return self.name


class NetworkSourceSettings(SourceSettings):
    """A source on the network."""

    requests_per_minute: int = Field(30, ge=1, le=6000, description="Most requests in a minute.")
    timeout_seconds: float = Field(10, gt=0, le=60, description="Limit for one request with its answer.")
    ca: Path | None = Field(None, description="PEM CA of the source's certificate; empty: the system's.")


class ZonedSourceSettings(NetworkSourceSettings):
    """A source on the network for many zones. Most of them need a key."""

    zones: dict[str, str] = Field(
        {},
        description="Our zones and the source's names for them; electricityMaps adds them to its bundled names, "
        "http asks for no other zones.",
    )
    key_file: Path | None = Field(None, description="File with the key, from a Secret; read at each request.")


class ElectricityMapsSettings(ZonedSourceSettings):
    """The source Electricity Maps, API v3."""

    name: str = Field("electricityMaps", min_length=1, max_length=60, description="Name of the source in factors.")
    type: Literal["electricityMaps"] = Field("electricityMaps", description="Electricity Maps, API v3.")
    url: str = Field("https://api.electricitymaps.com/v3", description="URL of the API.")
    key_file: Path = Field(description="File with the token, from a Secret.")
    both_bases: bool = Field(
        False,
        description="Request the other basis too: reports then show direct and upstream emissions separately; it takes "
        "twice the requests.",
    )
    forecast: bool = Field(
        True, description="Request its forecast once an hour for each zone; false for a plan that has none."
    )
    forecast_hours: Literal[6, 24, 48, 72] = Field(72, description="How far ahead its forecast is requested.")


class NesoSettings(NetworkSourceSettings):
    """The source NESO: the Carbon Intensity API of Great Britain."""

    name: str = Field("neso", min_length=1, max_length=60, description="Name of the source in factors.")
    type: Literal["neso"] = Field("neso", description="NESO, Great Britain: zone GB, direct emissions, no key.")
    url: str = Field("https://api.carbonintensity.org.uk", description="URL of the API.")
    forecast: bool = Field(True, description="Request its forecast of 48 hours once an hour.")


class HttpJsonSettings(ZonedSourceSettings):
    """A source that returns JSON over HTTP."""

    type: Literal["http"] = Field("http", description="Any JSON over HTTP; an average signal, never a marginal one.")
    url: str = Field(description="URL; {zone}, {start}, {end} and {key} are replaced, here and below.")
    params: dict[str, str] = Field({}, description="Query parameters.")
    headers: dict[str, str] = Field({}, description="Request headers, for example {authorization: Bearer {key}}.")
    items: str = Field("", description="Path of the list in the answer, for example data; empty: the answer.")
    value: str = Field(description="Path of the intensity in an item.")
    time: str = Field(description="Path of the start, ISO 8601, in an item.")
    estimated: str = Field("", description="Path of a flag in an item that marks an estimate.")
    unit: Literal["g/kWh", "kg/MWh", "t/MWh", "lb/MWh", "g/MJ"] = Field("g/kWh", description="Unit of the value.")
    step_seconds: int = Field(3600, ge=60, le=86_400, description="Seconds for which a value is valid.")
    expect: dict[str, str] = Field({}, description="Paths in the answer and their required values: zone, signal.")
    login_url: str = Field(
        "", description="URL at which `user:password` of key_file is exchanged for the {key}; empty: no login."
    )
    login_token: str = Field("token", description="Path of the key in the login's answer.")
    basis: Literal["lifecycle", "direct"] = Field(description="What its figures include.")
    max_days: int = Field(2, ge=1, le=36, description="Most days that one request covers.")


class StaticSourceSettings(SourceSettings):
    """A source whose figures are in the settings."""

    name: str = Field("static", min_length=1, max_length=60, description="Name of the source in factors.")
    type: Literal["static"] = Field("static", description="Figures in the settings, by zone, in gCO2e per kWh.")
    figures: dict[str, Annotated[Decimal, Field(ge=0, le=5000)]] = Field(description="gCO2e per kWh by zone.")
    basis: Literal["lifecycle", "direct"] = Field(description="What they include.")
    other_figures: dict[str, Annotated[Decimal, Field(ge=0, le=5000)]] = Field(
        {},
        description="The same source's figures of the other basis, by zone: reports then show direct and upstream "
        "emissions separately.",
    )
    source: str = Field(min_length=1, description="Source of the figures: publisher and document.")
    year: int = Field(ge=2000, le=2100, description="The year that the figures are for.")

    @model_validator(mode="after")
    def _direct_is_part_of_the_whole(self) -> StaticSourceSettings:
        others = {zone.upper(): figure for zone, figure in self.other_figures.items()}
        for zone, figure in self.figures.items():
            other = others.get(zone.upper(), figure)
            if other != figure and (other > figure) == (self.basis == "lifecycle"):
                raise ValueError(
                    f"{zone.upper()}: the direct figure is above the life-cycle figure, of which it is a part: check "
                    "that figures and other_figures are not exchanged"
                )
        return self

    @property
    def words(self) -> str:
        """The name with the source of its figures."""
        return f"{self.name}: {self.source}, {self.year}"


NetworkSource = ElectricityMapsSettings | NesoSettings | HttpJsonSettings
AnySource = Annotated[
    ElectricityMapsSettings | NesoSettings | HttpJsonSettings | StaticSourceSettings, Field(discriminator="type")
]


def has_forecast(source: AnySource) -> bool:
    """Whether a source's forecast is asked for and used."""
    return isinstance(source, ElectricityMapsSettings | NesoSettings) and source.forecast


class IntensitySettings(SettingsSection):
    """Settings of hourly intensities, which replace yearly ones."""

    sources: Annotated[list[AnySource], DATED] = Field(
        [], description="Sources, queried in this order; none: the bundled yearly tables."
    )
    interval_seconds: int = Field(900, ge=60, le=86_400, description="Each source is queried once in this time.")
    max_age_hours: int = Field(
        24, ge=0, le=168, description="Hours for which the last known figure replaces a missing one."
    )
    max_forecast_age_hours: int = Field(
        6, ge=1, le=48, description="Age up to which a source's forecast is used; then the mean of past weeks is."
    )
    revised_hours: int = Field(24, ge=1, le=240, description="Hours back for which figures are requested again.")

    @property
    def both_bases(self) -> bool:
        """Whether any source has direct and life-cycle figures for the same hour."""
        return any(getattr(one, "both_bases", False) or getattr(one, "other_figures", None) for one in self.sources)
