"""Histories of counters, and what they mean counted in the plainest way."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise

from hypothesis import strategies as st

from carbonbudget_operator.units.counting import HOUR, RawSeries

Samples = list[tuple[float, str]]
FIRST = 480_000 * HOUR  # a full hour


def plain_growth(samples: Samples, lookback: int) -> dict[int, Fraction]:
    """Growth by hour: each pair of samples in a row counts in the hour of the later one, with Fractions."""
    found: dict[int, Fraction] = defaultdict(Fraction)
    for (before_at, before), (at, value) in pairwise(samples):
        at_ms, before_ms = Fraction(str(at)) * 1000, Fraction(str(before_at)) * 1000
        hour = int(-(-at_ms // (HOUR * 1000)) - 1) * HOUR  # (hour, hour + 3600]
        if before_ms <= (hour - lookback) * 1000:
            continue
        grown = Fraction(value) - Fraction(before)
        found[hour] += grown if grown >= 0 else Fraction(value)
    return {hour: grown for hour, grown in found.items() if grown}


def in_range(samples: Samples, hour: int, lookback: int) -> Samples:
    """What Prometheus answers to a range of the hour and the lookback, at the hour's end, up to version 2."""
    return [one for one in samples if hour - lookback <= one[0] <= hour + HOUR]


def in_open_range(samples: Samples, hour: int, lookback: int) -> Samples:
    """The same since Prometheus 3: without a sample at the very start."""
    return [one for one in in_range(samples, hour, lookback) if one[0] > hour - lookback]


@st.composite
def histories(draw: st.DrawFn, longest_gap: int = 3 * HOUR) -> Samples:
    """Some hours of a counter, with resets, gaps, late scrapes and samples on the edge of an hour."""
    at, value, samples = FIRST * 1000 + draw(st.integers(0, 2 * HOUR * 1000)), draw(st.integers(0, 10**9)), []
    for _ in range(draw(st.integers(1, 60))):
        samples.append((at / 1000, str(value)))
        step = draw(st.sampled_from(["scrape", "scrape", "gap", "edge"]))
        if step == "edge":
            at += HOUR * 1000 - at % (HOUR * 1000)
        else:
            at += draw(st.integers(1, 60_000 if step == "scrape" else longest_gap * 1000))
        if draw(st.integers(0, 9)) == 0:
            value = 0
        value += draw(st.integers(0, 10**6))
    return samples


def pod_series(namespace: str, pod: str, samples: Samples, **more: str) -> RawSeries:
    return RawSeries({"namespace": namespace, "pod": pod, **more}, samples)
