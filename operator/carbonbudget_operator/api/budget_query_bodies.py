"""Bodies of the server's batch queries: the controller's questions about budgets and workloads, and the answers.

Integers are exact (micrograms, microjoules, UTC seconds); the decimal strings beside them are for
readers whose numbers end at 2**53.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from carbonbudget_operator.api.selector import LabelSelector

# How the sentence of a factor begins where no market factor is known.
NO_MARKET_FACTOR = "noMarketFactor"

Component = Literal["Dynamic", "Idle", "Overhead", "Embodied"]
Accounting = Literal["LocationBased", "MarketBased"]


class BudgetWishes(BaseModel):
    """What an answer is to say beside the use. A server ignores a wish that it does not know, and answers the rest.

    So controller and server may have different versions. The answer says what was granted: the rest is null in it. What
    changes `used_ug`, or decides about a budget by itself, does not belong here: a server refuses such a field if it
    does not know it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    settled_through: int = Field(
        default=0, ge=0, le=2**40, description="A whole hour: the answer has the use before it separately; 0 for none"
    )
    own_figures_through: int = Field(
        default=0,
        ge=0,
        le=2**40,
        description="A whole hour before `settled_through`: the answer has the use before it separately too; 0 for "
        "none",
    )


class BudgetQuery(BaseModel):
    """One budget's question: what did these pods emit in [start, end)? A field that a server does not know is refused.

    `workloads` is no wish: a budget for each workload is evaluated by them.
    """

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=512)
    namespaces: list[Annotated[str, Field(max_length=253)]] = Field(
        min_length=1, max_length=1000, description="Their names; `*` alone is every namespace, also those deleted"
    )
    selector: LabelSelector | None = None
    start: int = Field(ge=0, le=2**40)
    end: int = Field(ge=0, le=2**40)
    accounting: Accounting = "LocationBased"
    include: list[Component] = Field(default=["Dynamic", "Idle", "Overhead"])
    wishes: BudgetWishes = BudgetWishes()
    workloads: int = Field(default=0, ge=0, le=1000, description="How many of those that used most to name")


class BudgetQueries(BaseModel):
    """All budgets' questions in one request."""

    model_config = ConfigDict(extra="forbid")

    queries: list[BudgetQuery] = Field(max_length=10_000)


class WorkloadUse(BaseModel):
    """What one workload used of a budget; `workload` is KIND/NAME.

    What is expected goes by what its own pods say of their progress, from 10 % of it on: a claim, to warn of.
    """

    namespace: str
    workload: str
    used_ug: int
    energy_uj: int
    location_ug: int | None = Field(
        default=None,
        description="Its location-based emissions with idle and overhead; null where `used_ug` is that already",
    )
    expected_ug: int | None = Field(
        default=None,
        description="`used_ug` with what is expected until its end, or the span's if that is earlier; null where no "
        "pod of it tells its progress",
    )
    expected_low_ug: int | None = Field(default=None, description="The low end of the same")
    expected_high_ug: int | None = Field(default=None, description="The high end of it")
    progress_percent: int | None = Field(
        default=None, description="How far it is: of the pods that say so, the one that has done least"
    )


class UseComponents(BaseModel):
    """A budget's use by component in micrograms, 0 where not included: together they are `used_ug`."""

    dynamic_ug: int = 0
    idle_ug: int = 0
    overhead_ug: int = 0
    embodied_ug: int = 0


class BudgetAnswer(BaseModel):
    """One budget's answer. `used_ug` is the sum of the components asked for.

    `coverage_percent`: share of the node-time reported between the start and `data_through`.
    `measured_percent`: share of the energy counted here that a meter measured; the rest is modelled.
    """

    id: str
    used_ug: int
    used_g: str
    energy_uj: int
    energy_kwh: str
    coverage_percent: int
    measured_percent: int
    pods_without_agent: int = Field(
        default=0,
        description="Pods of its namespaces that are on nodes without an agent now: no figure has their energy",
    )
    nodes_behind: int = Field(
        default=0,
        description="Of a span that is over: nodes that were listed at its end and fell silent before, with pods of "
        "its namespaces",
    )
    data_from: int = Field(default=0, description="UTC second of the first report in the span; its start if earlier")
    parts: UseComponents = UseComponents()
    settled_ug: int | None = Field(
        default=None, description="The part of `used_ug` before `settled_through`; null where that was not granted"
    )
    settled_energy_uj: int | None = Field(default=None, description="The part of `energy_uj` before it; null likewise")
    own_figures_ug: int | None = Field(
        default=None, description="The part of `used_ug` before `own_figures_through`; null where that was not granted"
    )
    workloads: list[WorkloadUse] = Field(default=[], description="Most used first, as many as were asked for")
    factors: list[str] = Field(default=[], description="Which intensity and PUE went into it, with source")
    pro_rata: list[int] = Field(
        default=[],
        description="The start or end where it lies inside an hour that is not split there: that hour is counted pro "
        "rata in time",
    )


class BudgetAnswers(BaseModel):
    """The batch's answers, in the order of its questions.

    `data_through` is the UTC second up to which every node that reports has reported; 0 while there
    is no report at all. `figures_through` is the UTC second, a whole hour, before which no earlier hour's intensity
    stands in for an hour's own; null where no source on the network gives intensities, and from an earlier server.
    """

    data_through: int
    figures_through: int | None = None
    answers: list[BudgetAnswer]


class HourlyAnswer(BaseModel):
    """A budget's use in each whole hour of [start, end), oldest first: what a forecast by hour of week is made of.

    `used_ug` is null for an hour in which no node of the cluster reported.
    """

    id: str
    first_hour: int = Field(description="UTC second of the first hour's start")
    used_ug: list[int | None]


class HourlyAnswers(BaseModel):
    """The answers to the same questions, hour by hour, in their order."""

    answers: list[HourlyAnswer]
    change_from: int = Field(default=0, description="UTC second of the first hour to come")
    change_permille: list[int] = Field(
        default=[],
        description="By hour from there on: the intensity that the grid's sources expect, in 1/1000 of the usual one",
    )


class RunQuery(BaseModel):
    """What did the pods of one controller emit in [start, end)? `kind` and `name` as the pods' ownerReferences say."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=512)
    namespace: str = Field(min_length=1, max_length=253)
    kind: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1, max_length=253)
    uid: str = Field(default="", max_length=64, description="The controller's; empty: any of that name")
    start: int = Field(ge=0, le=2**40)
    end: int = Field(ge=0, le=2**40)


class RunQueries(BaseModel):
    """All of them in one request."""

    model_config = ConfigDict(extra="forbid")

    queries: list[RunQuery] = Field(max_length=10_000)


class RunAnswer(BaseModel):
    """One run's figures; embodied stands apart. `pods` is 0 where nothing was reported of it.

    They are of [`covers_from`, `covers_to`): the whole parts of hours that hold the span that was asked for.
    """

    id: str
    pods: int
    energy_uj: int
    location_ug: int
    market_ug: int
    embodied_ug: int
    gpu_ms: int
    measured_percent: int
    covers_from: int = 0
    covers_to: int = 0


class RunAnswers(BaseModel):
    """The answers in the order of their questions. `data_through` as in BudgetAnswers."""

    data_through: int
    answers: list[RunAnswer]
