"""What a card says beside its figures, from the options of `carbonbudget card`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from carbonbudget_operator.model_card.model_figures import ModelCardError

_UNITS: Final = re.compile(r"([0-9]{1,24}(?:\.[0-9]{1,9})?(?:[eE]\+?[0-9]{1,2})?)[ ]+(.{1,60})")


@dataclass(frozen=True, slots=True)
class FunctionalUnits:
    """How many functional units a score is per: 1,200,000 of "token"."""

    count: Fraction
    name: str


@dataclass(frozen=True, slots=True)
class CardTerms:
    """`fine_tuned`: the training was a fine-tuning. Texts that are empty are left out of a card.

    `provider` supplied the energy. `created` is when the card is made, in UTC seconds.
    """

    created: int
    fine_tuned: bool = False
    location: str = ""
    hardware: str = ""
    provider: str = ""
    consumer_units: FunctionalUnits | None = None
    provider_units: FunctionalUnits | None = None


def parse_units(text: str) -> FunctionalUnits | None:
    """ "1.2e6 token" to a count and a name; None for an empty text. Raises ModelCardError."""
    if not text:
        return None
    found = _UNITS.fullmatch(text.strip())
    if found is None or not found[2].isprintable() or Fraction(found[1]) <= 0:
        raise ModelCardError(f"{text!r} is not a number above 0 and a unit, as in '1.2e6 token'")
    return FunctionalUnits(Fraction(found[1]), found[2].strip())
