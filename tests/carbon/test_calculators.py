"""Estimates: the formulas give what their authors' tools printed."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from carbonbudget_operator.carbon.accelerators import UnknownAccelerator, find_accelerators
from carbonbudget_operator.carbon.calculators import EstimateInput, green_algorithms, ml_co2
from carbonbudget_operator.cli.main import app

HOUR_MS = 3_600_000


@pytest.mark.parametrize(("hours", "watts", "kg_per_kwh", "kg"), [
    (500, 300, 0.432, 64.8),  # a model card: V100-SXM2-32GB, private infrastructure
    (79, 300, 0.432, 10.24),  # RTX A6000
    (234, 250, 0.37, 21.64),  # A100 PCIe 40GB, GCP us-east1
    (1, 250, 0.432, 0.11),  # P100
])  # fmt: skip
def test_ml_co2_gives_what_papers_and_model_cards_report(hours: int, watts: int, kg_per_kwh: float, kg: float) -> None:
    """Figures that authors copied from the calculator's own page into public repositories."""
    result = ml_co2(EstimateInput(hours * HOUR_MS, gpus=1, gpu_mw=watts * 1000), round(kg_per_kwh * 1e6))
    assert result.emissions_ug / 1e9 == pytest.approx(kg, abs=0.0051)


@pytest.mark.parametrize(("core_mw", "grams"), [(6250, 3.40), (4844, 2.80)])
def test_green_algorithms_gives_what_a_tool_of_its_method_prints(core_mw: int, grams: float) -> None:
    """Nanoseb/gqueue's README: a CPU hour with 4.8 GB at 253.19 g/kWh, PUE 1.67, on two partitions."""
    result = green_algorithms(EstimateInput(HOUR_MS, cores=1, core_mw=core_mw, memory_mb=4800), 1670, 253_190)
    assert result.emissions_ug / 1e6 == pytest.approx(grams, abs=0.005)


def test_usage_and_runs_scale_what_they_should() -> None:
    plan = EstimateInput(HOUR_MS, gpus=2, gpu_mw=100_000, memory_mb=1_000_000, usage_permille=500, runs=3)
    assert green_algorithms(plan, 1000, 0).energy_uj == 3 * HOUR_MS * (100_000 + 372_500)


def test_a_name_that_fits_several_takes_the_most_powerful_and_names_the_others() -> None:
    names = [accelerator.name for accelerator in find_accelerators("a100")]
    assert len(names) > 1
    assert "SXM" in names[0]
    (one,) = find_accelerators("A100 PCIe 40GB")
    assert one.max_mw == 250_000


@pytest.mark.parametrize("name", ["", "A1000000", "a100 hbm9"])
def test_a_name_that_fits_none_is_told_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownAccelerator, match="unknown accelerator"):
        find_accelerators(name)


def test_the_command_says_that_it_estimates_and_by_what() -> None:
    done = CliRunner().invoke(
        app, ["estimate", "--gpu", "A100", "--count", "8", "--hours", "24", "--region", "europe-west4", "-o", "json"]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert [(row["method"], row["estimate"]) for row in found["estimates"]] == [
        ("Green Algorithms", True), ("ML CO2 Impact", True),
    ]  # fmt: skip
    assert found["estimates"][1]["energy_kwh"] == "76.8"
    assert any(note.startswith("grid: NL ") for note in found["notes"])


@pytest.mark.parametrize(
    "args",
    [["--hours", "1"], ["--gpu", "A100", "--hours", "-1"], ["--gpu", "x", "--hours", "1"],
     ["--gpu", "A100", "--hours", "1", "--zone", "XX"], ["--gpu", "A100", "--hours", "1", "--basis", "x"]],
)  # fmt: skip
def test_a_bad_estimate_is_a_usage_error(args: list[str]) -> None:
    done = CliRunner().invoke(app, ["estimate", *args])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


A100 = ["estimate", "--hours", "1", "--gpu", "A100"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--region", "europe-west4", "--zone", "DE"], "write either --region or --zone"),
        (
            ["--region", "europe-wst4"],
            "--region 'europe-wst4' is no cloud region of the bundled table: did you mean",
        ),
        (["--region", "us-east-1"], "--region 'us-east-1' exists at alibaba and aws: --provider says which one"),
        (
            ["--region", "us-east-1", "--provider", "amazon"],
            "--provider 'amazon' is not known: use one of alibaba",
        ),
        (
            ["--region", "europe-west4", "--provider", "aws"],
            "--provider aws has no region 'europe-west4': that is of gcp",
        ),
        (["--provider", "aws"], "--provider needs --region"),
        (["--zone", "Deutschland"], "--zone 'Deutschland' is no zone of the bundled table: --zone takes a grid zone"),
        (
            ["--zone", "DE", "--basis", "direct"],
            "--zone 'DE' has no direct figure in the bundled table: it has a ",
        ),
        (["--zone", "CA-QC"], "--zone 'CA-QC' has no lifecycle figure in the bundled table: give a cloud region there"),
    ],
)
def test_a_place_that_is_none_or_two_is_answered_by_the_commands_own_options(args: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, [*A100, *args])
    assert done.exit_code == 2
    assert done.stderr.startswith(sentence)
    assert "carbon." not in done.stderr


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_worlds_mean_is_named_with_the_option_that_chooses_a_place(form: str) -> None:
    done = CliRunner().invoke(app, [*A100, "-o", form])
    assert done.exit_code == 0
    assert "this is for the world's mean: --region or --zone chooses a place" in done.stdout
    assert "world's mean" in (done.stdout if form == "table" else done.stderr)
    assert "node" not in done.output
    assert "world's mean" not in CliRunner().invoke(app, [*A100, "-o", form, "--zone", "DE"]).output


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_region_without_a_figure_of_that_basis_has_its_other_one_and_that_is_said(form: str) -> None:
    done = CliRunner().invoke(app, [*A100, "--region", "eu-west-2", "--basis", "direct", "-o", form])
    assert done.exit_code == 0
    sentence = "this is by the lifecycle figure: no direct figure is bundled for GB"
    assert sentence in done.stdout
    assert sentence in (done.stdout if form == "table" else done.stderr)
    assert "is in no table" not in done.stdout
    assert "world's mean" not in done.output


def test_a_region_that_several_providers_have_is_that_of_the_provider_named() -> None:
    done = CliRunner().invoke(app, [*A100, "--region", "us-east-1", "--provider", "aws", "-o", "json"])
    assert "cloud region us-east-1" in json.loads(done.stdout)["notes"][0]


def test_no_accelerators_name_says_a_thing_twice() -> None:
    for accelerator in find_accelerators("a100"):
        words = accelerator.name.split()
        assert len(words) == len(set(words)), accelerator.name


def test_an_estimate_as_csv_is_csv() -> None:
    args = ["estimate", "--hours", "1", "--gpu", "A100", "--region", "europe-west4", "-o", "csv"]
    rows = list(csv.DictReader(CliRunner().invoke(app, args).stdout.splitlines()))
    assert [row["method"] for row in rows] == ["Green Algorithms", "ML CO2 Impact"]
    assert all(float(row["location_g"]) > 0 for row in rows)
    assert [(row["zone"], row["basis"], row["pue"]) for row in rows] == [
        ("NL", "lifecycle", "1.07"), ("NL", "lifecycle", "1"),
    ]  # fmt: skip
    assert all("grid: NL " in row["notes"] for row in rows)
