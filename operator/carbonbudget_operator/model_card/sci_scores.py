"""The two scores of SCI for AI: operational and embodied emissions per functional unit. Pure.

The Software Carbon Intensity is (E x I + M) per R (ISO/IEC 21031:2024). Its specification for AI has two boundaries
with a score each, which are never added: the training is not spread over those who use the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from carbonbudget_operator.model_card.card_terms import CardTerms, FunctionalUnits
from carbonbudget_operator.model_card.model_figures import (
    CONSUMER_STAGES,
    PROVIDER_STAGES,
    ModelFigures,
    StageFigures,
)


@dataclass(frozen=True, slots=True)
class SciScore:
    """One boundary: its stages, what they emitted, and the units, if somebody named them."""

    boundary: str
    stages: tuple[str, ...]
    figures: StageFigures
    units: FunctionalUnits | None

    @property
    def emissions_ug(self) -> int:
        """Location-based operational emissions and embodied ones: SCI takes no market instrument."""
        return self.figures.location_ug + self.figures.embodied_ug

    @property
    def grams_per_unit(self) -> Fraction | None:
        """The score, exact; None where no units are named."""
        return None if self.units is None else Fraction(self.emissions_ug, 1_000_000) / self.units.count


def sci_scores(model: ModelFigures, terms: CardTerms) -> tuple[SciScore, SciScore]:
    """The consumer's and the provider's. Pods without a stage are in neither."""
    return (
        SciScore("consumer", CONSUMER_STAGES, model.of(CONSUMER_STAGES), terms.consumer_units),
        SciScore("provider", PROVIDER_STAGES, model.of(PROVIDER_STAGES), terms.provider_units),
    )


def significant(value: Fraction, digits: int = 6) -> str:
    """A score as decimal text with so many significant digits, rounded to even: 1/3 becomes "0.333333"."""
    return format(float(value), f".{digits}g")
