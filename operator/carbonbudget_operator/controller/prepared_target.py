"""A prepared target: an object parsed for its evaluation, with namespaces, path and the baseline that is frozen.

No I/O, no clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from carbonbudget_core.jsons import text
from carbonbudget_operator.api.carbontarget import AnyTarget, ClusterCarbonTarget
from carbonbudget_operator.api.target_query_bodies import MICRO
from carbonbudget_operator.api.target_spec import CarbonTargetSpec, ClusterUnitSource
from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.counted_hash import counted_hash
from carbonbudget_operator.budgets.coverage import Scope
from carbonbudget_operator.budgets.period import Calendar, Period, PeriodError, time_zone
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass
from carbonbudget_operator.controller.former_namespaces import former_namespaces
from carbonbudget_operator.controller.status_conditions import MOST_NAMESPACES
from carbonbudget_operator.controller.target_store import StoredTarget
from carbonbudget_operator.namespace_labels import Namespaces
from carbonbudget_operator.targets.reduction_path import ReductionPath
from carbonbudget_operator.targets.target_baseline import (
    TargetBaseline,
    baseline_hash,
    measured_baseline,
    stated_baseline,
)
from carbonbudget_operator.targets.target_sentence import TargetSubject
from carbonbudget_operator.targets.target_verdict import TargetTerms
from carbonbudget_operator.targets.unit_sums import UnitSums, parse_units


class InvalidTarget(ValueError):
    """A target that the API server accepted and that cannot be evaluated; one line says why."""


@dataclass(frozen=True, slots=True)
class PreparedTarget:
    """One target, ready for an evaluation.

    `namespaces`: those that count, EVERY_NAMESPACE alone for all; None while they are not known. `until`: those of them
    of which only earlier hours count, with the hour from which on they do not. `namespaces_left_out`: whether there are
    more than one question can name. `span`: of the baseline; None where `value_ug` states it in micrograms. `created`:
    UTC seconds. `hash`: see `baseline_hash`.
    """

    stored: StoredTarget
    target_object: AnyTarget
    terms: TargetTerms
    path: ReductionPath
    window: Calendar
    zone: ZoneInfo
    namespaces: tuple[str, ...] | None
    span: Period | None
    value_ug: int
    created: int
    hash: str
    until: Mapping[str, int] = field(default_factory=dict)
    namespaces_left_out: bool = False

    @property
    def key(self) -> str:
        """namespace/name, or /name."""
        return self.stored.key

    @property
    def spec(self) -> CarbonTargetSpec:
        """The object's spec."""
        return self.target_object.spec

    @property
    def source(self) -> ClusterUnitSource:
        """Who counts the units, in the form that a question to the server has."""
        return ClusterUnitSource.model_validate(self.spec.unit.source.model_dump())

    @property
    def counts_from(self) -> int:
        """The time from which calendar windows are part of its history (UTC seconds)."""
        return _counts_from(self.span, self.created)

    @property
    def subject(self) -> TargetSubject:
        """The names and words for its message."""
        return TargetSubject(
            name=self.stored.name,
            unit=self.spec.unit.name,
            per=self.spec.unit.per,
            zone=self.zone,
            percent=self.path.percent,
            by=self.path.by,
            cluster=not self.stored.resource.namespaced,
            efficiency=self.terms.efficiency,
            market=self.spec.accounting == "MarketBased",
        )

    def baseline_of(self, frozen: FrozenBaseline) -> TargetBaseline:
        """The baseline that a status holds, with its exact rate. Raises ValueError if it was not written by us."""
        if self.span is None or frozen.measured is None:
            return stated_baseline(frozen.per_unit_micrograms, self.created)
        figure = frozen.measured
        span_hours = (self.span.end - self.span.start) // 3600
        sums = UnitSums(
            emissions_ug=figure.emissions_micrograms,
            embodied_ug=figure.embodied_micrograms,
            energy_uj=figure.energy_microjoules,
            units_micro=parse_units(figure.units),
            hours=span_hours,
            known_hours=figure.known_hours or span_hours,
            all_emissions_ug=figure.all_emissions_micrograms,
            known_share=figure.emissions_percent,
        )
        if sums.units_micro <= 0:
            raise ValueError("status.baseline has no units")
        return measured_baseline(sums, self.terms.per, self.span.end)


def prepare_target(stored: StoredTarget, namespaces: Namespaces, now: int) -> PreparedTarget:
    """Parse an object at `now` (UTC seconds). Raises InvalidTarget."""
    if stored.missing_spec_reason:
        raise InvalidTarget(stored.missing_spec_reason)
    try:
        found = stored.target_object
        spec = found.spec
        zone = time_zone(spec.time_zone)
        value_ug = parse_mass(spec.baseline.value) if spec.baseline.value is not None else 0
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidTarget(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (PeriodError, QuantityError) as error:
        raise InvalidTarget(str(error)) from None
    span = _span(spec)
    created, its_hash = _created(stored), _hash(found)
    live = _namespaces(found, namespaces)
    former: dict[str, int] = {}
    if live is not None and isinstance(found, ClusterCarbonTarget) and found.spec.namespace_selector is not None:
        since = _counts_from(span, created)
        former = former_namespaces(found, live, namespaces.labels() or {}, its_hash, span, zone, since, now)
    if live == () and not former:
        raise InvalidTarget("spec.namespaceSelector selects no namespace: change it, or label a namespace")
    room = MOST_NAMESPACES - len(live or ())
    kept = dict(sorted(former.items(), key=lambda item: (-item[1], item[0]))[:room])
    return PreparedTarget(
        stored=stored,
        target_object=found,
        terms=TargetTerms(
            per=spec.unit.per,
            minimum_units_micro=spec.minimum_units * MICRO,
            tolerance_percent=spec.tolerance,
            efficiency=spec.basis == "Efficiency",
        ),
        path=ReductionPath(
            name=spec.target.path,
            start=span.end if span is not None else created,
            by=seconds(spec.target.by),
            percent=spec.target.reduction,
            steps=tuple((seconds(step.by), step.reduction) for step in spec.target.steps),
        ),
        window=Calendar(spec.window),
        zone=zone,
        namespaces=(*live, *kept) if live is not None else None,
        span=span,
        value_ug=value_ug,
        created=created,
        hash=its_hash,
        until=kept,
        namespaces_left_out=len(kept) < len(former),
    )


def _span(spec: CarbonTargetSpec) -> Period | None:
    baseline = spec.baseline
    if baseline.value is not None:
        return None
    if baseline.start is None or baseline.end is None:
        raise InvalidTarget("spec.baseline has neither start and end nor value")
    span = Period(seconds(baseline.start), seconds(baseline.end))
    if span.start % 3600 or span.end % 3600 or not 0 <= span.start < span.end:
        raise InvalidTarget("spec.baseline.start and end must be full hours of UTC, end after start")
    return span


def _created(stored: StoredTarget) -> int:
    try:
        return seconds(dt.datetime.fromisoformat(text(stored.metadata.get("creationTimestamp"))))
    except ValueError:
        return 0


def _counts_from(span: Period | None, created: int) -> int:
    return span.start if span is not None else created


def _namespaces(found: AnyTarget, namespaces: Namespaces) -> tuple[str, ...] | None:
    chosen = found.spec.namespace_selector if isinstance(found, ClusterCarbonTarget) else None
    names = Scope(found.metadata.namespace, namespace_selector=chosen).names(namespaces.labels())
    if names is not None and len(names) > MOST_NAMESPACES:
        raise InvalidTarget(
            f"spec.namespaceSelector selects {len(names)} namespaces and {MOST_NAMESPACES} are possible: "
            "leave it out to count all, or make several targets"
        )
    return names


def _hash(found: AnyTarget) -> str:
    spec = found.spec
    counted = counted_hash(
        found.metadata.namespace,
        spec.selector,
        found.spec.namespace_selector if isinstance(found, ClusterCarbonTarget) else None,
        per_workload=False,
        accounting=spec.accounting,
        include=spec.include,
    )
    source = spec.unit.source.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    baseline = {
        key: seconds(value) if isinstance(value, dt.datetime) else value
        for key, value in spec.baseline.model_dump(exclude_defaults=True).items()
    }
    return baseline_hash(counted, spec.unit.per, source, baseline)
