"""The answer of `carbonbudget when`: the chosen start beside now, as text, table and JSON. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import EXPECTED_DURATION_ANNOTATION
from carbonbudget_operator.budgets.expected_emissions import DurationSource, ExpectedEmissions, WorkloadPlan
from carbonbudget_operator.budgets.quantity import format_mass, format_pair
from carbonbudget_operator.budgets.workload_demand import duration_s, no_duration
from carbonbudget_operator.cleaner_hours.intensity_hours import HOUR, Exposure
from carbonbudget_operator.cleaner_hours.start_choice import StartChoice, choose_start, expected_ug
from carbonbudget_operator.cli.manifests import ManifestObject
from carbonbudget_operator.enforcement.deferral_forecast import DeferralForecast
from carbonbudget_operator.enforcement.deferral_wish import (
    counted_workload,
    instance_type_of,
    job_plan,
    stated_duration,
)

_DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class ExpectedStart:
    """A start and what the Job is expected to emit from then on, in micrograms; None where that is not known."""

    start: int
    exposure: Exposure
    expected_ug: int | None


@dataclass(frozen=True, slots=True)
class StartAdvice:
    """What was chosen, with what it is compared with. Times are UTC seconds.

    `low_ug` and `high_ug` are the range of the forecast at the chosen start; None where it has none.
    """

    title: str
    now: int
    deadline: int
    duration_s: int
    duration_from: str
    choice: StartChoice
    at_start: ExpectedStart
    at_once: ExpectedStart
    low_ug: int | None
    high_ug: int | None
    hours: tuple[ExpectedStart, ...]
    zones: tuple[str, ...]
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The answer in sentences."""
        start = self.choice.start
        if self.choice.is_late(self.now):
            lasts = _span(self.duration_s)
            yield f"{self.title}: start now; it lasts {lasts}, so it cannot end by {_at(self.deadline)}"
        elif start == self.now:
            yield f"{self.title}: start now; no later start that ends by {_at(self.deadline)} is cleaner"
        else:
            yield f"{self.title}: start at {_at(start)}, in {_span(start - self.now)}"
        mine, other = self.at_start.expected_ug, self.at_once.expected_ug
        less = self.choice.percent_less
        if mine is not None and other is not None and start != self.now:
            shown, beside = format_pair(mine, other)
            yield f"  expected {shown} CO2e{self._range()}, {beside} if it starts now: {less} % less"
        elif mine is not None:
            yield f"  expected {format_mass(mine)} CO2e{self._range()}"
        elif less is not None and start != self.now:
            yield f"  expected {less} % less CO2e than if it starts now"
        elif self.at_start.exposure.unknown_s:
            yield "  what it emits is not known: a part of it lies outside the forecast"
        yield (
            f"  lasts {_span(self.duration_s)} ({self.duration_from}), so it ends at {_at(start + self.duration_s)}; "
            f"latest start {_at(max(self.choice.latest, self.now))}"
        )

    def table(self) -> Iterator[str]:
        """A line for now and each whole hour at which it can start."""
        yield f"  {'start':20}  {'expected':>10}  {'against now':>11}"
        for one in self.hours:
            grams = "" if one.expected_ug is None else format_mass(one.expected_ug)
            percent = _percent(one.exposure, self.at_once.exposure)
            mark = "  <- chosen" if one.start == self.choice.start else ""
            yield f"  {_at(one.start):20}  {grams:>10}  {percent:>11}{mark}"

    def as_json(self) -> dict[str, object]:
        """The answer as a machine reads it; micrograms are texts, so that no reader rounds them."""
        return {
            "object": self.title,
            "now": _at(self.now),
            "finish_by": _at(self.deadline),
            "duration_seconds": self.duration_s,
            "duration_from": self.duration_from,
            "start": _at(self.choice.start),
            "latest_start": _at(self.choice.latest),
            "late": self.choice.is_late(self.now),
            "percent_less": self.choice.percent_less,
            "expected_ug": _text(self.at_start.expected_ug),
            "expected_low_ug": _text(self.low_ug),
            "expected_high_ug": _text(self.high_ug),
            "expected_now_ug": _text(self.at_once.expected_ug),
            "zones": list(self.zones),
            "starts": [{"start": _at(one.start), "expected_ug": _text(one.expected_ug)} for one in self.hours],
            "notes": list(self.notes),
        }

    def _range(self) -> str:
        if self.low_ug is None or self.high_ug is None:
            return ""
        low, high = format_pair(self.low_ug, self.high_ug)
        return f" ({low} to {high})"


def advice(
    job: ManifestObject, namespace: str, forecast: DeferralForecast, now: int, deadline: int, stated_s: int
) -> StartAdvice:
    """The advice for a Job. `stated_s`: its duration by the caller, 0 for the one that it states.

    Raises ValueError where its duration is not known; the sentence says what to write.
    """
    spec, metadata = at(job.manifest, "spec"), at(job.manifest, "metadata")
    workload, title = counted_workload(metadata), f"{job.title}"
    written = stated_duration(job.manifest)
    source = "--duration" if stated_s else f"annotation {EXPECTED_DURATION_ANNOTATION}"
    if not stated_s and written and not (stated_s := duration_s(written) or 0):
        raise ValueError(no_duration(EXPECTED_DURATION_ANNOTATION, written))
    plan = job_plan(spec, stated_s)
    length_s, source = (stated_s, source) if stated_s else _other_duration(plan, forecast, namespace, workload)
    base, reference_mg = forecast.base(namespace, workload, instance_type_of(spec), plan)
    notes = []
    if isinstance(base, ExpectedEmissions):
        by = "its former runs" if base.former else "its requests, at the rates of the last day"
        notes.append(f"the expected emissions are by {by}, location-based, without embodied ones")
    elif forecast.rates:
        notes.append(f"grams are not known: {base}")
    hours = forecast.hours

    def expected(exposure: Exposure) -> int | None:
        if not isinstance(base, ExpectedEmissions):
            return None
        return expected_ug(base.micrograms, reference_mg, exposure, length_s)

    def starting(start: int) -> ExpectedStart:
        exposure = hours.exposure(start, length_s)
        return ExpectedStart(start, exposure, expected(exposure))

    choice = choose_start(hours, length_s, now, deadline)
    last = min(choice.latest, hours.end)
    starts = sorted({now, choice.start, *range(now - now % HOUR + HOUR, last + 1, HOUR)})
    chosen = choice.chosen
    has_range = chosen.low_mg_s < chosen.high_mg_s
    if _is_flat(forecast, now):
        notes.append("every hour of the forecast has the same intensity, so any start emits as much")
    return StartAdvice(
        title, now, deadline, length_s, source, choice, starting(choice.start), starting(now),
        expected(chosen._replace(mg_s=chosen.low_mg_s)) if has_range else None,
        expected(chosen._replace(mg_s=chosen.high_mg_s)) if has_range else None,
        tuple(map(starting, starts)), hours.zones, tuple(notes),
    )  # fmt: skip


def _other_duration(plan: WorkloadPlan, forecast: DeferralForecast, namespace: str, workload: str) -> tuple[int, str]:
    """The duration of a Job that states none, and what it is from."""
    waves = -(-plan.pods // max(1, plan.at_once))
    former = forecast.former(namespace, workload)
    if former is not None and former.pod_s:
        return former.pod_s * waves, str(DurationSource.FORMER)
    if plan.deadline_s or plan.pod_deadline_s:
        return plan.deadline_s or plan.pod_deadline_s * waves, str(DurationSource.DEADLINE)
    raise ValueError(
        f"how long it runs is not known: give --duration, for example 2h30m, or its annotation "
        f"{EXPECTED_DURATION_ANNOTATION}"
    )


def _is_flat(forecast: DeferralForecast, now: int) -> bool:
    ahead = forecast.hours.hours[max(0, (now - forecast.hours.first) // HOUR) :]
    return len({hour[0] for hour in ahead if hour is not None}) == 1


def _percent(one: Exposure, beside: Exposure) -> str:
    if one.unknown_s or beside.unknown_s or not beside.mg_s:
        return ""
    return f"{(one.mg_s - beside.mg_s) * 100 // beside.mg_s:+d} %"


def _span(seconds: int) -> str:
    """For example "12 h 25 min", "3 d 4 h" or "45 s"."""
    parts = ((seconds // _DAY, "d"), (seconds % _DAY // HOUR, "h"), (seconds % HOUR // 60, "min"), (seconds % 60, "s"))
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(shown) or "0 s"


def _at(instant: int) -> str:
    return format_time(instant)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
