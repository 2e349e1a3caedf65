"""Several names of one RAPL counter count once; counters that are distinct count each, from the first reading on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.test_meters import found, powercap

from carbonbudget_agent.metering import Metering
from carbonbudget_agent.meters import CounterReading
from carbonbudget_agent.meters.rapl import detect_rapl
from carbonbudget_agent.meters.rapl_mirrors import Mirrors
from carbonbudget_agent.work_counters import WorkCounters

DIES = {"intel-rapl:0": "package-0-die-0", "intel-rapl:1": "package-0-die-1"}
KEYS = ("cpu/package-0-die-0", "cpu/package-0-die-1")
RANGE = 65_532_610_987
J = 1_000_000


class Node:
    """A node with these zones, looked at every five seconds."""

    def __init__(self, root: Path, names: dict[str, str]) -> None:
        self.root, self.names, self.now_ms, self.stamps = root, names, 0, dict[str, CounterReading]()
        self.metering: Metering | None = None

    def look(self, *values_uj: int) -> dict[str, int]:
        """Energy by domain since the last look."""
        powercap(self.root, {path: (name, uj) for (path, name), uj in zip(self.names.items(), values_uj, strict=True)})
        if self.metering is None:
            self.metering = Metering([found(detect_rapl(self.root).meter)], WorkCounters())
        self.now_ms += 5_000
        before, self.stamps = self.stamps, self.metering.read(self.now_ms, 0, self.stamps)
        return {d.name: d.energy_uj for d in self.metering.energies(before, self.stamps, 5_000)}

    def restart(self) -> None:
        """A new agent goes on from the same stamps."""
        self.metering = None


@pytest.mark.parametrize("names", [DIES, {"intel-rapl:0": "package-0", "intel-rapl:1": "package-0"}])
def test_one_counter_under_two_names_counts_once_from_the_first_reading_on(
    tmp_path: Path, names: dict[str, str]
) -> None:
    node = Node(tmp_path, names)
    node.look(1_000 * J, 1_000 * J + 120)
    assert node.look(1_680 * J, 1_680 * J + 210) == {"cpu": 680 * J}
    for step in range(1, 6):
        assert node.look((1_680 + 100 * step) * J, (1_680 + 100 * step) * J + 7) == {"cpu": 100 * J}
    node.restart()
    assert node.look(2_280 * J, 2_280 * J) == {"cpu": 100 * J}
    assert node.look(2_380 * J, 2_380 * J) == {"cpu": 100 * J}


def test_counters_of_two_dies_count_each_from_the_first_reading_on(tmp_path: Path) -> None:
    node = Node(tmp_path, DIES)
    node.look(5_000 * J, 9_000 * J)
    assert node.look(5_100 * J, 9_100 * J) == {"cpu": 200 * J}  # the same draw, and still two counters
    node.restart()
    assert node.look(5_200 * J, 9_150 * J) == {"cpu": 150 * J}


def test_two_dies_that_both_start_from_zero_lose_and_double_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path, DIES)
    node.look(0, 0)
    assert node.look(0, 0) == {"cpu": 0}
    booked = [node.look(50 * J, 51 * J)["cpu"]]  # too near each other to tell yet: one counts
    booked += [node.look(100 * J, 104 * J)["cpu"], node.look(150 * J, 158 * J)["cpu"]]
    assert booked == [50 * J, 50 * J + 53 * J + 51 * J, 104 * J]
    assert sum(booked) == 150 * J + 158 * J


def test_two_sockets_are_never_taken_for_one_however_alike_they_are(tmp_path: Path) -> None:
    node = Node(tmp_path, {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1"})
    node.look(0, 0)
    for step in range(1, 9):
        assert node.look(step * 400 * J, step * 400 * J) == {"cpu": 800 * J}


def test_the_memory_of_a_package_with_two_names_counts_once_too(tmp_path: Path) -> None:
    zones = {**DIES, "intel-rapl:0/intel-rapl:0:0": "dram", "intel-rapl:1/intel-rapl:1:0": "dram"}
    node = Node(tmp_path, zones)
    node.look(1_000 * J, 1_000 * J, 70 * J, 70 * J)
    assert node.look(1_500 * J, 1_500 * J, 170 * J, 170 * J) == {"cpu": 500 * J, "dram": 100 * J}


def test_a_stall_between_two_reads_of_one_counter_does_not_make_it_two() -> None:
    """A saturated node: the second name is read 100 ms after the first, 40 J later."""
    mirrors = mirrors_of(KEYS)
    for step in range(20):
        first_uj = (step * 700) * J % RANGE
        mirrors.look({KEYS[0]: first_uj, KEYS[1]: first_uj + 40 * J}, {KEYS[0]: first_uj + 41 * J, KEYS[1]: 0})
    assert [mirrors.counts(key) for key in KEYS] == [True, False]
    assert mirrors.released_uj == {}


def test_counters_that_were_alike_for_long_and_part_later_count_each_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mirrors = mirrors_of(KEYS)
    for step in range(9):
        look(mirrors, step * 500 * J, step * 500 * J)
    look(mirrors, 5_000 * J, 5_100 * J)
    assert mirrors.counts(KEYS[1])
    assert "are two counters after all" in caplog.text


def mirrors_of(keys: tuple[str, ...]) -> Mirrors:
    mirrors = Mirrors()
    mirrors.suspect(keys, dict.fromkeys(keys, RANGE))
    return mirrors


def look(mirrors: Mirrors, *values_uj: int) -> None:
    values = {f"cpu/package-0-die-{die}": uj % RANGE for die, uj in enumerate(values_uj)}
    mirrors.look(values, values)


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=4),
    st.integers(0, RANGE - 1),
    st.lists(st.lists(st.integers(0, 3_000), min_size=3, max_size=3), min_size=1, max_size=25),
)
def test_whatever_counters_stand_behind_the_names_each_counts_once(
    names: list[int], start_uj: int, looks: list[list[int]]
) -> None:
    """Each name shows one of three counters, which start alike, are 1 J apart at the second look and part then."""
    keys = tuple(f"cpu/package-0-die-{die}" for die in range(len(names)))
    mirrors = mirrors_of(keys)
    drawn_uj, booked_uj = [0, 0, 0], 0
    before = [start_uj] * len(names)
    released_uj = 0
    look(mirrors, *before)
    for step, watts in enumerate(looks):
        joules = (
            [watts[0] + n for n in range(3)]
            if step == 0
            else [watts[0] + 5 * n for n in range(3)]
            if step == 1
            else watts
        )
        drawn_uj = [drawn + more * J for drawn, more in zip(drawn_uj, joules, strict=True)]
        now = [start_uj + drawn_uj[name] for name in names]
        look(mirrors, *now)
        booked_uj += sum(
            after - former for key, former, after in zip(keys, before, now, strict=True) if mirrors.counts(key)
        )
        booked_uj += mirrors.released_uj.get("cpu", 0) - released_uj
        before, released_uj = now, mirrors.released_uj.get("cpu", 0)
    if len(looks) > 1:
        assert booked_uj == sum(drawn_uj[name] for name in set(names))
