"""What a chosen start follows from, as the annotation `deferred-forecast` holds it. No I/O and no clock.

The owner of a Job may write anything in there. It decides nothing but when the start is looked at again, and it is
shown in Events of that Job alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import parse_object, text
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import DEFERRED_FORECAST_ANNOTATION
from carbonbudget_operator.budgets.expected_emissions import ExpectedEmissions
from carbonbudget_operator.budgets.quantity import QuantityError, format_pair, parse_mass
from carbonbudget_operator.cleaner_hours.start_choice import StartChoice, expected_ug
from carbonbudget_operator.enforcement.deferral_forecast import DeferralForecast
from carbonbudget_operator.enforcement.job_fields import Job, instant

_MOST_ZONES: Final = 60  # characters; the annotation is read up to 300
_LATEST: Final = 32_503_680_000  # the year 3000: later instants are mistakes, and some cannot be written in UTC


@dataclass(frozen=True, slots=True)
class DeferralRecord:
    """Attributes:
    made_at: when the forecast was asked for; without a forecast, when the start was chosen (UTC seconds).
    at_once: when the start was chosen, which is what it is compared with.
    zones: the grid zones of the forecast, "DE, FR"; empty without a forecast.
    expected: what it is expected to emit from the chosen start on, such as "2.9kg"; empty where that is not known.
    expected_at_once: the same from `at_once` on.
    percent_less: by how much that is less; None where it is not known.
    """

    made_at: int
    at_once: int = 0
    zones: str = ""
    expected: str = ""
    expected_at_once: str = ""
    percent_less: int | None = None

    @classmethod
    def of(cls, job: Job, choice: StartChoice | None, forecast: DeferralForecast | None, now: int) -> DeferralRecord:
        """The record of a choice that was just made."""
        if choice is None or forecast is None or job.wish is None:
            return cls(now, now)
        wish = job.wish
        base, reference_mg = forecast.base(job.namespace, wish.workload, wish.instance_type, wish.plan)
        masses = ("", "")
        if isinstance(base, ExpectedEmissions):
            each = [
                expected_ug(base.micrograms, reference_mg, exposure, wish.plan.stated_s)
                for exposure in (choice.chosen, choice.at_once)
            ]
            if each[0] is not None and each[1] is not None:
                masses = format_pair(each[0], each[1])
        zones = ", ".join(forecast.hours.zones)
        zones = zones if len(zones) <= _MOST_ZONES else f"{len(forecast.hours.zones)} zones"
        return cls(forecast.made_at, now, zones, *masses, choice.percent_less)

    def text(self) -> str:
        """The annotation's value."""
        found = {
            "forecastOf": format_time(self.made_at) if self.zones else "",
            "zones": self.zones,
            "chosenAt": format_time(self.at_once),
            "expected": self.expected,
            "expectedAtOnce": self.expected_at_once,
            "percentLess": self.percent_less,
        }
        return json.dumps({key: value for key, value in found.items() if value not in ("", None)})

    @property
    def comparison(self) -> str:
        """ "expected 2.9kg CO2e, 4.1kg if it started at 2026-...", or what of that is known; empty if nothing is."""
        if self.expected and self.expected_at_once:
            return (
                f"expected {self.expected} CO2e, {self.expected_at_once} if it started at {format_time(self.at_once)}"
            )
        if self.percent_less is not None:
            return f"{self.percent_less} % less than from {format_time(self.at_once)} on"
        return ""


def record_of(job: Job) -> DeferralRecord:
    """What the annotation of a Job says; times that it does not say are 0."""
    found = parse_object(job.annotations.get(DEFERRED_FORECAST_ANNOTATION, ""))
    percent = found.get("percentLess")
    chosen_at = stated_instant(found.get("chosenAt"))
    return DeferralRecord(
        made_at=stated_instant(found.get("forecastOf")) or chosen_at,
        at_once=chosen_at,
        zones=text(found.get("zones"))[:_MOST_ZONES],
        expected=_mass(found.get("expected")),
        expected_at_once=_mass(found.get("expectedAtOnce")),
        percent_less=percent if type(percent) is int and 0 <= percent <= 100 else None,
    )


def _mass(value: object) -> str:
    try:
        parse_mass(text(value)[:30])
    except QuantityError:
        return ""
    return text(value)[:30]


def stated_instant(value: object) -> int:
    """UTC seconds of an instant between 1970 and 3000 that somebody wrote; 0 for anything else."""
    found = instant(text(value))
    return found if 0 < found < _LATEST else 0
