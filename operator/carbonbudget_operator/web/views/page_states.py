"""The states of budgets and targets as the page shows them: a word, and the class of the style sheet. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# By the state in the status. No state of a budget is also one of a target.
_STATES: Final = {
    "Exceeded": ("Exceeded", "exceeded"),
    "Warning": ("Warning", "warning"),
    "WithinBudget": ("Within budget", "within"),
    "Violated": ("Violated", "exceeded"),
    "Behind": ("Behind", "warning"),
    "OnTrack": ("On track", "within"),
    "Achieved": ("Achieved", "within"),
}
_NO_DATA: Final = ("No data", "unknown")
_ORDER: Final = ("exceeded", "warning", "unknown", "within")


class ShownState:
    """A part of the page that has a state. The classes of what is shown inherit from it."""

    __slots__ = ()
    state: str

    @property
    def state_word(self) -> str:
        """The state for people."""
        return _STATES.get(self.state, _NO_DATA)[0]

    @property
    def state_class(self) -> str:
        """The state for the style sheet and the icon."""
        return _STATES.get(self.state, _NO_DATA)[1]

    @property
    def state_order(self) -> int:
        """The place in lists: what exceeds something has the least number."""
        return _ORDER.index(self.state_class)


@dataclass(frozen=True, slots=True)
class StateChoice(ShownState):
    """A state by which a list can be selected. `value` is in the address; `count`: how many of the list have it."""

    state: str
    value: str
    count: int
