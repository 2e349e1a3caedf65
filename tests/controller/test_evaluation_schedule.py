"""When budgets are evaluated: each window, at once after a change, and not without end because two tools disagree."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest

from carbonbudget_operator.controller.evaluation_schedule import EvaluationSchedule


def clock(at: float) -> Callable[[], float]:
    """Seconds that go by, from `at` on: where in a window a test begins is not left to chance."""
    began = time.monotonic()
    return lambda: at + time.monotonic() - began


async def rounds_while_changing(rounds: EvaluationSchedule, changed: asyncio.Event, seconds: float) -> list[float]:
    """When rounds began, in seconds, while somebody changes a budget all the time."""
    began, found = time.monotonic(), []

    async def count() -> None:
        while True:
            await rounds.next()
            found.append(time.monotonic() - began)

    task = asyncio.create_task(count())
    while time.monotonic() - began < seconds:
        changed.set()
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return found


async def test_a_change_is_evaluated_at_once_and_the_next_change_after_it_waits() -> None:
    changed = asyncio.Event()
    rounds = EvaluationSchedule(changed, window_seconds=60, now=clock(20), debounce_seconds=0.02, floor_seconds=0.3)
    found = await rounds_while_changing(rounds, changed, 1.0)
    assert found[0] < 0.3
    assert 2 <= len(found) <= 4
    assert all(later - earlier > 0.25 for earlier, later in itertools.pairwise(found))


async def test_who_waits_is_evaluated_with_the_window_at_the_latest() -> None:
    changed = asyncio.Event()
    rounds = EvaluationSchedule(changed, window_seconds=1, now=clock(0.3), debounce_seconds=0.01, floor_seconds=60)
    found = await rounds_while_changing(rounds, changed, 3.3)
    # One at once, then of each of three windows its own round and one that was rung after it.
    assert 5 <= len(found) <= 7


async def test_after_a_quiet_round_a_change_is_evaluated_at_once_again() -> None:
    changed = asyncio.Event()
    rounds = EvaluationSchedule(changed, window_seconds=1, now=clock(0.3), debounce_seconds=0.01, floor_seconds=60)
    changed.set()
    await rounds.next()
    await rounds.next()  # the window's own
    changed.set()
    began = time.monotonic()
    await rounds.next()
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("at", [0.0, 11.9, 12.0, 59.0])
async def test_without_a_change_verdicts_come_a_fifth_of_a_window_after_its_end(at: float) -> None:
    rounds = EvaluationSchedule(asyncio.Event(), window_seconds=60, now=lambda: at)
    waited = rounds.due_at(at) - at
    assert 0 < waited <= 60
    assert (at + waited) % 60 == 12
