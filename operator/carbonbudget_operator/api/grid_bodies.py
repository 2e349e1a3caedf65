"""Answers of /api/v1 about grid intensities and factors, as its OpenAPI document describes them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from carbonbudget_operator.api.base_model import NEXT_PAGE


class IntensityRow(BaseModel):
    """A figure of one zone, hour and source; of an hour to come, a forecast."""

    start: str = Field(description="The hour's start, RFC 3339, UTC")
    end: str = Field(description="The hour's end")
    zone: str = Field(description="Grid zone, for example DE or US-CAL-CISO")
    source: str = Field(description="Whose figure it is; of a forecast, whose, or of which past hours the mean")
    basis: str = Field(description="`lifecycle`, or `direct` without the emissions upstream of the electricity")
    g_per_kwh: float = Field(description="Grams of CO2 equivalent per kilowatt-hour")
    mg_per_kwh: int = Field(description="The same, exact, in milligrams")
    low_mg_per_kwh: int | None = Field(
        description="Of a forecast: the lowest figure of the hours that it is the mean of; null for one figure alone"
    )
    high_mg_per_kwh: int | None = Field(description="Of a forecast: the highest of them")
    kind: str = Field(
        json_schema_extra={"enum": ["published", "stated", "standIn", "yearly", "forecast"]},
        description="`published` by the source for this hour; `stated` in the settings; `standIn`: the source's figure "
        "of an earlier hour; `yearly`: of the bundled tables; `forecast`: of an hour that has not begun",
    )
    estimated: bool = Field(description="Whether the source calls its figure an estimate")
    age_hours: int = Field(description="Of `standIn`: how many hours earlier the figure is of; else 0")
    received: str | None = Field(
        description="When it was stored; null for `stated`, `yearly` and the mean of past hours"
    )
    applied: bool = Field(description="Whether energy of this hour and zone is valued by it")


class SourceRow(BaseModel):
    """A source of hourly intensities, asked for one zone."""

    source: str
    zone: str
    last_answer: str | None = Field(description="When it last gave figures; null if never")
    failing: bool = Field(description="Whether the latest question failed")
    error: str | None = Field(description="Why; shown to those who may read all namespaces")


class ForecastSourceRow(BaseModel):
    """A source's own forecast of one zone, and how good its forecasts were."""

    source: str
    zone: str
    fetched: str | None = Field(description="When the newest was fetched; null if never")
    until: str | None = Field(description="The end of its last hour; after it the past weeks are the forecast")
    used: bool = Field(description="False: it is missing or too old, and the past weeks are the forecast")
    failing: bool = Field(description="Whether the latest question failed")
    error: str | None = Field(description="Why; shown to those who may read all namespaces")
    compared_hours: int = Field(
        description="Hours of the last week of which a forecast made a day before, and a figure that is no estimate, "
        "are known"
    )
    mean_error_g_per_kwh: float | None = Field(description="Their mean distance from each other")


class IntensityAnswer(BaseModel):
    """The answer to GET /api/v1/intensity in JSON."""

    start: str = Field(description="What is covered: the whole hours that hold the window")
    end: str
    forecast_until: str | None = Field(
        description="The end of the forecast, seven days ahead at most; null where the window has no hour to come"
    )
    zones: list[str]
    sources: list[SourceRow]
    forecasts: list[ForecastSourceRow] = Field(default=[], description="The forecasts that sources publish themselves")
    next: str | None = Field(description=NEXT_PAGE)
    rows: list[IntensityRow]


class FactorRow(BaseModel):
    """The factors of one node; of all nodes that share them where the caller may not read all namespaces."""

    node: str | None = Field(description="Shown to those who may read all namespaces")
    region: str = Field(description="The node's label topology.kubernetes.io/region")
    zone: str
    placed: bool = Field(description="False: the zone is not known, and the world's mean stands in")
    location_g_per_kwh: float
    market_g_per_kwh: float = Field(description="Of energy that no contract covers")
    pue: float
    basis: str = Field(description="`lifecycle` or `direct`")
    location_why: str = Field(description="Where the intensity and the PUE are from")
    market_why: str = Field(description="Where the market factor is from")
    embodied_why: str = Field(description="Where the figures of manufacturing are from")


class StatedRow(BaseModel):
    """An intensity that the settings state."""

    source: str
    zone: str
    g_per_kwh: float


class InstrumentRow(BaseModel):
    """A market instrument of the settings."""

    kind: str = Field(description="`contract`, `supplier`, `residualMix` or `attestedProvider`")
    name: str
    zone: str = Field(description="Where it counts; empty: everywhere")
    g_per_kwh: float | None
    source: str = Field(description="Who says so; of a contract, its certificate")
    year: int | None
    start: str | None = Field(description="A contract's first day, UTC")
    end: str | None = Field(description="The day after its last one")
    kwh: int | None = Field(description="A contract's energy; shown to those who may read all namespaces")


class FactorsAnswer(BaseModel):
    """The answer to GET /api/v1/factors in JSON."""

    settings: str = Field(description="Which settings value the energy")
    sources: list[SourceRow]
    stated: list[StatedRow]
    instruments: list[InstrumentRow]
    next: str | None = Field(description=NEXT_PAGE)
    rows: list[FactorRow]
