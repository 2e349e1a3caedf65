"""A node's hour holds no more energy than a node can draw in it, and none of its domains much more time than it has."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_core.node_report import DomainUse, NodeReport, PodRequests
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker, BookingResult

WATTS = 20_000


def drawing(watts: int, start: int = HOUR, since: int = -1, part: int = 0, name: str = "cpu") -> NodeReport:
    """A window without pods."""
    span_ms = 1000 * (start + 60 - (start if since < 0 else since))
    energy_uj = watts * span_ms * 1000
    domain = DomainUse(name, "rapl", "package", span_ms, energy_uj, energy_uj, 0, 0)
    return replace(a_report(start, pods={}, since=since, part=part), domains=(domain,))


def hours(engine: sa.Engine) -> dict[int, tuple[int, int]]:
    """Mean watts and seconds of each hour that is booked."""
    fact = schema.node_fact.c
    found: dict[int, tuple[int, int]] = {}
    with engine.connect() as connection:
        for start, energy_uj, ms in connection.execute(sa.select(fact.start, fact.measured_uj, fact.duration_ms)):
            watts, seconds = found.get(start - start % 3600, (0, 0))
            found[start - start % 3600] = watts + energy_uj // 3_600_000_000, seconds + ms // 1000
    return found


def test_parts_of_one_minute_at_full_power_fill_the_hour_and_no_more(engine: sa.Engine) -> None:
    booker = Booker(engine, max_node_watts=WATTS)
    fates = Counter(book(booker, *(drawing(WATTS, part=part) for part in range(100))))
    fates += Counter(book(booker, *(drawing(WATTS, part=part) for part in range(100, 200))))
    assert fates == {BookingResult.STORED: 62, BookingResult.IMPOSSIBLE: 138}  # an hour, and what a window may be late
    assert hours(engine)[HOUR][0] <= WATTS * 31 // 30
    assert book(booker, drawing(WATTS, part=3), drawing(WATTS, HOUR + 3600)) == [
        BookingResult.DUPLICATE,
        BookingResult.STORED,
    ]


def test_what_another_process_booked_counts(engine: sa.Engine) -> None:
    book(Booker(engine), *(drawing(WATTS, part=part) for part in range(62)))
    assert book(Booker(engine), drawing(WATTS, part=62)) == [BookingResult.IMPOSSIBLE]


def test_two_servers_on_one_ledger_fill_a_nodes_hour_once(engine: sa.Engine) -> None:
    """A node that alternates between them, and one that goes from one to the other and back."""
    servers = [Booker(engine, max_node_watts=WATTS) for _ in range(2)]
    fates = Counter(book(servers[part % 2], drawing(WATTS, part=part))[0] for part in range(100))
    assert fates == {BookingResult.STORED: 62, BookingResult.IMPOSSIBLE: 38}
    later = [drawing(WATTS, HOUR + 3600, part=part) for part in range(120)]
    fates = Counter()
    for server, some in ((0, later[:20]), (1, later[20:60]), (0, later[60:])):
        fates += Counter(book(servers[server], *some))
    assert fates == {BookingResult.STORED: 62, BookingResult.IMPOSSIBLE: 58}
    assert all(watts <= WATTS * 31 // 30 for watts, _ in hours(engine).values())


def test_gaps_that_overlap_fill_their_hours_once(engine: sa.Engine) -> None:
    booker = Booker(engine, max_node_watts=WATTS)
    gap = [drawing(15_000, HOUR + 3 * 3600 + 60 * i, since=HOUR) for i in range(5)]
    assert book(booker, *gap) == [BookingResult.STORED] + [BookingResult.IMPOSSIBLE] * 4
    assert book(booker, drawing(15_000, HOUR + 1800)) == [
        BookingResult.STORED
    ]  # there is room for what the gap was not
    assert max(watts for watts, _ in hours(engine).values()) <= WATTS


def test_a_node_whose_clock_was_set_back_may_live_an_hour_twice_but_not_three_times(engine: sa.Engine) -> None:
    booker = Booker(engine)
    for part in range(2):
        assert set(book(booker, *(drawing(500, HOUR + 60 * i, part=part) for i in range(60)))) == {BookingResult.STORED}
    assert book(booker, drawing(500, part=2)) == [BookingResult.IMPOSSIBLE]
    assert book(booker, drawing(500, part=2, name="dram")) == [BookingResult.IMPOSSIBLE]  # a new name is no new time
    assert hours(engine)[HOUR][1] == 7_200


def test_meters_that_were_away_at_different_times_of_an_hour_catch_up_without_a_loss(engine: sa.Engine) -> None:
    """Eight GPUs, each away for twenty minutes: each catches up in one report, and no domain has more than its hour."""
    booker = Booker(engine)
    fates: Counter[BookingResult] = Counter()
    for minute in range(60):
        start = HOUR + 60 * minute
        away = [gpu for gpu in range(8) if 4 * gpu <= minute < 4 * gpu + 20]
        late = [gpu for gpu in range(8) if minute == 4 * gpu + 20]
        ms = {"cpu": 60_000} | {f"gpu:{gpu}": 60_000 for gpu in range(8) if gpu not in away}
        ms |= {f"gpu:{gpu}": 21 * 60_000 for gpu in late}
        domains = tuple(
            DomainUse(name, "nvml", "board", span, 300 * span, 300 * span, 0, 0) for name, span in ms.items()
        )
        report = a_report(start, pods={}, since=start - 20 * 60 if late else -1)
        fates.update(book(booker, replace(report, domains=domains)))
        if minute == 30:  # another server goes on: what was taken is read from the ledger
            booker = Booker(engine)
    assert fates == {BookingResult.STORED: 60}


def test_the_slices_of_a_cut_hour_count_together(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.cut), [{"at": HOUR + 61}])
    booker = Booker(engine)
    first = book(booker, *(drawing(WATTS, HOUR + 60 * (i % 2) * 20, part=i) for i in range(62)))
    assert set(first) == {BookingResult.STORED}
    assert len(hours(engine)) == 1
    assert book(booker, drawing(WATTS, part=62)) == [BookingResult.IMPOSSIBLE]
    assert book(Booker(engine), drawing(WATTS, part=62)) == [BookingResult.IMPOSSIBLE]


def test_what_was_rolled_back_takes_no_room(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    booker = Booker(engine)
    full = [drawing(WATTS, part=part) for part in range(62)]
    with monkeypatch.context() as patch:
        patch.setattr(Booker, "touch", _fail)
        with pytest.raises(RuntimeError, match="away"):
            book(booker, *full)
    assert book(booker, drawing(WATTS, part=70)) == [BookingResult.STORED]


def _fail(*_: object) -> None:
    raise RuntimeError("the database is away")


def test_memory_holds_a_few_hours_of_each_node_whatever_gaps_it_reports(engine: sa.Engine) -> None:
    booker = Booker(engine)
    for i in range(3):
        book(booker, drawing(10, HOUR + 3600 * 800, since=HOUR + 3600 * i, part=i))
    assert sum(map(len, booker._bounds._hours.values())) <= 3


def test_pods_have_no_time_that_no_meter_had(engine: sa.Engine) -> None:
    """Gaps over the same hours, whose meters were there for a moment and whose pods all the time: each would count, and
    forty such sums are more than 64 bits, which SQLite keeps as a float.
    """
    booker = Booker(engine, max_node_watts=WATTS)
    fates: Counter[BookingResult] = Counter()
    for part in range(45):
        report = a_report(HOUR + 3600 * 300 + 60 * part, since=HOUR, part=part)
        domain = replace(report.domains[0], duration_ms=1)
        pod = replace(report.pods[0], requests=PodRequests(8_192_000, 2**46, 4_096))
        fates.update(book(booker, replace(report, domains=(domain,), pods=(pod,))))
    assert fates == {BookingResult.STORED: 2, BookingResult.IMPOSSIBLE: 43}
    with engine.connect() as connection:
        for table in (schema.node_fact, schema.pod_fact, schema.pod_energy):
            for row in connection.execute(sa.select(*(c for c in table.columns if not c.primary_key))):
                assert all(type(value) is int and 0 <= value < 2**62 for value in row)


def test_upper_ends_of_models_fill_an_hour_once_too(engine: sa.Engine) -> None:
    booker = Booker(engine, max_node_watts=WATTS)
    domain = replace(drawing(100).domains[0], method="model", low_uj=0, high_uj=2**46)
    reports = [replace(drawing(100, HOUR + 60 * i), domains=(domain,)) for i in range(10)]
    assert Counter(book(booker, *reports)) == {BookingResult.STORED: 2, BookingResult.IMPOSSIBLE: 8}
    assert book(Booker(engine, max_node_watts=WATTS), reports[5]) == [BookingResult.IMPOSSIBLE]  # read back, it counts
