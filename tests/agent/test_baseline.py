"""The learned idle: found on a node that rests and on one that never does, without jumps."""

from __future__ import annotations

import random
from dataclasses import asdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_agent.baseline import Baseline

TICK_MS = 5_000
DAY_MS = 86_400_000
LOOKS = st.lists(st.tuples(st.integers(1, 500_000), st.integers(0, 1000)), min_size=1, max_size=60)


def learn(looks: list[tuple[int, int]], baseline: Baseline | None = None, start_ms: int = 0) -> Baseline:
    """Ticks of (milliwatts, use in permille)."""
    baseline = baseline or Baseline()
    for n, (power_mw, use) in enumerate(looks):
        baseline = baseline.seen(power_mw * TICK_MS, TICK_MS, start_ms + n * TICK_MS, use)
    return baseline


def power_mw(use: int, idle_mw: int = 60_000, full_mw: int = 240_000) -> int:
    return idle_mw + (full_mw - idle_mw) * use // 1000


def test_a_node_that_rests_has_the_power_of_its_rest() -> None:
    looks = [(100_000, 500), (61_000, 10), (60_000, 0), (200_000, 900)] * 1000
    assert abs(learn(looks).idle_uw - 60_000_000) < 1_000  # within a milliwatt


def test_a_node_that_is_never_idle_has_a_baseline_as_soon_as_its_use_varies() -> None:
    rng = random.Random(7)
    looks = [(power_mw(use) + rng.randint(0, 6_000), use) for use in (rng.randint(550, 950) for _ in range(2_000))]
    assert 50_000_000 <= learn(looks).idle_uw <= 75_000_000


def test_a_node_at_one_constant_use_takes_idle_as_a_twelfth_of_full_power() -> None:
    assert learn([(power_mw(1000), 1000)]).idle_uw == 240_000_000 * 12 // 100


def test_it_never_jumps() -> None:
    steady = learn([(power_mw(use), use) for use in (600, 800)] * 500)
    looks = [(1_000, 0)] * 50  # suddenly it rests, far below what was thought
    held = [steady.idle_uw]
    for n, (milliwatts, use) in enumerate(looks):
        steady = steady.seen(milliwatts * TICK_MS, TICK_MS, (1000 + n) * TICK_MS, use)
        held.append(steady.idle_uw)
    assert all(0 <= before - after <= before // 50 for before, after in pairwise(held))
    assert held[-1] < held[0]


def test_what_is_older_than_a_week_is_forgotten() -> None:
    old = learn([(30_000, 0)])
    assert old.seen(90_000 * TICK_MS, TICK_MS, 6 * DAY_MS, 0).idle_uw == 30_000_000
    assert old.seen(90_000 * TICK_MS, TICK_MS, 7 * DAY_MS, 0).idle_uw > 30_000_000


def test_too_short_a_tick_tells_nothing() -> None:
    assert Baseline().seen(1, 100, 0, 0) == Baseline()
    assert Baseline().energy_uj(1000) == 0


def test_a_counter_that_stood_still_once_is_no_idle_of_nothing() -> None:
    looks = [(60_000, 0)] * 100
    assert learn([*looks, (0, 0), *looks]).idle_uw == 60_000_000


@given(LOOKS)
def test_it_is_never_above_the_lowest_power_that_was_seen_once_it_settled(looks: list[tuple[int, int]]) -> None:
    first = learn(looks[:1])
    assert 0 <= first.idle_uw <= looks[0][0] * 1000
    settled = learn(looks + [looks[-1]] * 2_400)  # 200 minutes, twenty times what it takes to come 63 % nearer
    assert 0 <= settled.idle_uw <= min(milliwatts for milliwatts, _ in looks) * 1000 + 1000


@given(LOOKS)
def test_it_holds_a_bounded_number_of_figures(looks: list[tuple[int, int]]) -> None:
    baseline = learn(looks)
    for day in range(1, 12):
        baseline = learn(looks, baseline, day * DAY_MS)
    assert sum(len(steps) for steps in asdict(baseline)["lowest_mw"].values()) <= 7 * 21
