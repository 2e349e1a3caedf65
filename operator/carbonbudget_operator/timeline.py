"""Values by time: each value is in force from a full UTC hour until the next value begins. Pure.

An hour is valued as a whole, with the values in force at its start. So values change at full hours only, and a change
never affects an earlier hour.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

HOUR: Final = 3600
BEGINNING: Final = 0  # UTC seconds; the first value is also in force before it

END: Final = 2**62

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Timeline(Generic[T]):
    """`values[i]` is in force from the UTC second `starts[i]` until `starts[i + 1]`; the last one has no end.

    There is at least one value. The first start is BEGINNING; the others are full hours in ascending order.

    Raises:
        ValueError: starts and values do not meet these rules.
    """

    starts: tuple[int, ...]
    values: tuple[T, ...]

    def __post_init__(self) -> None:
        if not self.starts or self.starts[0] != BEGINNING or len(self.starts) != len(self.values):
            raise ValueError("a timeline needs a value from the beginning and one start for each value")
        if any(start % HOUR for start in self.starts):
            raise ValueError("values change at full hours only")
        if any(later <= earlier for earlier, later in zip(self.starts, self.starts[1:], strict=False)):
            raise ValueError("the starts of values must ascend")

    @classmethod
    def always(cls, value: T) -> Timeline[T]:
        """A timeline with one value for all times."""
        return cls((BEGINNING,), (value,))

    def at(self, instant: int) -> T:
        """The value in force at the UTC second `instant`."""
        return self.values[max(0, bisect_right(self.starts, instant) - 1)]

    def within(self, start: int, end: int) -> list[T]:
        """The values in force in [start, end), UTC seconds, in order of time. `end` must be after `start`."""
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, end - 1)
        return list(self.values[max(0, first) : max(1, last)])

    def map(self, make: Callable[[T], U]) -> Timeline[U]:
        """A timeline with the same starts and the result of `make` for each value."""
        return Timeline(self.starts, tuple(map(make, self.values)))

    def spans(self) -> Iterator[tuple[int, int, T]]:
        """Yield (start, end, value): the value is in force in [start, end), UTC seconds."""
        return zip(self.starts, (*self.starts[1:], END), self.values, strict=True)

    def __iter__(self) -> Iterator[tuple[int, T]]:
        """Yield (start, value)."""
        return iter(zip(self.starts, self.values, strict=True))


def merge(first: Timeline[T], second: Timeline[U]) -> Timeline[tuple[T, U]]:
    """A timeline of pairs that changes whenever one of the two timelines changes."""
    starts = tuple(sorted({*first.starts, *second.starts}))
    return Timeline(starts, tuple((first.at(start), second.at(start)) for start in starts))


def starts_of(changes: Iterable[int]) -> tuple[int, ...]:
    """The starts of a timeline that changes at these UTC seconds."""
    return (BEGINNING, *sorted(set(changes) - {BEGINNING}))
