"""Units are the same from Prometheus and from VictoriaMetrics: what the raw samples say, to the digit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.exports.receivers import VictoriaMetrics
from tests.server.counting_stores import STORES, CountingStore, started
from tests.server.unit_polling import Polling
from tests.units.histories import FIRST, Samples, histories, plain_growth

from carbonbudget_operator.units.counter_expression import CounterExpression

HOUR, MICRO = 3600, 1_000_000
_numbers = itertools.count()


@pytest.fixture(scope="module", params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingStore]:
    made = started(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.stop()


def ended(samples: Samples) -> Samples:
    """As Prometheus scrapes: a series that stopped for more than five minutes was ended before it went on."""
    made: Samples = []
    for (at, value), (following, _) in zip(samples, [*samples[1:], (samples[-1][0] + HOUR, "")], strict=True):
        made.append((at, value))
        if following - at > 300:
            made.append((at + 30, CountingStore.END))
    return made


def up(first: int, end: int) -> dict[tuple[tuple[str, str], ...], Samples]:
    return {(("__name__", "up"), ("job", "pods")): [(float(at), "1") for at in range(first, end, 60)]}


def of_pod(name: str, namespace: str, pod: str, **more: str) -> tuple[tuple[str, str], ...]:
    return (("__name__", name), *{"namespace": namespace, "pod": pod, **more}.items())


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.tuples(histories(longest_gap=2 * HOUR), st.sampled_from(["p", "q"])), min_size=1, max_size=4),
    lookback=st.sampled_from([300, HOUR]), marks=st.booleans(),
)  # fmt: skip
async def test_hours_are_what_the_plain_reading_of_the_samples_gives(
    engine: sa.Engine, store: CountingStore, parts: list[tuple[Samples, str]], lookback: int, marks: bool
) -> None:
    """Resets, gaps, restarted pods with new series, samples on the edges of hours, series that end."""
    counter = CounterExpression(f"units_{next(_numbers)}_total")
    store.write(
        {
            of_pod(counter.metric, "team-a", pod, instance=str(n)): ended(samples) if marks else samples
            for n, (samples, pod) in enumerate(parts)
        }
    )
    last = max(int(samples[-1][0]) for samples, _ in parts)
    end = last - last % HOUR + 2 * HOUR
    polling = Polling(engine, store.url, lookback_seconds=lookback, scraped_query="", timeout_seconds=60)
    polling.poller._holder = "the poller of the example before, whose lease goes on"
    now = end + 300
    polling.want(FIRST - HOUR, now, "team-a", expression=counter)
    while await polling.poller.step(now):
        now += 30
    await polling.poller.close()
    expected: dict[int, dict[tuple[str, str], Fraction]] = {}
    for samples, pod in parts:
        for hour, grown in plain_growth(samples, lookback).items():
            of_hour = expected.setdefault(hour, {})
            of_hour["team-a", pod] = of_hour.get(("team-a", pod), Fraction(0)) + grown * MICRO
    found = polling.hours("team-a", FIRST - HOUR, end, counter)
    assert {hour: dict(units) for hour, units in found.units.items()} == expected
    assert set(found.states) == set(range(FIRST - HOUR, end, HOUR))
    assert "failed" not in found.states.values()
    assert found.gaps == frozenset()


async def test_a_pod_that_ends_just_after_an_hour_leaves_the_next_one_known(
    engine: sa.Engine, store: CountingStore
) -> None:
    counter = CounterExpression("ends_total")
    store.write(
        up(FIRST - HOUR, FIRST + 3 * HOUR)
        | {of_pod("ends_total", "team-a", "p"): [(FIRST + 600, "1"), (FIRST + 3590, "4"), (FIRST + 3620, "end")]}
    )
    polling, now = Polling(engine, store.url, timeout_seconds=60), FIRST + 3 * HOUR + 300
    polling.want(FIRST, now, "team-a", expression=counter)
    assert await polling.poller.step(now) == 3
    await polling.poller.close()
    found = polling.hours("team-a", FIRST, FIRST + 3 * HOUR, counter)
    assert found.units == {FIRST: {("team-a", "p"): 3 * MICRO}}
    assert (found.states[FIRST], found.states[FIRST + HOUR], found.gaps) == ("counted", "counted", frozenset())


async def test_an_hour_without_series_is_known_only_while_the_store_got_samples(
    engine: sa.Engine, store: CountingStore
) -> None:
    first = FIRST + 40 * HOUR
    store.write(up(first, first + HOUR + 1200))
    nothing = CounterExpression("no_such_metric_total")
    polling, now = Polling(engine, store.url, timeout_seconds=60), first + 3 * HOUR + 300
    polling.want(first, now, "team-a", expression=nothing)
    await polling.poller.step(now)
    await polling.poller.close()
    states = polling.hours("team-a", first, first + 3 * HOUR, nothing).states
    assert states == {first: "absent", first + HOUR: "failed", first + 2 * HOUR: "failed"}


async def test_values_that_cannot_be_are_refused_whichever_store_answers(
    engine: sa.Engine, store: CountingStore
) -> None:
    """NaN that a pod exposes all the time, a jump of 10^18, infinity, and a value below zero.

    VictoriaMetrics does not store a NaN that is exposed: to it the pod has no samples then.
    """
    counter = CounterExpression("hostile_total")
    values = {"nan": "nan", "jump": "1e18", "infinite": "inf", "negative": "-5"}
    store.write(
        {
            of_pod("hostile_total", name, "p"): [(FIRST + 60, "1"), (FIRST + 3660, value), (FIRST + 3720, value)]
            for name, value in values.items()
        }
        | {of_pod("hostile_total", "sound", "p"): [(FIRST + 60, "1"), (FIRST + 3660, "3")]}
    )
    polling, now = Polling(engine, store.url, timeout_seconds=60), FIRST + 2 * HOUR + 300
    polling.want(FIRST, now, *values, "sound", expression=counter)
    if isinstance(store.receiver, VictoriaMetrics):
        del values["nan"]
    assert await polling.poller.step(now) == 10 - len(values)
    await polling.poller.close()
    for name in values:
        found = polling.hours(name, FIRST, FIRST + 2 * HOUR, counter)
        assert (found.states, found.units) == ({FIRST: "counted", FIRST + HOUR: "failed"}, {}), name
        assert f"{name}/p counted more than" in found.reason
    assert polling.hours("sound", FIRST, FIRST + 2 * HOUR, counter).units == {FIRST + HOUR: {("sound", "p"): 2 * MICRO}}
