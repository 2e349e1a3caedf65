"""Values by time: each is in force from a full UTC hour until the next one is. Pure.

Hours are valued as a whole, by what is in force at their start. So a change is at a full hour, and one at T can change
no hour before T.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

HOUR: Final = 3600
BEGINNING: Final = 0  # UTC seconds; the first value is in force before it too

END: Final = 2**62

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Timeline(Generic[T]):
    """`values[i]` is in force from the UTC second `starts[i]` until `starts[i + 1]`; the last one has no end.

    Raises ValueError unless there are as many starts as values, one at least, the first of them is BEGINNING, and each
    is a full hour later than the one before.
    """

    starts: tuple[int, ...]
    values: tuple[T, ...]

    def __post_init__(self) -> None:
        if not self.starts or self.starts[0] != BEGINNING or len(self.starts) != len(self.values):
            raise ValueError("a timeline has a value from the beginning, and one start for each value")
        if any(start % HOUR for start in self.starts):
            raise ValueError("values change at full hours only")
        if any(later <= earlier for earlier, later in zip(self.starts, self.starts[1:], strict=False)):
            raise ValueError("the starts of values ascend")

    @classmethod
    def always(cls, value: T) -> Timeline[T]:
        """One value at all times."""
        return cls((BEGINNING,), (value,))

    def at(self, instant: int) -> T:
        """What is in force at the UTC second `instant`."""
        return self.values[max(0, bisect_right(self.starts, instant) - 1)]

    def within(self, start: int, end: int) -> list[T]:
        """All that is in force at any time of [start, end), the earliest first; `end` is after `start`."""
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, end - 1)
        return list(self.values[max(0, first) : max(1, last)])

    def map(self, make: Callable[[T], U]) -> Timeline[U]:
        """The same times with what `make` makes of each value."""
        return Timeline(self.starts, tuple(map(make, self.values)))

    def spans(self) -> Iterator[tuple[int, int, T]]:
        """Each value with the UTC seconds [start, end) in which it is in force."""
        return zip(self.starts, (*self.starts[1:], END), self.values, strict=True)

    def __iter__(self) -> Iterator[tuple[int, T]]:
        """Starts and values."""
        return iter(zip(self.starts, self.values, strict=True))


def merge(first: Timeline[T], second: Timeline[U]) -> Timeline[tuple[T, U]]:
    """Two timelines as one of pairs: it changes whenever either does."""
    starts = tuple(sorted({*first.starts, *second.starts}))
    return Timeline(starts, tuple((first.at(start), second.at(start)) for start in starts))


def starts_of(changes: Iterable[int]) -> tuple[int, ...]:
    """The starts of a timeline that changes at these UTC seconds."""
    return (BEGINNING, *sorted(set(changes) - {BEGINNING}))
