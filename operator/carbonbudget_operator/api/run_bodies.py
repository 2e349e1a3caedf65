"""Answers of /api/v1 about runs, as its OpenAPI document describes them. Runs are named by the label on their pods."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from carbonbudget_operator.api.base_model import NEXT_PAGE

State = Literal["provisional", "final"]


class RunFigures(BaseModel):
    """Energy and emissions; each as a number, and exactly as a string."""

    energy_kwh: float = Field(description="IT energy in kilowatt-hours: without cooling and power supply")
    energy_uj: str = Field(description="The same, exact, in microjoules")
    location_g: float = Field(description="Location-based emissions in grams of CO2 equivalent")
    location_ug: str = Field(description="The same, exact, in micrograms")
    market_g: float = Field(description="Market-based emissions in grams of CO2 equivalent")
    market_ug: str = Field(description="The same, exact, in micrograms")
    embodied_g: float = Field(description="Embodied emissions in grams of CO2 equivalent; in no other figure")
    embodied_ug: str = Field(description="The same, exact, in micrograms")
    embodied_low_g: float = Field(description="The lowest of what sources give for the embodied emissions")
    embodied_high_g: float = Field(description="The highest of it")
    facility_energy_kwh: float = Field(description="Energy with cooling and power supply, by PUE, in kilowatt-hours")
    facility_energy_uj: str = Field(description="The same, exact, in microjoules")
    measured_percent: int = Field(description="Share of the IT energy that a meter measured; the rest is modelled")


class RunRow(RunFigures):
    """One run: a namespace and a value of the label carbonbudget.dev/run."""

    namespace: str
    run: str | None = Field(description="With unlabelled=true also null: pods without a run, one row for each model")
    model: str | None = Field(description="carbonbudget.dev/model of its pods; several are joined by commas")
    model_version: str | None = Field(description="carbonbudget.dev/model-version, likewise")
    stage: str | None = Field(description="carbonbudget.dev/stage, likewise")
    pods: int | None = Field(description="How many pods it had; null where their facts are not stored any more")
    start: str = Field(description="RFC 3339, UTC: start of the first hour of the window in which it had pods")
    end: str = Field(description="End of the last such hour, or the latest report of an hour that is not over")
    state: State = Field(description="provisional until every node has reported its last hour to the end")


class RunTotal(RunFigures):
    """All runs of the window, on whichever page they are."""

    pods: int


class RunStage(RunFigures):
    """The pods of one stage in all runs of the window."""

    stage: str | None = Field(description="carbonbudget.dev/stage; null: pods without it, or with an unknown value")


class RunsAnswer(BaseModel):
    """The answer to GET /api/v1/runs in JSON."""

    data_through: str | None = Field(description="The instant up to which every node reported; null without a report")
    start: str = Field(description="What is covered: the whole hours that hold the window")
    end: str
    namespaces: list[str] | None = Field(description="The namespaces that you may read; null for the whole cluster")
    total: RunTotal
    stages: list[RunStage] = Field(description="The total by stage, in the order of a model's life")
    next: str | None = Field(description=NEXT_PAGE)
    rows: list[RunRow]


class RunHourRow(RunFigures):
    """What a run emitted in one hour."""

    start: str
    end: str
    state: State


class RunExpected(BaseModel):
    """A run with what it is expected to need until its end, by what its pods say of their progress: a claim."""

    progress_percent: int = Field(description="How far it is: of the pods that say so, the one that has done least")
    ends_at: str | None = Field(description="When it is expected to end; null where that is more than ten years away")
    energy_kwh: float = Field(description="The run's IT energy of the window with the rest, in kilowatt-hours")
    energy_low_kwh: float = Field(description="The low end of it")
    energy_high_kwh: float = Field(description="The high end of it")
    location_g: float = Field(description="Its location-based emissions likewise, in grams of CO2 equivalent")
    location_low_g: float = Field(description="The low end of them")
    location_high_g: float = Field(description="The high end of them")


class RunDetail(BaseModel):
    """The answer to GET /api/v1/runs/{namespace}/{run} in JSON. Other formats have the rows alone."""

    data_through: str | None = Field(description="The instant up to which every node reported; null without a report")
    start: str = Field(description="What is covered: the whole hours that hold the window")
    end: str
    run: RunRow
    expected: RunExpected | None = Field(
        default=None, description="Until its end; null where it is over or no pod of it tells its progress"
    )
    rows: list[RunHourRow] = Field(description="Its hours in order; together they are the run's figures")
