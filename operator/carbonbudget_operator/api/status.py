"""How a budget stands; written by the controller alone. Texts are what `kubectl explain` shows."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from carbonbudget_operator.api.model import Model


class PeriodStatus(Model):
    """[start, end) of the period that counts now."""

    start: dt.datetime = Field(description="Start of the period.")
    end: dt.datetime = Field(description="Its end: then use counts from zero again, or a single span is over.")


class EnforcementStatus(Model):
    """The block in force. The policy in the API server reads only this."""

    action: Literal["Block", "Suspend"] = Field(description="What is in force.")
    until: dt.datetime = Field(description="New work is refused until then; renewed while the budget is exceeded.")
    suspend_from: dt.datetime | None = Field(
        default=None, description="Running Jobs that opted in are suspended from then on; only with Suspend."
    )


class Breakdown(Model):
    """What the use consists of; components that are not included are left out."""

    dynamic: str | None = Field(default=None, description="Energy that follows the pods' use.")
    idle: str | None = Field(default=None, description="Their share of idle energy.")
    overhead: str | None = Field(default=None, description="Their share of system energy and shared namespaces.")
    embodied: str | None = Field(default=None, description="What making the hardware emitted.")


class TopWorkload(Model):
    """One of the workloads that used most."""

    kind: str = Field(description="Its kind, for example Job.")
    name: str = Field(description="Its name.")
    namespace: str | None = Field(default=None, description="Its namespace; only in a ClusterCarbonBudget.")
    emissions: str = Field(description="CO2e it emitted in the period.")
    percent: int | None = Field(default=None, description="Per cent of the limit, rounded down.")


class FormerPeriod(Model):
    """A period that is over."""

    start: dt.datetime = Field(description="Its start.")
    end: dt.datetime = Field(description="Its end.")
    used: str = Field(description="CO2e used in it.")
    limit: str = Field(description="The limit at its end.")


class Settled(Model):
    """Use of the period's hours that are over, as it was valued then: how a revised factor is told from new use."""

    through: dt.datetime = Field(description="The whole hour up to which it is.")
    micrograms: int = Field(description="CO2e before it, as valued when last judged.")
    microjoules: int = Field(description="Energy before it.")
    revised_micrograms: int = Field(
        default=0, description="What revised factors added since; shown in used, never a reason to act."
    )


class Condition(Model):
    """A condition as Kubernetes defines it."""

    type: str = Field(description="Ready, DataComplete, WithinBudget or EnforcementConflict.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(default="", description="Why, as one word.")
    message: str = Field(default="", description="Why, as a sentence.")
    last_transition_time: dt.datetime | None = Field(default=None, description="When status last changed.")
    observed_generation: int | None = Field(default=None, description="The generation it was judged for.")


class CarbonBudgetStatus(Model):
    """How the budget stands. Written by the controller alone."""

    observed_generation: int | None = Field(default=None, description="The generation that was judged.")
    period: PeriodStatus | None = Field(default=None, description="The period that counts now.")
    used: str | None = Field(default=None, description="CO2e used in the period, rounded down.")
    used_micrograms: int | None = Field(default=None, description="The same, exact, in micrograms.")
    remaining: str | None = Field(default=None, description="What is left of the limit; 0mg if nothing.")
    percent_used: int | None = Field(default=None, description="Per cent of the limit, rounded down.")
    forecast: str | None = Field(default=None, description="CO2e expected at the period's end at this rate.")
    exhausted_at: dt.datetime | None = Field(
        default=None, description="When the forecast reaches the limit; left out if it does not in this period."
    )
    breakdown: Breakdown | None = Field(default=None, description="What the use consists of.")
    state: Literal["WithinBudget", "Warning", "Exceeded", "Unknown"] | None = Field(
        default=None,
        description="WithinBudget; Warning: a threshold below 100 is reached or the forecast is over the limit; "
        "Exceeded: the limit is used up; Unknown: there is no data.",
    )
    action: str | None = Field(default=None, description="The strongest action reached; empty for none.")
    enforcement: EnforcementStatus | None = Field(default=None, description="Present only while blocking.")
    message: str | None = Field(default=None, description="All this in a sentence, as a refusal shows it.")
    observed_at: dt.datetime | None = Field(default=None, description="When it was last judged and changed.")
    data_through: dt.datetime | None = Field(default=None, description="Up to when every node had reported.")
    coverage: int | None = Field(default=None, description="Per cent of the nodes' time that was reported.")
    measured: int | None = Field(
        default=None, description="Per cent of the energy that a meter measured; the rest is modelled."
    )
    top_workloads: list[TopWorkload] | None = Field(
        default=None, max_length=10, description="The workloads that used most in the period, most first."
    )
    history: list[FormerPeriod] | None = Field(
        default=None, max_length=12, description="The last 12 periods, newest first."
    )
    namespaces: list[str] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that count in this period, also those deleted since; only in a ClusterCarbonBudget "
        "with a namespaceSelector.",
    )
    settled: Settled | None = Field(default=None, description="How revised factors are told from new use.")
    conditions: list[Condition] | None = Field(
        default=None, max_length=8, description="Ready, DataComplete, WithinBudget, EnforcementConflict."
    )
