"""Numbers of factors: the grams of a report are recomputed from its own text."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.ledger.reports import a_report, book
from typer.testing import CliRunner

from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.intensity_store import store_intensities
from carbonbudget_operator.ledger.stored_units import MONTHS
from carbonbudget_operator.settings import load_settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_751_328_000  # 2025-07-01
HOUR = 3600
UJ_PER_KWH = 3_600_000_000_000
SETTINGS = """\
carbon:
  zone: DE
  pue: 1.2
  intensity:
    max_age_hours: 1
    sources:
      - {type: electricityMaps, name: network, key_file: /none, both_bases: true}
      - {type: static, name: ministry, figures: {DE: 363.125}, basis: lifecycle, source: table 4, year: 2025}
"""


def wrong_by(found: dict[str, Any], per_kwh: str, micrograms: int, values: int) -> bool:
    """Whether energy x PUE x intensity is further from micrograms than its products were rounded."""
    exact = Fraction(found["it_energy_uj"]) * Fraction(found["pue"]) * Fraction(per_kwh) * 10**6 / UJ_PER_KWH
    return abs(exact - micrograms) > Fraction(values, 2)


@pytest.fixture
def made(
    url: str, open_engine: Callable[[str], sa.Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """A day of three nodes and the command over it: a network source has the first six hours, a ministry all."""
    engine = open_engine(url)
    for hour in range(9):
        at = DAY + hour * HOUR
        book(
            Booker(engine),
            *(
                a_report(at, f"n{n}", {"p": 7_123_456_789 * (n + 1) + hour * 10**9 + n}, idle_uj=10**9)
                for n in range(3)
            ),
        )
    for basis, less in (("lifecycle", 0), ("direct", 90_001)):
        figures = {DAY + i * HOUR: (300_017 + 13_003 * i * i - less, False) for i in range(6)}
        store_intensities(engine, "network", "DE", basis, figures, DAY, 1)
    config = tmp_path / "settings.yaml"
    config.write_text(SETTINGS)
    monkeypatch.setattr("time.time", lambda: DAY + 40 * 86_400.0)

    def run(*args: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*args, "--ledger", url, "--config", str(config)])
        assert done.exit_code == code, done.output
        return done.stdout

    return run


def test_the_grams_are_recomputed_from_the_numbers_of_the_closed_reports_text(
    made: Callable[..., str], tmp_path: Path
) -> None:
    made("report", "close", "2025-07-01", "--incomplete")
    made("report", "export", "2025-07-01", str(tmp_path / "closed.json"))
    report = json.loads((tmp_path / "closed.json").read_text())
    factors, total = report["location_factors"], report["total"]
    assert set(factors) < set(report["factors"])
    assert len(factors) == 2
    assert sum(one["location_ug"] for one in factors.values()) == total["location_ug"]
    assert sum(one["it_energy_uj"] for one in factors.values()) == total["it_energy_uj"]
    direct_ug = Fraction()
    for one in factors.values():
        for mg, other_mg, uj, ug in one["hours"].values():
            assert abs(Fraction(uj) * Fraction(one["pue"]) * 1000 * mg / UJ_PER_KWH - ug) <= Fraction(3, 2)
            direct_ug += 0 if other_mg is None else Fraction(uj) * Fraction(one["pue"]) * 1000 * other_mg / UJ_PER_KWH
        assert not wrong_by(one, str(Fraction(int(one["uj_times_mg_per_kwh"]), one["it_energy_uj"] * 1000)),
                            one["location_ug"], one["values"])  # fmt: skip
        assert not wrong_by(one, one["g_per_kwh"], one["location_ug"], one["values"] + 1)
        assert sum(figures[3] for figures in one["hours"].values()) == one["location_ug"]
        text = json.dumps(one["hours"], sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == one["sha256"]
    assert abs(direct_ug - total["direct_ug"]) <= Fraction(18, 2)
    (stated,) = [one for name, one in factors.items() if "ministry" in name]
    assert stated["g_per_kwh"] == "363.125"


def test_the_printed_lines_alone_give_the_printed_grams(made: Callable[..., str]) -> None:
    said = made("report", "--period", "2025-07-01")
    lines = re.findall(r"^  ([\d,]+) uJ x PUE ([\d.]+) x ([\d.]+) g/kWh.* = ([\d,]+) ug", said, re.MULTILINE)
    assert len(lines) == 2
    grams = Fraction()
    for energy, pue, intensity, printed_ug in lines:
        ug = Fraction(energy.replace(",", "")) * Fraction(pue) * Fraction(intensity) * 10**6 / UJ_PER_KWH
        assert abs(ug - int(printed_ug.replace(",", ""))) < 15
        grams += ug / 10**6
    (total,) = re.findall(r"^ *total +[\d.]+ +[\d.]+ +([\d.]+) ", said, re.MULTILINE)
    assert f"{float(grams):.4f}" == total


def test_the_hourly_numbers_are_written_as_csv(made: Callable[..., str], tmp_path: Path) -> None:
    report = json.loads(made("report", "--period", "2025-07-01", "-o", "json"))
    made("report", "close", "2025-07-01", "--incomplete")
    for number, args in enumerate((("report", "--period", "2025-07-01"), ("report", "show", "2025-07-01"))):
        file = tmp_path / f"{number}.csv"
        made(*args, "--hourly-factors", str(file))
        with file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 9
        assert rows[0]["hour"] == "2025-07-01T00:00Z"
        assert (rows[0]["g_per_kwh"], rows[0]["other_g_per_kwh"]) == ("300.017", "210.016")
        assert sum(int(row["location_ug"]) for row in rows) == report["total"]["location_ug"]
        product = sum(
            Decimal(row["it_energy_uj"]) * Decimal(row["pue"]) * Decimal(row["g_per_kwh"]) / UJ_PER_KWH for row in rows
        )
        assert abs(product - Decimal(report["total"]["location_g"])) < Decimal("0.000014")


def test_a_report_of_kept_days_has_the_numbers_of_one_made_of_facts(
    made: Callable[..., str], url: str, open_engine: Callable[[str], sa.Engine], tmp_path: Path
) -> None:
    before = json.loads(made("report", "--period", "2025-07", "-o", "json"))
    engine, settings = open_engine(url), load_settings(tmp_path / "settings.yaml", {})
    book_ = ValuedReader(engine, settings)
    deriver = UpkeepSteps(book_, 35, 25)
    while deriver.step(DAY + 40 * 86_400) is not None:
        pass
    with engine.connect() as connection:
        assert MONTHS in set(connection.scalars(sa.select(schema.valued_unit.c.level)))
    reporter = EmissionsReporter(engine, settings)
    list(reporter.run(DAY, DAY + 31 * 86_400, DAY + 40 * 86_400))
    assert reporter.result()["location_factors"] == before["location_factors"]
    with engine.begin() as connection:  # as an earlier version kept them
        connection.execute(sa.update(schema.valued_unit).values(applied=None))
    said = made("report", "--period", "2025-07")
    assert "uJ are of hours that an earlier version valued: the numbers of their factors are not stored" in said
