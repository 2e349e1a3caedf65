"""What hours are valued by: the settings in force at each time, and what is made of them once."""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.allocation.policy import Policy
from carbonbudget_operator.reporting.places import Places
from carbonbudget_operator.reporting.valued import Valuer
from carbonbudget_operator.settings import Allocation, Carbon, Settings
from carbonbudget_operator.timeline import Timeline, merge


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings of one time span as plain values, and who applies them."""

    carbon: Carbon
    places: Places
    policy: Policy
    valuer: Valuer


def terms_of(settings: Settings) -> Timeline[Terms]:
    """The terms of every hour: those in force at its start."""
    return merge(settings.carbon, settings.allocation).map(_make)


def _make(given: tuple[Carbon, Allocation]) -> Terms:
    carbon, allocation = given
    places, policy = Places(carbon), allocation.policy()
    return Terms(carbon, places, policy, Valuer(places, policy))
