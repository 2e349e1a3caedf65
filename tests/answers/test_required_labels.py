"""Energy of pods without required labels, and the change since the period before, in reports and metrics."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book
from tests.server.server_face import a_face
from typer.testing import CliRunner

from carbonbudget_operator.answers.period_change import period_change
from carbonbudget_operator.answers.report_comparison import restatement
from carbonbudget_operator.answers.required_labels import MOST_VALUES, RequiredLabels, percent_text
from carbonbudget_operator.answers.time_ranges import TimeRangeError, parse_time_range, time_range_before
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow
from carbonbudget_operator.server.emission_metrics import EmissionMetrics

JUNE, JULY = 1_748_736_000, 1_751_328_000  # 2025, the first days
HOSTILE = "=a</td><script>"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command over a ledger of two months: team a doubles, b ends, c begins, one pod has no team."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    for month, teams in ((JUNE, {"a": 10, "b": 5}), (JULY, {"a": 20, "c": 6, "": 4})):
        for number, (team, megajoules) in enumerate(teams.items()):
            labels = {"team": team, "project": "x"} if team else {"project": HOSTILE}
            pods = {f"p{month}{number}": megajoules * 10**12}
            book(
                Booker(engine),
                a_report(month + 3600 * number, f"n{number}", pods, labels=labels, namespace=f"ns-{team or 'd'}"),
            )
    engine.dispose()
    config = tmp_path / "settings.yaml"
    config.write_text("carbon: {zone: DE, pue: 1.25}\nreports: {required_labels: [team, project]}\n")
    monkeypatch.setattr("time.time", lambda: JULY + 40 * 86_400.0)

    def made(*args: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*args, "--ledger", url, "--config", str(config)])
        assert done.exit_code == code, done.output
        return done.stdout

    return made


def test_the_share_without_the_labels_is_of_the_pods_energy(run: Run) -> None:
    report = json.loads(run("report", "--period", "2025-07", "-o", "json"))
    labels = report["labels"]
    assert labels["unlabelled_energy_percent_by_label"] == {"team": "13.33", "project": "0.00"}
    assert labels["unlabelled_energy_percent"] == "13.33"
    for key in labels["required"]:
        assert sum(row["energy_uj"] for row in labels["values"][key]) == labels["pods_energy_uj"]
    text = run("report", "--period", "2025-07")
    assert "without all of the required labels team, project: 13.33 % of the pods' energy" in text
    rows = list(csv.DictReader(io.StringIO(run("report", "--period", "2025-07", "-o", "csv"))))
    shares = {(row["kind"], row["name"]): row["unlabelled_energy_percent"] for row in rows}
    assert shares["total", "total"] == shares["label:team", "__unlabelled__"] == "13.33"


def test_the_change_is_absolute_and_in_percent_also_of_what_began_or_ended(run: Run) -> None:
    change = json.loads(run("report", "--period", "2025-07", "--compare", "-o", "json"))["change"]
    assert (change["from"], change["to"], change["over"]) == (JUNE, JULY, True)
    teams = change["labels"]["team"]
    assert list(teams) == ["a", "c", "__unlabelled__", "b"]
    assert abs(Decimal(teams["a"]["energy_kwh_change_percent"]) - 100) <= 1
    assert teams["b"]["energy_kwh_change_percent"] == "-100.0"
    assert teams["b"]["location_g_change"] == f"-{teams['b']['location_g_before']}"
    assert teams["c"]["location_g_change_percent"] is None
    text = run("report", "--period", "2025-07", "--compare")
    assert "change since the period before, 2025-06-01 00:00 UTC to 2025-07-01 00:00 UTC" in text
    assert "team=c: +" in text
    assert "(nothing before)" in text
    rows = {
        (row["kind"], row["name"]): row
        for row in csv.DictReader(io.StringIO(run("report", "--period", "2025-07", "--compare", "-o", "csv")))
    }
    assert rows["label:team", "b"]["location_g_change_percent"] == "-100.0"
    assert rows["total", "total"]["location_g_change"] == change["total"]["location_g_change"]


def test_a_period_before_without_data_is_reported_as_such(run: Run) -> None:
    change = json.loads(run("report", "--period", "2025-06", "--compare", "-o", "json"))["change"]
    assert change["has_data"] is False
    assert "total" not in change
    assert "has no data: there is nothing to compare with" in run("report", "--period", "2025-06", "--compare")


def test_a_closed_report_has_the_labels_and_no_change_and_is_reproduced(run: Run, tmp_path: Path) -> None:
    run("report", "close", "2025-07", "--incomplete")
    run("report", "export", "2025-07", str(tmp_path / "closed.json"))
    closed = json.loads((tmp_path / "closed.json").read_text())
    assert closed["labels"]["unlabelled_energy_percent"] == "13.33"
    assert "change" not in closed
    again = json.loads(run("report", "--period", "2025-07", "--compare", "-o", "json"))
    assert again["closed"]["restatement"] == []


def test_a_report_that_an_earlier_version_closed_does_not_differ_by_labels_and_zones(run: Run) -> None:
    now = json.loads(run("report", "--period", "2025-07", "-o", "json"))
    former = {key: value for key, value in now.items() if key != "labels"}
    former["location_factors"] = {
        name: {key: value for key, value in one.items() if key != "zone"}
        for name, one in now["location_factors"].items()
    }
    assert restatement(former, now) == []


def test_the_energy_of_each_zone_and_hour_adds_up_to_the_report(run: Run, tmp_path: Path) -> None:
    report = json.loads(run("report", "--period", "2025-07", "-o", "json"))
    run("report", "close", "2025-07", "--incomplete")
    for number, args in enumerate((("report", "--period", "2025-07"), ("report", "show", "2025-07"))):
        file = tmp_path / f"{number}.csv"
        run(*args, "--hourly-zones", str(file))
        with file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["hour"] for row in rows] == [f"2025-07-01T0{hour}:00Z" for hour in range(3)]
        assert {row["zone"] for row in rows} == {"DE"}
        assert sum(int(row["it_energy_uj"]) for row in rows) == report["total"]["it_energy_uj"]
        assert sum(Decimal(row["location_g"]) for row in rows) == Decimal(report["total"]["location_g"])
        for row in rows:
            assert abs(Decimal(row["facility_energy_kwh"]) - Decimal(row["it_energy_kwh"]) * Decimal("1.25")) < Decimal(
                "1e-11"
            )


@pytest.mark.parametrize(
    ("period", "before"),
    [("2026", "2025"), ("2026-Q1", "2025-Q4"), ("2026-Q3", "2026-Q2"), ("2026-01", "2025-12"), ("2024-03", "2024-02"),
     ("2026-W01", "2025-W52"), ("2021-W01", "2020-W53"), ("2024-03-01", "2024-02-29")],
)  # fmt: skip
def test_the_period_before_is_of_the_same_kind(period: str, before: str) -> None:
    assert time_range_before(period) == parse_time_range(before)


def test_there_is_no_period_before_1970() -> None:
    with pytest.raises(TimeRangeError, match="before 1970"):
        time_range_before("1970")


def a_row(labels: dict[str, str], energy_uj: int, namespace: str = "n") -> ValuedRow:
    figures = [0] * COLUMNS
    figures[0], figures[4] = energy_uj, energy_uj * 3
    return ValuedRow(0, 3600, "", "2", namespace, "Job/j", labels, figures, frozenset())


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["team", "project", "z"]), st.text(max_size=3)), st.integers(0, 2**60)
        )
    )
)
def test_the_values_of_each_label_add_up_to_the_energy_of_all_pods(pods: list[tuple[dict[str, str], int]]) -> None:
    sums = RequiredLabels(["team", "project"])
    for labels, energy_uj in pods:
        sums.add(a_row(labels, energy_uj))
    sums.add(a_row({}, 7, "__idle__"))
    found = sums.to_json()
    assert found["pods_energy_uj"] == sum(uj for _, uj in pods)
    for key in sums.keys:
        assert sum(row["energy_uj"] for row in found["values"][key]) == found["pods_energy_uj"]  # type: ignore[index]
    lacking = sum(uj for labels, uj in pods if not {"team", "project"} <= labels.keys())
    assert found["unlabelled_energy_uj"] == lacking


def test_many_values_are_bounded_and_nothing_is_lost() -> None:
    sums = RequiredLabels(["team"])
    for number in range(MOST_VALUES + 50):
        sums.add(a_row({"team": f"t{number}"}, number + 1))
    rows = sums.to_json()["values"]["team"]  # type: ignore[index]
    assert len(rows) == MOST_VALUES + 1
    assert rows[-1]["value"] == "__other__"
    assert sum(row["energy_uj"] for row in rows) == sums.pods_uj


@given(st.integers(0, 2**70), st.integers(1, 2**70))
def test_a_percentage_is_rounded_to_the_nearest_hundredth(part: int, whole: int) -> None:
    assert abs(Decimal(percent_text(part, whole)) * whole - 100 * part) <= Decimal("0.005") * whole * (
        1 + Decimal("1e-9")
    )


def test_a_running_period_is_marked() -> None:
    report = {"total": {}, "namespaces": {}, "from": 1, "to": 2, "coverage_percent": 100}
    assert period_change(report, report, True, False)["over"] is False


def test_values_are_compared_before_the_smallest_are_folded_together() -> None:
    now, before = RequiredLabels(["team"]), RequiredLabels(["team"])
    for number in range(MOST_VALUES + 50):  # the smallest now are the largest before
        now.add(a_row({"team": f"t{number:04d}"}, (number + 1) * 10**10))
        before.add(a_row({"team": f"t{number:04d}"}, (MOST_VALUES + 50 - number) * 10**10))
    ends = {"from": 1, "to": 2, "coverage_percent": 100, "total": {}, "namespaces": {}}
    found: Any = period_change(ends, ends, True, True, (now.all_values(), before.all_values()))
    changes = found["labels"]["team"]
    assert len(changes) == MOST_VALUES + 1
    assert [name for name, one in changes.items() if one["energy_kwh_change_percent"] is None] == []
    for one, sums in (("energy_kwh", now), ("energy_kwh_before", before)):
        total = sum(Decimal(change[one]) for change in changes.values())
        assert abs(total - Decimal(sums.pods_uj) / 3_600_000_000_000) < Decimal("0.001")
    assert {"t0000", f"t{MOST_VALUES + 49:04d}", "__other__"} <= changes.keys()


async def test_the_metric_has_a_series_for_each_required_label_and_one_for_any(tmp_path: Path) -> None:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as face:
        face.clock[0] = HOUR + 7260
        for minute, labels in ((0, {"team": "t", "project": "p"}), (10, {"team": "t"}), (60, {})):
            report = a_report(HOUR + 60 * minute, pods={f"p{minute}": 10**9}, labels=labels)
            assert (await face.report(report)).status_code == 200
        registry = CollectorRegistry()
        metrics = EmissionMetrics(face.pools.book, [], 5, lambda: HOUR + 7200.0, ["team", "project"])
        registry.register(metrics)
        await metrics.step()
        found = {
            sample.labels["label"]: sample.value for metric in registry.collect() for sample in metric.samples
            if sample.name == "carbonbudget_unlabelled_energy_ratio"
        }  # fmt: skip
        assert found.keys() == {"__any__", "team", "project"}
        assert found["team"] == 0
        assert found["project"] == found["__any__"] == pytest.approx(0.5, abs=1e-3)
