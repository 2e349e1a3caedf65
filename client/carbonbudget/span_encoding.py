"""Spans and units as the server and the log file have them: bounded, printable, integers."""

from __future__ import annotations

import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.gpu_counter import GpuCounter
    from carbonbudget.tracked_span import TrackedSpan

_MOST_CHARACTERS = 120
_LARGEST = 2**53 - 1


def printable_name(name: object) -> str:
    """At most 120 printable characters; an empty name becomes `unnamed`."""
    text = str(name)[:_MOST_CHARACTERS]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text.strip() or "unnamed"


def step_number(step: object) -> int | None:
    """The step as an integer that JSON keeps exactly; None for anything else."""
    try:
        number = operator.index(step)  # type: ignore[arg-type] # numpy's integers too
    except TypeError:
        return None
    return number if 0 <= number <= _LARGEST else None


def span_record(span: TrackedSpan, gpu: GpuCounter | None) -> dict[str, Any]:
    """One span as the server reads it; what is not known is left out."""
    end_ms = span.start_ms if span.end_ms is None else span.end_ms
    record: dict[str, Any] = {"id": span.id, "name": printable_name(span.name)}
    step = None if span.step is None else step_number(span.step)
    if step is not None:
        record["step"] = step
    record["start_ms"], record["end_ms"] = span.start_ms, end_ms
    if span.cpu_start_us is not None and span.cpu_end_us is not None:
        record["cpu_us"] = [span.cpu_start_us, max(span.cpu_start_us, span.cpu_end_us)]
    edges = [gpu.at_uj(span.start_ms), gpu.at_uj(end_ms)] if gpu is not None else [None, None]
    if None not in edges:
        record["gpu_uj"] = edges
    return record


def unit_count(count: object) -> float:
    """The count of a unit as a number from 0 on that JSON keeps exactly; an integer stays one, numpy's too.

    Raises TypeError, ValueError or OverflowError: it is none.
    """
    try:
        number: float = operator.index(count)  # type: ignore[arg-type] # raises for what is no integer
    except TypeError:
        number = float(count)  # type: ignore[arg-type] # raises for what is no number
    if not 0 <= number <= _LARGEST:  # nor is NaN
        raise ValueError(f"a count of units is a number from 0 to {_LARGEST}, not {count!r:.50}")
    return number
