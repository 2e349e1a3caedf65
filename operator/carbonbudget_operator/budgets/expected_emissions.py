"""The expected emissions of new work until the end of a budget's period, and the source of that figure.

The first choice is what former runs emitted, scaled to the stated duration if there is one. The second is the requests,
times the stated duration, the deadline or, for work that does not end by itself, the rest of the period. Without any of
these there is no expectation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from carbonbudget_operator.budgets.workload_demand import EmissionRates, PodDemand, expected_ug


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """New work as far as its emissions depend on it.

    `at_once` pods of `pods` in all run beside each other. Seconds are 0 where nothing is said: `stated_s` by the
    owner for the whole work, `deadline_s` by its own deadline, `pod_deadline_s` by each pod's. `endless` work (a
    Deployment) runs on until somebody ends it.
    """

    demand: PodDemand
    at_once: int
    pods: int
    stated_s: int = 0
    deadline_s: int = 0
    pod_deadline_s: int = 0
    endless: bool = False


@dataclass(frozen=True, slots=True)
class FormerRunMean:
    """What a pod of earlier runs emitted, and how long it ran, in the mean."""

    pod_ug: int
    pod_s: int


class DurationSource(StrEnum):
    """The source of the work's duration."""

    STATED = "the stated duration"
    FORMER = "the duration of its former runs"
    DEADLINE = "activeDeadlineSeconds"
    REST = "the rest of the period"


class NoExpectation(StrEnum):
    """Why nothing can be expected of a piece of work."""

    NO_TABLE = "the server has given no rates yet, or none for a day"
    PERIOD_OVER = "the budget's period is over"
    NO_PODS = "it makes no pods now"
    PODS_UNKNOWN = "how many pods it makes depends on the nodes"
    NO_REQUESTS = "it requests neither CPU nor GPU, and no run of that name is counted yet"
    NO_RATES = "nothing ran yet that would give a rate"
    NO_DURATION = (
        "no run of that name is counted yet, and how long it runs is not stated: "
        "set the annotation carbonbudget.dev/expected-duration"
    )


@dataclass(frozen=True, slots=True)
class ExpectedEmissions:
    """Micrograms until the period's end, rounded up; `former`: whether former runs are the source."""

    micrograms: int
    former: bool
    duration: DurationSource


def expect_emissions(
    plan: WorkloadPlan, former: FormerRunMean | None, rates: EmissionRates | None, rest_s: int
) -> ExpectedEmissions | NoExpectation:
    """The expectation for a period of which `rest_s` seconds are left, or the reason why there is none."""
    if rest_s <= 0:
        return NoExpectation.PERIOD_OVER
    if plan.pods <= 0 or plan.at_once <= 0:
        return NoExpectation.NO_PODS
    waves = -(-plan.pods // plan.at_once)
    if former is not None and former.pod_s > 0:
        stated = plan.stated_s or (rest_s if plan.endless else 0)
        if stated:  # the rate of what ran before, over the time that is now meant
            total, lasts = -(-plan.at_once * former.pod_ug * stated // former.pod_s), stated
            duration = DurationSource.STATED if plan.stated_s else DurationSource.REST
        else:
            total, lasts, duration = plan.pods * former.pod_ug, former.pod_s * waves, DurationSource.FORMER
        return ExpectedEmissions(_within(total, lasts, rest_s), True, duration)
    if rates is None:
        return NoExpectation.NO_RATES
    if seconds := plan.stated_s or plan.deadline_s:
        total, lasts = expected_ug(plan.demand, plan.at_once, seconds, rates), seconds
        duration = DurationSource.STATED if plan.stated_s else DurationSource.DEADLINE
    elif plan.pod_deadline_s:
        total, lasts = expected_ug(plan.demand, plan.pods, plan.pod_deadline_s, rates), plan.pod_deadline_s * waves
        duration = DurationSource.DEADLINE
    elif plan.endless:
        total, lasts = expected_ug(plan.demand, plan.at_once, rest_s, rates), rest_s
        duration = DurationSource.REST
    else:
        return NoExpectation.NO_DURATION
    return ExpectedEmissions(_within(total, lasts, rest_s), False, duration)


def _within(total_ug: int, lasts_s: int, rest_s: int) -> int:
    """The share of `total_ug` that falls before the period's end, if it is emitted evenly."""
    return total_ug if lasts_s <= rest_s else -(-total_ug * rest_s // lasts_s)
