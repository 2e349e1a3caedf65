"""Joins the steps that a pod has done into intervals that are long enough to be measured. Pure.

An interval reaches from the end of one step to the end of a later one. What happens between two steps, such as an
evaluation, is in it: the steps that are left have it too. A step that is shorter than a window of the measurements is
joined with the steps around it, since one window says nothing about parts of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

LEAST_MS: Final = 60_000  # a window
_PAUSE_PART: Final = 100  # a shorter part of the step is no pause: a client's loop needs a millisecond


@dataclass(frozen=True, slots=True)
class Mark:
    """`done` steps were over at `at_ms`, UTC milliseconds. Marks of one count differ by the steps between them."""

    at_ms: int
    done: int


@dataclass(frozen=True, slots=True)
class Interval:
    """`steps` steps were done in [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    steps: int


def marks_of_steps(steps: Iterable[tuple[int, int]]) -> list[Mark]:
    """The marks of steps that are known by start and end, in order of time. Steps may overlap.

    They begin with the start of the first step. If a pause follows it, they begin with its end: no pause belongs to it,
    and so it would count as a shorter step than the others.
    """
    ordered = sorted((end_ms, start_ms) for start_ms, end_ms in steps if start_ms < end_ms)
    if not ordered:
        return []
    found = [Mark(ordered[0][1], 0)]
    for number, (end_ms, _) in enumerate(ordered, 1):
        if found[-1].at_ms == end_ms:
            found.pop()
        found.append(Mark(end_ms, number))
    (first_end, first_start), second_start = ordered[0], ordered[min(1, len(ordered) - 1)][1]
    has_pause = (second_start - first_end) * _PAUSE_PART > first_end - first_start
    return found[1:] if has_pause and len(found) > 2 else found


def newest_count(points: Iterable[tuple[int, int, int]]) -> list[Mark]:
    """The marks of the newest count, from posts of progress: `at_ms`, `done` and `total`.

    A count begins anew where `done` falls: a training that was resumed, or another one. It also begins anew after a
    count that was complete. A total that changes otherwise changes no step.
    """
    found: list[Mark] = []
    was_complete = False
    for at_ms, done, total in sorted(points):
        if found and (done < found[-1].done or (was_complete and done > found[-1].done)):
            found = []
        if found and done == found[-1].done:
            continue  # repeated: the first time counts, as nothing was done since
        if found and at_ms == found[-1].at_ms:
            found.pop()
        found.append(Mark(at_ms, done))
        was_complete = done >= total
    return found


def last_intervals(marks: Sequence[Mark], most: int, least_ms: int = LEAST_MS) -> list[Interval]:
    """The last intervals between marks in order of time, each as short as it can be but not below `least_ms`.

    The first one is shorter only if there is no other.
    """
    if len(marks) < 2:
        return []
    found: list[tuple[Mark, Mark]] = []
    end = marks[-1]
    for mark in reversed(marks[:-1]):
        if end.at_ms - mark.at_ms >= least_ms:
            found.append((mark, end))
            end = mark
            if len(found) == most:
                break
    else:
        if not found:
            found.append((marks[0], end))
        elif end is not marks[0]:
            found[-1] = (marks[0], found[-1][1])
    return [Interval(start.at_ms, end.at_ms, end.done - start.done) for start, end in reversed(found)]
