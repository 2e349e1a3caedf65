"""The windows of a target that are over as the page shows them, and what they saved. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from carbonbudget_operator.budgets.price import money_text
from carbonbudget_operator.budgets.quantity import format_energy, format_mass
from carbonbudget_operator.web.views.answer_figures import units_text
from carbonbudget_operator.web.views.page_states import ShownState

_MONEY: Final = re.compile(r"(-?[0-9][0-9,]{0,40}\.[0-9]{1,12}) ([A-Z]{3})")


@dataclass(frozen=True, slots=True)
class PageSavings:
    """What a window saved against the baseline, at the baseline's grid; negative: it emitted more."""

    micrograms: int
    microjoules: int = 0
    absolute_fall_ug: int | None = None
    money: str = ""

    @property
    def mass(self) -> str:
        """ "1.2kg", with a minus where more was emitted."""
        return format_mass(self.micrograms)

    @property
    def energy(self) -> str:
        """ "3.20 kWh"."""
        size = format_energy(abs(self.microjoules))
        return f"-{size}" if self.microjoules < 0 else size


@dataclass(frozen=True, slots=True)
class PageWindow(ShownState):
    """A window that is over: what it emitted per unit, and what the path asked for at its end."""

    start: int
    end: int
    per_unit_ug: int
    expected_ug: int | None = None
    state: str = ""
    units: str = ""
    hours_percent: int | None = None
    savings: PageSavings | None = None

    @property
    def per_unit(self) -> str:
        """The window's figure."""
        return format_mass(self.per_unit_ug)

    @property
    def expected(self) -> str:
        """What the path asked for; empty where that is not known."""
        return "" if self.expected_ug is None else format_mass(self.expected_ug)

    @property
    def units_text(self) -> str:
        """ "91,250,000"; empty where they are not known."""
        return units_text(self.units)


def summed_savings(known: Sequence[PageSavings]) -> PageSavings | None:
    """What all of them are together; None without any. The absolute fall is of one window alone."""
    if not known:
        return None
    return PageSavings(
        sum(one.micrograms for one in known), sum(one.microjoules for one in known),
        money=_money([one.money for one in known]),
    )  # fmt: skip


def _money(amounts: Sequence[str]) -> str:
    """The sum of amounts such as "12.40 EUR"; empty unless all of them have one currency."""
    read = [_MONEY.fullmatch(one) for one in amounts]
    if not read or any(one is None for one in read) or len({one[2] for one in read if one}) > 1:
        return ""
    total = sum((Decimal(one[1].replace(",", "")) for one in read if one), Decimal(0))
    return money_text(total, next(one[2] for one in read if one))
