"""What the pods of a model used and emitted, by stage of its life. Pure.

The stages are those of the label `carbonbudget.dev/stage`. All pods with the label `carbonbudget.dev/model` count,
whether their run succeeded or not: SCI for AI (Green Software Foundation, 2025, section 7.2) asks for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from carbonbudget_operator.run_labels import STAGES

WITHOUT_STAGE: Final = "without-stage"
# The boundaries of SCI for AI. What serves the model is the consumer's, all that comes before and after the provider's.
CONSUMER_STAGES: Final = ("inference",)
PROVIDER_STAGES: Final = tuple(stage for stage in STAGES if stage not in CONSUMER_STAGES)


class ModelCardError(Exception):
    """No card can be made of these figures in that form; one line says what to do."""


@dataclass(frozen=True, slots=True)
class StageFigures:
    """Energy in microjoules, emissions in micrograms of CO2 equivalent; embodied emissions are in no other figure.

    `energy_uj` is IT energy, and `metered_uj` the part of it that a meter measured, as far as whole per cent tell it.
    `facility_uj` is the same with cooling and power supply, by PUE: what the emissions are of.
    """

    energy_uj: int = 0
    location_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0
    metered_uj: int = 0
    facility_uj: int = 0

    def __add__(self, other: StageFigures) -> StageFigures:
        return StageFigures(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def __sub__(self, other: StageFigures) -> StageFigures:
        return StageFigures(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(self)))

    @property
    def measured_percent(self) -> int:
        """The share of the IT energy that a meter measured, rounded to the nearest per cent; 0 without energy."""
        return min(100, (self.metered_uj * 100 + self.energy_uj // 2) // self.energy_uj) if self.energy_uj else 0


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model of one namespace, in the whole hours [start, end) in UTC seconds.

    `stages`: in the order of `STAGES`, those without energy left out, and `WITHOUT_STAGE` last: pods of the model
    whose stage no label tells. `version`: empty for all versions. `runs` is how many runs its pods were of.
    """

    namespace: str
    model: str
    version: str
    start: int
    end: int
    stages: Mapping[str, StageFigures]
    runs: int
    state: str
    tool: str

    @property
    def total(self) -> StageFigures:
        """All stages together."""
        return sum_of(self.stages.values())

    def of(self, names: Iterable[str]) -> StageFigures:
        """These stages together."""
        return sum_of(self.stages[name] for name in names if name in self.stages)


def sum_of(parts: Iterable[StageFigures]) -> StageFigures:
    """The sum of them."""
    return sum(parts, StageFigures())


def figures_of(total: Mapping[str, Any]) -> StageFigures:
    """The total of an answer about runs (integers as numbers or text). LookupError or ValueError of another form."""
    energy, location, market, embodied, facility = (
        int(total[key]) for key in ("energy_uj", "location_ug", "market_ug", "embodied_ug", "facility_energy_uj")
    )
    return StageFigures(energy, location, market, embodied, energy * int(total["measured_percent"]) // 100, facility)


def by_stage(whole: StageFigures, parts: Mapping[str, StageFigures], unlabelled_as: str) -> dict[str, StageFigures]:
    """The stages that have figures, and what is left of the whole as `unlabelled_as` (a stage or `WITHOUT_STAGE`)."""
    rest = whole - sum_of(parts.values())
    if rest.energy_uj < 0:
        raise ModelCardError("the figures changed while they were read: ask once more")
    stages = {name: parts[name] for name in STAGES if name in parts and parts[name] != StageFigures()}
    if rest != StageFigures():
        stages[unlabelled_as] = stages.get(unlabelled_as, StageFigures()) + rest
    order = (*STAGES, WITHOUT_STAGE)
    return {name: stages[name] for name in order if name in stages}
