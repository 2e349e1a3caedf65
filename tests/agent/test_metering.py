"""Several meters as one: a unit that fails hinders no other, and loses nothing it can make up for."""

from __future__ import annotations

import logging

import pytest

from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import CounterReading, Counters, DomainEnergy, MeterError, MeterReading
from carbonbudget_agent.work_counters import WorkCounters


class Scripted:
    """A meter of two units that says what it is told."""

    name = "scripted"

    def __init__(self) -> None:
        self.says: dict[str, int | str] = {"one": 0, "two": 0}

    def read(self, busy_us: int) -> MeterReading:
        return MeterReading(
            {unit: {"uj": value} for unit, value in self.says.items() if isinstance(value, int)},
            {unit: value for unit, value in self.says.items() if isinstance(value, str)},
        )

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        if after["uj"] < before["uj"]:
            raise MeterError("it went back")
        return (DomainEnergy(unit, "rapl", "package", elapsed_ms, after["uj"] - before["uj"]),)


class Node:
    """A metering looked at every five seconds."""

    def __init__(self) -> None:
        self.meter, self.counts, self.now_ms = Scripted(), WorkCounters(), 0
        self.metering, self.stamps = Metering([self.meter], self.counts), dict[str, CounterReading]()

    def look(self, **says: int | str) -> dict[str, tuple[int, int]]:
        """Energy and time covered, by domain."""
        self.meter.says = says
        self.now_ms += 5_000
        before, self.stamps = self.stamps, self.metering.read(self.now_ms, 0, self.stamps)
        return {d.name: (d.energy_uj, d.elapsed_ms) for d in self.metering.energies(before, self.stamps)}


def test_what_a_unit_drew_while_it_could_not_be_read_is_booked_when_it_answers_again() -> None:
    node = Node()
    node.look(one=0, two=0)
    assert node.look(one=10, two="gone") == {"one": (10, 5_000)}
    assert node.look(one=20, two="gone") == {"one": (10, 5_000)}
    assert node.look(one=30, two=90) == {"one": (10, 5_000), "two": (90, 15_000)}


def test_a_failure_is_told_once_and_counted_always(caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    with caplog.at_level(logging.INFO):
        for reading in (0, "gone", "gone", 1, "gone"):
            node.look(one=0, two=reading)
    assert node.counts.meter_errors == 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "ERROR"]


def test_a_reading_that_cannot_be_compared_or_be_true_has_no_figure_and_the_next_one_has() -> None:
    node = Node()
    node.look(one=50, two=0)
    assert node.look(one=20, two=100_000_000_001) == {}  # back; 20 kW for 5 s and a bit
    assert node.look(one=25, two=100_000_000_002) == {"one": (5, 5_000), "two": (1, 5_000)}
    assert node.counts.meter_errors == 2


def test_a_unit_that_is_new_counts_from_its_first_reading() -> None:
    node = Node()
    node.look(one=0)
    assert node.look(one=1, two=500) == {"one": (1, 5_000)}
    assert node.look(one=1, two=501) == {"one": (0, 5_000), "two": (1, 5_000)}
