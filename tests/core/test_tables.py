"""The bundled tables that agent and operator share are in the installed package, and each row has its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from carbonbudget_core.bundled_tables import accelerator_rows, cpu_power_rows


@pytest.mark.parametrize("read", [cpu_power_rows, accelerator_rows])
def test_every_row_has_a_source_and_its_power_in_whole_milliwatts(
    read: Callable[[], Iterator[dict[str, str]]],
) -> None:
    rows = list(read())
    assert len(rows) > 20
    assert all(row["source"] for row in rows)
    power = [value for row in rows for name, value in row.items() if "_mw" in name and value]
    assert min(map(int, power)) > 0


def test_there_is_a_row_for_a_cpu_that_is_not_known() -> None:
    assert [row["microarchitecture"] for row in cpu_power_rows()].count("default") == 1
