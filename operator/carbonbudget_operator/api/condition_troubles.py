"""Which conditions of a budget are a trouble, for all that show it to people. No other module is needed to read it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# By the condition's type: the statuses in which something is wrong with the budget.
_TROUBLES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "Ready": frozenset({"False", "Unknown"}),
        "EnforcementEffective": frozenset({"False"}),
        "FiguresExact": frozenset({"False"}),
        "DataComplete": frozenset({"False"}),
        "EnforcementConflict": frozenset({"True"}),
        "Overallocated": frozenset({"True"}),
        "CreditsAvailable": frozenset({"False"}),
    }
)


def is_trouble(kind: str, status: str) -> bool:
    """Whether a condition of this type is a trouble with this status."""
    return status in _TROUBLES.get(kind, ())
