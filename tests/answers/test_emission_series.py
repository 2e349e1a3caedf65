"""Emissions by step: the same figures from stored units as from facts, whatever is asked for."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.allocation_groups import field_of
from carbonbudget_operator.answers.emission_series import Amounts, Series, SeriesQuery, emission_series
from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.answers.window_parser import Step, steps_of
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.stored_units import StoredUnits
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_761_868_800  # 2025-10-31: the last day of a month
HOUR = 3600
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
STEPS: tuple[Step, ...] = ("hour", "day", "week", "month", "all")


def fill(engine: sa.Engine) -> None:
    """Three days over a month's end. Two namespaces, of which one has no pods on the last day."""
    for hour in range(0, 72, 5):
        for namespace in ("team-a", "team-b") if hour < 48 else ("team-a",):
            pods = {f"p{hour % 3}": 10**9 + hour}
            node = "n1" if namespace == "team-a" else "n2"
            labels = {"team": f"t{hour % 4}"}
            book(Booker(engine), a_report(DAY + hour * HOUR, node, pods, labels=labels, namespace=namespace))


def from_rows(reader: ValuedReader, query: SeriesQuery) -> list[tuple[int, int, tuple[str, ...], Amounts]]:
    """The same series, added up from the rows of each step."""
    made = []
    for start, end in steps_of(covered_range(*query.window), query.step):
        found: dict[tuple[str, ...], Amounts] = {}
        for row in reader.rows(start, end):
            if query.namespaces is not None and row.namespace not in query.namespaces:
                continue
            if all(field_of(row, field) == value for field, value in query.filters):
                key = tuple(field_of(row, field) for field in query.group_by)
                found.setdefault(key, Amounts()).add(row.figures, query.components)
        made += [(start, end, key, found[key]) for key in sorted(found)]
    return made


def shown(series: Series) -> list[tuple[int, int, tuple[str, ...], Amounts]]:
    return [(row.start, row.end, row.key, row.amounts) for row in series.rows]


queries = st.builds(
    SeriesQuery,
    window=st.tuples(st.integers(-3, 60), st.integers(1, 80)).map(
        lambda span: (DAY + span[0] * HOUR + 60, DAY + (span[0] + span[1]) * HOUR)
    ),
    step=st.sampled_from(STEPS),
    group_by=st.sampled_from((("namespace",), ("workload",), ("namespace", "label:team"))),
    filters=st.sampled_from(((), (("namespace", "team-a"),), (("label:team", "t1"),))),
    namespaces=st.sampled_from((None, frozenset({"team-b"}), frozenset({"team-a", "none"}))),
    compare=st.just(False),
    after=st.none(),
    limit=st.just(10_000),
    components=st.sampled_from(((0, 1, 2), (0,), (1, 2))),
)


def test_stored_units_answer_as_facts_do(engine: sa.Engine) -> None:
    fill(engine)
    upkeep = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while upkeep.step(DAY + 40 * 24 * HOUR) is not None:
        pass
    without = ValuedReader(engine, SETTINGS)
    without.derived = StoredUnits(engine, "nothing is stored under this")

    @settings(max_examples=60, deadline=None)
    @given(queries)
    def check(query: SeriesQuery) -> None:
        series, facts = (emission_series(ValuedReader(engine, SETTINGS), query), emission_series(without, query))
        assert shown(series) == shown(facts) == from_rows(without, query)
        assert series == facts
        for of_total, parts in ((getattr(series.total, name), name) for name in ("energy_uj", "location_ug")):
            assert of_total == sum(getattr(row.amounts, parts) for row in series.rows)

    check()


def test_a_comparison_reads_the_window_before(engine: sa.Engine) -> None:
    fill(engine)
    window = DAY + 24 * HOUR, DAY + 48 * HOUR
    query = SeriesQuery(window, "all", ("namespace",), (), None, True, None, 10_000)
    reader = ValuedReader(engine, SETTINGS)
    earlier = emission_series(reader, replace(query, window=(DAY, window[0]), compare=False))
    now = emission_series(reader, query)
    assert {row.key: row.previous for row in now.rows} == {row.key: row.amounts for row in earlier.rows}
