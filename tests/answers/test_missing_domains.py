"""A node's time counts as reported while all of its domains were: energy that no meter gave is missing data."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_core.node_report import DomainUse, NodeReport
from carbonbudget_operator.answers.node_energy import node_energy
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

GPUS = [f"gpu:GPU-{number}" for number in range(8)]
WHOLE = range(60)
FRESH = itertools.count(HOUR, 3600)  # an hour of its own for each example


def a_window(start: int, seconds: Mapping[str, int], since: int = -1) -> NodeReport:
    """A minute of the node without pods: how long each domain was covered."""
    domains = tuple(
        DomainUse(name, "nvml" if name in GPUS else "rapl", "package", its * 1000, 100, 60, 30, 10)
        for name, its in seconds.items()
    )
    return replace(a_report(start, "n1", {}, since), domains=domains)


def windows(hour: int, minutes: Mapping[str, Collection[int]]) -> list[NodeReport]:
    """The minutes of an hour in which each domain was covered."""
    found = ({name: 60 for name, its in minutes.items() if minute in its} for minute in WHOLE)
    return [a_window(hour + 60 * minute, its) for minute, its in enumerate(found) if its]


def covered(engine: sa.Engine, hour: int) -> tuple[int, int | None]:
    """Minutes of the hour that count as reported, and what the list of nodes says of it in per cent."""
    reader = ValuedReader(engine, Settings())
    page = node_energy(reader, (hour, hour + 3600), None, 10)
    return reader.reported_ms(hour, hour + 3600) // 60_000, page.nodes[0].coverage_percent


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (dict.fromkeys(["cpu", "dram", *GPUS], WHOLE), (60, 100)),
        ({"cpu": range(30), "dram": WHOLE}, (30, 50)),  # a counter that became unreadable
        ({"cpu": WHOLE, "dram": range(45)}, (45, 75)),
        (dict.fromkeys(["cpu", *GPUS], WHOLE) | {GPUS[7]: range(15)}, (15, 25)),  # one GPU of eight was lost
        ({GPUS[0]: WHOLE}, (0, 0)),  # the CPU's counter had no figure in the whole hour
    ],
    ids=["nothing missing", "the CPU", "memory", "one GPU", "the CPU of a whole hour"],
)
def test_the_domain_that_was_reported_shortest_counts(
    engine: sa.Engine, minutes: Mapping[str, Collection[int]], expected: tuple[int, int]
) -> None:
    book(Booker(engine), *windows(HOUR, minutes))
    assert covered(engine, HOUR) == expected


def test_the_time_of_a_gap_in_which_the_cpus_counter_wrapped_unseen_is_missing_though_the_gpu_has_its_energy(
    engine: sa.Engine,
) -> None:
    """An agent that is away from :10 to :40 on an EPYC with a GPU: 65 s are too long for the one counter alone."""
    there = frozenset(WHOLE) - frozenset(range(10, 41))
    reports = windows(HOUR, dict.fromkeys(["cpu", GPUS[0]], there))
    late = a_window(HOUR + 40 * 60, {"cpu": 60, GPUS[0]: 31 * 60}, since=HOUR + 10 * 60)
    book(Booker(engine), *reports, late)
    assert covered(engine, HOUR) == (30, 50)


def test_what_a_meter_makes_up_for_when_it_answers_again_is_not_missing(engine: sa.Engine) -> None:
    reports = windows(HOUR, {"cpu": WHOLE, "dram": [*range(20), *range(51, 60)]})
    reports[50] = a_window(HOUR + 50 * 60, {"cpu": 60, "dram": 31 * 60}, since=HOUR + 20 * 60)
    book(Booker(engine), *reports)
    assert covered(engine, HOUR) == (60, 100)


def test_a_node_that_comes_within_the_hour_is_covered_from_its_first_report_on(engine: sa.Engine) -> None:
    book(Booker(engine), *windows(HOUR, dict.fromkeys(["cpu", "dram", GPUS[0]], range(30, 60))))
    assert covered(engine, HOUR) == (30, 100)


@hypothesis_settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["cpu", "dram", *GPUS[:2]]), st.frozensets(st.integers(0, 7), min_size=1), min_size=1
    )
)
def test_no_node_is_covered_for_longer_than_its_least_reported_domain(
    engine: sa.Engine, minutes: Mapping[str, Collection[int]]
) -> None:
    hour = next(FRESH)
    book(Booker(engine), *windows(hour, minutes))
    found, percent = covered(engine, hour)
    shortest = min(len(its) for its in minutes.values()) if "cpu" in minutes else 0
    assert found == shortest
    assert percent is not None
    assert (percent == 0) == (shortest == 0)
