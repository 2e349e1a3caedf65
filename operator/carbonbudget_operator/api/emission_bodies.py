"""Answers of /api/v1 about emissions, the caller and the server, and errors, as its OpenAPI document describes them.

A figure is there twice: as a number, for charts, and as a string of an integer in the smallest unit, which is exact
where numbers end at 2**53.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from carbonbudget_operator.api.base_model import NEXT_PAGE


class EmissionTotal(BaseModel):
    """Energy and emissions of all rows of the window, on whichever page they are."""

    energy_kwh: float = Field(
        description="IT energy in kilowatt-hours: without cooling and power supply, which the emissions have by PUE"
    )
    energy_uj: str = Field(description="The same, exact, in microjoules")
    location_g: float | None = Field(None, description="Location-based emissions in grams of CO2 equivalent")
    location_ug: str | None = Field(None, description="The same, exact, in micrograms")
    market_g: float | None = Field(None, description="Market-based emissions in grams of CO2 equivalent")
    market_ug: str | None = Field(None, description="The same, exact, in micrograms")
    embodied_g: float = Field(description="Embodied emissions in grams of CO2 equivalent; in no other figure")
    embodied_ug: str = Field(description="The same, exact, in micrograms")
    measured_percent: int = Field(description="Share of the energy that a meter measured; the rest is modelled")
    energy_cost: float | None = Field(
        None, description="The energy by carbon.tariff in force at each hour, in `currency`; absent without a price"
    )
    location_cost: float | None = Field(None, description="The location-based emissions by carbon.price, likewise")
    market_cost: float | None = Field(None, description="The market-based emissions, likewise")
    embodied_cost: float | None = Field(None, description="The embodied emissions, likewise; in no other cost")


class EmissionRow(EmissionTotal):
    """One group of pods in one step. The fields of `by` are there too, each as text (`namespace`, `label:team`)."""

    model_config = ConfigDict(extra="allow")

    start: str = Field(description="RFC 3339, UTC")
    end: str = Field(description="RFC 3339, UTC")
    coverage_percent: int | None = Field(
        description="Share of the cluster's node-time in this step that was reported; null where no node is known"
    )
    previous_energy_kwh: float | None = Field(None, description="With compare=previous: in the window before")
    previous_location_g: float | None = None
    previous_location_ug: str | None = None
    previous_market_g: float | None = None
    previous_market_ug: str | None = None
    previous_embodied_g: float | None = None
    currency: str | None = Field(None, description="Of the costs, ISO 4217; absent without a price")


class UnlabelledEnergy(BaseModel):
    """The energy of pods in the window that lack labels which the settings require."""

    required: list[str] = Field(description="The labels that every pod should have")
    pods_energy_kwh: float = Field(description="IT energy of all pods that the filter selects, of all components")
    pods_energy_uj: str = Field(description="The same, exact, in microjoules")
    energy_kwh: float = Field(description="Its part of pods that lack at least one of the labels")
    energy_uj: str = Field(description="The same, exact, in microjoules")
    energy_percent: float | None = Field(description="The part in percent; null without energy")
    energy_percent_by_label: dict[str, float | None] = Field(description="The part of pods that lack this label")


class EmissionAnswer(BaseModel):
    """The answer to GET /api/v1/emissions in JSON."""

    data_through: str | None = Field(
        description="The instant of the window up to which every node reported; null without a report"
    )
    start: str = Field(description="What is covered: the whole hours that hold the window")
    end: str
    namespaces: list[str] | None = Field(description="The namespaces that you may read; null for the whole cluster")
    total: EmissionTotal
    currency: str | None = Field(None, description="Of the costs, ISO 4217; null where the window has no price")
    unlabelled: UnlabelledEnergy | None = Field(
        None, description="With unlabelled=true; null where the settings require no labels"
    )
    next: str | None = Field(description=NEXT_PAGE)
    rows: list[EmissionRow]


class UsedToken(BaseModel):
    """The read token that a request was sent with."""

    id: int = Field(description="Its number, as `carbonbudget token list` prints it")
    name: str = Field(description="What its creator wrote that it is for")


class WhoAmI(BaseModel):
    """Who the server takes you for."""

    user: str = Field(description="The user; with a read token its creator")
    groups: list[str]
    token: UsedToken | None = Field(description="The read token that you use; null where it is another token")
    all_namespaces: bool = Field(description="Whether you may read the whole cluster")
    namespaces: list[str] | None = Field(description="Else the namespaces that you may read, of those that run pods")


class Problem(BaseModel):
    """RFC 9457."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str = Field(description="What happened, and what to do")
    kind: str = Field(description="A word for programs, such as `forbidden`")
