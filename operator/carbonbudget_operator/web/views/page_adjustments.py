"""What changed a budget's limit in its period, and the budgets below it, as the page shows them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.budgets.quantity import exact_mass

_REASONS: Final = {
    "CarryOver": "left over before",
    "Overspend": "used above the limit before",
    "TransferIn": "transferred to this budget",
    "TransferOut": "transferred to another budget",
    "Credit": "savings of a target",
}


@dataclass(frozen=True, slots=True)
class PageAdjustment:
    """One change of the limit; micrograms have its sign."""

    reason: str
    micrograms: int
    source: str

    @property
    def words(self) -> str:
        """What it is."""
        return _REASONS.get(self.reason, self.reason)

    @property
    def amount(self) -> str:
        """ "+1.2kg" or "-300g", exact."""
        return f"{'+' if self.micrograms >= 0 else '-'}{exact_mass(abs(self.micrograms))}"


@dataclass(frozen=True, slots=True)
class PageChildren:
    """The budgets that name a ClusterCarbonBudget as their parent: masses as the status has them."""

    count: int
    allocated: str
    unallocated: str
