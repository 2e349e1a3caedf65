"""Chooses which hours of which counters are asked for next, from what is known of them. No I/O, no clock.

The newest hours come first, and namespaces take turns: a namespace with many counters does not delay the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Final, NamedTuple

HOUR: Final = 3600
FIRST_PAUSE_SECONDS: Final = 300
LONGEST_PAUSE_SECONDS: Final = 6 * HOUR
NOT_IN_STORE: Final = -1  # in place of attempts: the store answers, and has no samples of an hour long past
_AGAIN_SECONDS: Final = 24 * HOUR  # after which such an hour is asked for again: a store may be filled later
_MOST_OF_A_COUNTER: Final = 48  # hours that are looked at in one round: all pending ones may be a month of each


class AttemptedHour(NamedTuple):
    """An hour that was asked for in vain: when last, and how often while others were answered, or NOT_IN_STORE."""

    asked_at: int
    attempts: int

    @property
    def not_before(self) -> int:
        """When it is asked for again: the pause is doubled with each attempt, up to six hours."""
        if self.attempts == NOT_IN_STORE:
            return self.asked_at + _AGAIN_SECONDS
        return self.asked_at + min(FIRST_PAUSE_SECONDS << min(max(0, self.attempts - 1), 10), LONGEST_PAUSE_SECONDS)


@dataclass(slots=True)
class _Pending:
    namespace: str
    first: int
    upto: int  # hours before it are in `hours` or known
    hours: dict[int, AttemptedHour | None] = field(default_factory=dict)


class PendingHours:
    """The hours that are neither known nor given up, by counter."""

    def __init__(self) -> None:
        self._counters: dict[int, _Pending] = {}

    def first_of(self, counter_id: int) -> int | None:
        """The first hour that was looked at of a counter; None for one that is not here."""
        found = self._counters.get(counter_id)
        return None if found is None else found.first

    def put(
        self, counter_id: int, namespace: str, first: int, end: int, known: Collection[int],
        failed: Mapping[int, AttemptedHour],
    ) -> None:  # fmt: skip
        """Put in a counter whose hours [first, end) are wanted, without those that are known."""
        hours = {hour: failed.get(hour) for hour in range(first, end, HOUR) if hour not in known}
        self._counters[counter_id] = _Pending(namespace, first, max(first, end), hours)

    def move(self, horizon: int, end: int) -> None:
        """Give up hours before `horizon`, and add those that are due by now, up to `end`."""
        for one in self._counters.values():
            for hour in [hour for hour in one.hours if hour < horizon]:
                del one.hours[hour]
            for hour in range(max(one.upto, horizon), end, HOUR):
                one.hours[hour] = None
            one.upto = max(one.upto, end)

    def keep(self, counter_ids: Collection[int]) -> None:
        """Forget the other counters."""
        self._counters = {key: one for key, one in self._counters.items() if key in counter_ids}

    def known(self, counter_id: int, hour: int) -> None:
        """The hour is known now."""
        if (one := self._counters.get(counter_id)) is not None:
            one.hours.pop(hour, None)

    def failed(self, counter_id: int, hour: int, attempt: AttemptedHour) -> None:
        """The hour was asked for in vain."""
        if (one := self._counters.get(counter_id)) is not None and hour in one.hours:
            one.hours[hour] = attempt

    def attempts(self, counter_id: int, hour: int) -> int:
        """How often it was asked for in vain."""
        one = self._counters.get(counter_id)
        found = None if one is None else one.hours.get(hour)
        return 0 if found is None else found.attempts

    def counts(self) -> tuple[int, int, int]:
        """How many hours were not asked for yet, how many failed, and of how many the store has no samples."""
        states = [state for one in self._counters.values() for state in one.hours.values()]
        asked = [state for state in states if state is not None]
        lost = sum(state.attempts == NOT_IN_STORE for state in asked)
        return len(states) - len(asked), len(asked) - lost, lost

    def due(self, now: int, most: int, after: str = "") -> list[tuple[int, int]]:
        """Counters and hours to ask for now, in this order, at most so many.

        The turns begin with the namespace after `after`, whose turn was last: where not all are asked in one round, the
        next one goes on with the others. Of a namespace, hours that were never asked for come before those that failed.
        """
        of_namespace: dict[str, list[tuple[bool, int, int]]] = defaultdict(list)
        for counter_id, one in self._counters.items():
            due = [hour for hour, state in one.hours.items() if state is None or state.not_before <= now]
            for hour in sorted(due, reverse=True)[:_MOST_OF_A_COUNTER]:
                of_namespace[one.namespace].append((one.hours[hour] is not None, -hour, counter_id))
        turns: Iterable[Iterable[tuple[bool, int, int] | None]] = zip_longest(
            *(sorted(of_namespace[name]) for name in sorted(of_namespace, key=lambda name: (name <= after, name)))
        )
        chosen = [found for found in chain.from_iterable(turns) if found is not None]
        return [(counter_id, -minus_hour) for _, minus_hour, counter_id in chosen[:most]]
