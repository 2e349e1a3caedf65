"""`carbonbudget when`: the start that it names, what it compares it with, and what it assumes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from tests.cli.api_server import Asked, Said, api_server
from tests.conftest import ROOT
from tests.enforcement.deferred_worlds import terms
from tests.examples.readme import shown_commands
from typer.testing import CliRunner, Result

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.enforcement.deferral_actions import (
    ChooseStart,
)
from carbonbudget_operator.enforcement.deferral_decisions import decide_deferrals
from carbonbudget_operator.enforcement.job_fields import parse_job

HOUR = 3600
NOW = 1_796_084_000
T0 = NOW - NOW % HOUR
BY = format_time(T0 + 12 * HOUR)
CLEAN = T0 + 4 * HOUR


def manifest(kind: str = "Job", annotations: dict[str, str] | None = None, **spec: Any) -> str:
    pod = {"containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "2"}}}]}
    job = {"template": {"spec": pod}, **spec}
    body: dict[str, Any] = {
        "apiVersion": "batch/v1", "kind": kind, "metadata": {"name": "train", "annotations": annotations or {}},
        "spec": job if kind == "Job" else {"schedule": "0 * * * *", "jobTemplate": {"spec": job}},
    }  # fmt: skip
    return yaml.safe_dump(body)


ANNOTATED = manifest(annotations={"carbonbudget.dev/expected-duration": "1h"})


class Grid:
    """The server: one hour of the forecast is four times as clean, and a core emits 10 g in an hour of the others."""

    def __init__(self) -> None:
        self.mg = {CLEAN: 100_000}
        self.zones: tuple[str, ...] = ("DE",)
        self.spread_percent = 0
        self.own_until = 0
        """Until then hours to come are the source's own forecast."""
        self.projection: Said = Said({"as_of": NOW, "rates": [rate()], "runs": []})
        self.asked: list[dict[str, list[str]]] = []

    def answer(self, asked: Asked) -> Said:
        if asked.path == "/v1/projection":
            return self.projection
        assert asked.path == "/api/v1/intensity"
        query = parse_qs(asked.query)
        self.asked.append(query)
        start, end = int(query["from"][0]), int(query["to"][0])
        zones = query.get("zone", self.zones)
        rows = [self.row(hour, zone) for hour in range(start - start % HOUR, end, HOUR) for zone in zones]
        return Said({"rows": rows, "zones": list(zones), "next": None})

    def row(self, hour: int, zone: str) -> dict[str, object]:
        mg, is_forecast = self.mg.get(hour, 400_000), hour >= NOW
        some = self.spread_percent and is_forecast
        return {
            "start": format_time(hour), "end": format_time(hour + HOUR), "zone": zone,
            "source": "forecast of maps" if NOW <= hour < self.own_until else "x",
            "basis": "lifecycle", "g_per_kwh": mg / 1000, "mg_per_kwh": mg,
            "low_mg_per_kwh": mg - mg * self.spread_percent // 100 if some else None,
            "high_mg_per_kwh": mg + mg * self.spread_percent // 100 if some else None,
            "kind": "forecast" if is_forecast else "published", "estimated": False, "age_hours": 0, "received": None,
            "applied": not is_forecast,
        }  # fmt: skip


def rate() -> dict[str, object]:
    others = ("core_hour_market_ug", "core_hour_embodied_ug", "gpu_hour_location_ug", "gpu_hour_market_ug")
    rates: dict[str, object] = dict.fromkeys((*others, "gpu_hour_embodied_ug"), 0)
    return rates | {"instance_type": "", "modelled": False, "core_hour_location_ug": 10_000_000}


When = Callable[..., Result]


@pytest.fixture
def grid() -> Grid:
    return Grid()


@pytest.fixture
def when(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[When]:
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    with api_server(grid.answer, tmp_path) as kubeconfig:
        url = yaml.safe_load(kubeconfig.read_text("utf-8"))["clusters"][0]["cluster"]["server"]

        def run(*args: str, text: str = ANNOTATED, by: str = BY) -> Result:
            file = tmp_path / "job.yaml"
            file.write_text(text, encoding="utf-8")
            given = ["when", "-f", str(file), "--finish-by", by, "--server-url", url, *args]
            return CliRunner().invoke(app, given, catch_exceptions=False)

        yield run


def test_the_cleanest_start_is_named_with_its_grams_against_now(when: When) -> None:
    done = when()
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"Job/train: start at {format_time(CLEAN)}, in 3 h 46 min",
        "  expected 5g CO2e, 20g if it starts now: 75 % less",
        "  lasts 1 h (annotation carbonbudget.dev/expected-duration), so it ends at "
        f"{format_time(CLEAN + HOUR)}; latest start {format_time(T0 + 11 * HOUR)}",
    ]
    assert "note: the forecast is of grid zone DE, where the nodes are; --zone names another" in done.stderr
    assert "by its requests, at the rates of the last day, location-based" in done.stderr


def test_it_says_which_part_of_the_forecast_is_the_sources_own(when: When, grid: Grid) -> None:
    assert "note: hours to come are expected by: x\n" in when().stderr
    grid.own_until = T0 + 48 * HOUR
    words = f"forecast of maps until {format_time(T0 + 48 * HOUR)}, then x"
    assert f"note: hours to come are expected by: {words}\n" in when().stderr


def test_json_has_exact_figures_and_each_hours_start(when: When) -> None:
    value = json.loads(when("-o", "json").stdout)
    assert (value["start"], value["percent_less"], value["late"]) == (format_time(CLEAN), 75, False)
    assert (value["expected_ug"], value["expected_now_ug"]) == ("5000000", "20000000")
    assert (value["expected_low_ug"], value["duration_seconds"]) == (None, 3600)
    assert {one["start"]: one["expected_ug"] for one in value["starts"]}[format_time(CLEAN)] == "5000000"
    assert len(value["starts"]) == 12


def test_the_deadline_is_the_jobs_own_where_none_is_given(when: When) -> None:
    marks = {"carbonbudget.dev/expected-duration": "1h", "carbonbudget.dev/finish-by": format_time(T0 + 3 * HOUR)}
    done = when("--table", text=manifest(annotations=marks), by="")
    assert done.stdout.startswith("Job/train: start now; no later start that ends by " + format_time(T0 + 3 * HOUR))
    assert when(by="").stderr.startswith("Job/train states no deadline: give --finish-by")
    done = when(by="", text=manifest(annotations=marks | {"carbonbudget.dev/finish-by": "2026-12-01T08:00"}))
    assert (done.exit_code, "which is no instant with a zone" in done.stderr) == (2, True)


def test_the_range_of_the_forecast_is_shown(when: When, grid: Grid) -> None:
    grid.spread_percent = 20
    assert "expected 5g CO2e (4g to 6g), 20g if it starts now" in when().stdout


def test_the_table_has_a_line_for_each_hour(when: When) -> None:
    lines = when("--table").stdout.splitlines()
    (chosen,) = [line for line in lines if line.endswith("<- chosen")]
    assert chosen.split()[:4] == [format_time(CLEAN), "5g", "-75", "%"]
    assert len(lines) == 3 + 1 + 12


def test_a_deadline_that_is_too_near_means_now(when: When) -> None:
    done = when("--duration", "20h")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Job/train: start now; it lasts 20 h, so it cannot end by {BY}")


def test_where_no_hour_is_cleaner_the_answer_is_now_and_says_why(when: When, grid: Grid) -> None:
    grid.mg = {}
    done = when()
    assert done.stdout.startswith("Job/train: start now; no later start")
    assert "every hour of the forecast has the same intensity" in done.stderr


def test_without_the_right_to_rates_starts_are_compared_in_per_cent(when: When, grid: Grid) -> None:
    grid.projection = Said({"reason": "you may not read all namespaces"}, 403)
    done = when()
    assert "  expected 75 % less CO2e than if it starts now" in done.stdout
    assert "note: grams are not known" in done.stderr
    assert "you may not read all namespaces" in done.stderr


def test_former_runs_give_grams_and_the_duration(when: When, grid: Grid) -> None:
    run = {
        "namespace": "team-a", "workload": "CronJob/train", "pods": 3, "pod_location_ug": 40_000_000,
        "pod_market_ug": 0, "pod_embodied_ug": 0, "pod_seconds": HOUR,
    }  # fmt: skip
    grid.projection = Said({"as_of": NOW, "rates": [rate()], "runs": [run]})
    done = when("-n", "team-a", text=manifest("CronJob"))
    assert done.stdout.startswith("Job of CronJob/train: start at")
    assert "expected 10g CO2e, 40g if it starts now" in done.stdout
    assert "lasts 1 h (the duration of its former runs)" in done.stdout


def test_a_zone_can_be_named_and_several_are_their_mean(when: When, grid: Grid) -> None:
    assert "--zone" not in when("--zone", "FR").stderr
    assert grid.asked[-1]["zone"] == ["FR"]
    grid.zones = ("DE", "FR")
    assert "the mean of grid zones DE, FR" in when().stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (manifest(), "how long it runs is not known: give --duration"),
        (manifest(annotations={"carbonbudget.dev/expected-duration": "soon"}), "is no duration"),
        (ANNOTATED + "---\n" + ANNOTATED, "holds 2 Jobs"),
        (manifest(annotations={"carbonbudget.dev/expected-duration": "0s"}), '"0s" is zero; write e.g. 2h30m'),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "holds no Job"),
        (ANNOTATED + "#" * 2**20, "is larger than 1 MiB: name a manifest of the Job alone"),
    ],
)
def test_a_manifest_without_an_answer_ends_with_2_and_one_sentence(when: When, text: str, sentence: str) -> None:
    done = when(text=text)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_without_any_zone_ends_with_1(when: When, grid: Grid) -> None:
    grid.zones = ()
    done = when()
    assert done.exit_code == 1
    assert (
        done.stderr
        == "the server has no forecast: it knows no grid zone of the nodes yet; --zone names one, for example DE\n"
    )


EXAMPLE = ROOT / "examples" / "28-cleaner-hours"


def test_the_example_prints_what_its_readme_shows(when: When) -> None:
    command = next(c for c in shown_commands(EXAMPLE / "README.md") if c.line.startswith("carbonbudget when"))
    assert command.line.split()[2:4] == ["-f", "examples/28-cleaner-hours/job.yaml"]
    done = when(*command.line.split()[6:], text=(EXAMPLE / "job.yaml").read_text("utf-8"), by=command.line.split()[5])
    assert done.stdout.splitlines() == command.output.splitlines()


def test_the_job_of_the_example_is_deferred() -> None:
    body = yaml.safe_load((EXAMPLE / "job.yaml").read_text("utf-8"))
    body["metadata"] |= {"uid": "u", "generation": 1}
    finish_by = body["metadata"]["annotations"]["carbonbudget.dev/finish-by"]
    assert isinstance(finish_by, str), "YAML would make a time of it, which is no annotation"
    (action,) = decide_deferrals([parse_job(body)], [], {}, terms(NOW)).actions
    assert isinstance(action, ChooseStart)
