"""Bodies of POST /v1/targets/query: the controller's questions about targets, and the answers.

Integers are exact: micrograms, microjoules, millionths of a unit, UTC seconds.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from carbonbudget_operator.api.budget_query_bodies import Accounting, Component, WorkloadUse
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.target_spec import ClusterUnitSource

MICRO = 1_000_000  # millionths of a unit in a unit
MOST_NAMED = 10  # workloads that an answer names


class TargetSpan(BaseModel):
    """[start, end), whole hours of UTC."""

    model_config = ConfigDict(extra="forbid")

    start: int = Field(ge=0, le=2**40)
    end: int = Field(ge=0, le=2**40)


class TargetWishes(BaseModel):
    """What an answer is to say beside the figures. A server ignores a wish that it does not know: see BudgetWishes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    workloads: int = Field(
        default=0, ge=0, le=MOST_NAMED, description="How many of those that emitted most in the first span to name"
    )


class TargetQuery(BaseModel):
    """One target's question: what did these pods emit in each span, and how many units did they serve?

    A field that a server does not know is refused.
    """

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=512)
    namespaces: list[Annotated[str, Field(max_length=253)]] = Field(
        min_length=1, max_length=1000, description="Their names; `*` alone is every namespace, also those deleted"
    )
    selector: LabelSelector | None = None
    accounting: Accounting = "LocationBased"
    include: list[Component] = Field(default=["Dynamic", "Idle", "Overhead", "Embodied"])
    source: ClusterUnitSource
    spans: list[TargetSpan] = Field(max_length=16)
    until: dict[Annotated[str, Field(max_length=253)], int] = Field(
        default={},
        max_length=1000,
        exclude_if=lambda until: not until,  # an earlier server refuses what it does not know
        description="Those of the namespaces that do not count any more, with the whole hour from which on they do not",
    )
    wishes: TargetWishes = TargetWishes()


class TargetQueries(BaseModel):
    """All targets' questions in one request."""

    model_config = ConfigDict(extra="forbid")

    queries: list[TargetQuery] = Field(max_length=10_000)


class TargetSpanAnswer(BaseModel):
    """The figures of one span. Emissions, energy and units are of the same hours: those whose units are known.

    Of several namespaces each has its own hours: where one's units are not known, the others still count.
    """

    start: int
    end: int
    emissions_ug: int = Field(description="Of the components asked for, with embodied")
    embodied_ug: int = Field(default=0, description="The part of it that is embodied")
    energy_uj: int
    units_micro: int = Field(description="Millionths of a unit")
    hours: int = Field(description="Hours of the span up to `data_through`")
    known_hours: int = Field(
        description="Those whose units are known; of several namespaces that have pods of the target the mean of each "
        "one's, rounded down"
    )
    measured_percent: int = 100
    coverage_percent: int = 100
    missing: str = Field(default="", description="Why units are missing, in a sentence; empty if none are")
    all_emissions_ug: int | None = Field(
        default=None, description="Emissions of all hours, whether or not their units are known; null: not known"
    )
    known_percent: int | None = Field(
        default=None, description="Per cent of these emissions whose units are known, rounded down; null: not known"
    )
    left_out: list[str] = Field(
        default=[], description="At most five namespaces whose units are not known in hours in which those of others "
        "are: of most emissions left out, by name"
    )  # fmt: skip
    left_out_count: int = Field(default=0, description="How many there are")
    methods: list[int] = Field(
        default=[],
        description="By which of the answers' `methods` its hours with facts were counted, the newest hour's last; "
        "empty: not known",
    )


class TargetAnswer(BaseModel):
    """The answers in the order of the spans."""

    id: str
    spans: list[TargetSpanAnswer]
    workloads: list[WorkloadUse] | None = Field(
        default=None,
        description="Those that emitted most in the first span, as many as were asked for: of all its hours, and of "
        "namespaces that still count; null where that was not granted",
    )


class TargetAnswers(BaseModel):
    """The batch's answers, in the order of its questions. `data_through`: see BudgetAnswers."""

    data_through: int
    answers: list[TargetAnswer]
    methods: list[list[str]] = Field(
        default=[],
        description="The settings by which energy was shared out and valued, each as a key and JSON, by its number",
    )
