"""`carbonbudget export`: the files are those that other tools read, and add up to `allocate`."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line
from tests.databases import make_tables
from tests.ledger.reports import a_report, book
from tests.prometheus import tool
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger

JULY = 1_751_328_000  # 2025
DAY = 86_400
FORMATS = ("csv", "focus", "influx", "openmetrics", "codecarbon", "impact-framework")
JULY_1_TO_4 = ("--from", "2025-07-01", "--to", "2025-07-04")
Run = Callable[..., str]
# What focus-validator 1.0.0 reports of every file of FOCUS 1.0: it asks for columns by their names of 1.0-preview.
VALIDATORS_OWN = {
    "InvoiceIssuer_Required", "Provider_Required", "Publisher_Required", "ResourceID_Required", "SkuPriceId_Nullable",
}  # fmt: skip
# A copy of the Impact Framework: npm install @grnsft/if@1.1.0
IF_RUN = os.environ.get("IF_RUN") or shutil.which("if-run")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    for day in range(3):
        for number, namespace in enumerate(("team-a", "team-b")):
            at = JULY + day * DAY + 3600 * (5 * number + 2)
            labels = {"team": f'=cmd|"{number}",x'} if number else {"team": "a b"}
            pods = {f"p{number}": 10**11 * (day + 1) + 7 * number + 1}
            book(
                Booker(engine), a_report(at, f"n{number}", pods, labels=labels, namespace=namespace, idle_uj=10**9 + 1)
            )
    engine.dispose()
    config = tmp_path / "settings.yaml"
    config.write_text("cluster: default\ncarbon: {zone: DE, pue: 1.3}\n")
    monkeypatch.setattr("time.time", lambda: JULY + 10 * DAY + 4321.0)

    def made(*args: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*args, "--ledger", url, "--config", str(config)])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done.stdout if code == 0 else done.output

    return made


def total(run: Run, *span: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(run("allocate", *span, "-o", "json"))["total"]
    return found


@given(
    first=st.integers(0, 70 * 3600), seconds=st.integers(1, 80 * 3600),
    step=st.sampled_from(["hour", "day", "week", "month", "all"]),
    by=st.sampled_from(["namespace", "namespace,workload", "label:team", "workload,node,label:team"]),
)  # fmt: skip
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_rows_of_any_span_step_and_grouping_add_up_to_the_allocation(
    run: Run, first: int, seconds: int, step: str, by: str
) -> None:
    span = tuple(
        word for option, at in (("--from", JULY + first), ("--to", JULY + first + seconds))
        for word in (option, instant_of(at))
    )  # fmt: skip
    rows = csv.DictReader(io.StringIO(run("export", "--format", "csv", *span, "--by", by, "--step", step)))
    sums = dict.fromkeys(("energy_uj", "location_ug", "market_ug", "embodied_ug"), 0)
    for row in rows:
        for figure in sums:
            sums[figure] += int(row[figure])
    wanted = total(run, *span)
    assert sums == {figure: wanted[figure] for figure in sums}


def instant_of(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()


def test_each_format_has_the_same_grams(run: Run) -> None:
    wanted = Decimal(total(run, *JULY_1_TO_4)["location_ug"])
    text = {form: run("export", "--format", form, *JULY_1_TO_4, "--by", "namespace,label:team") for form in FORMATS}
    focus = list(csv.DictReader(io.StringIO(text["focus"])))
    assert sum(Decimal(row["x_CarbonLocationBasedGrams"]) for row in focus) * 10**6 == wanted
    points = [parse_line(line) for line in text["influx"].splitlines()]
    of_location = [point for point in points if point["tags"].get("accounting") == "LocationBased"]
    assert sum(point["fields"]["micrograms"] for point in of_location) == wanted
    assert {point["tags"]["cluster"] for point in points} == {"default"}
    exposed = re.findall(r'accounting="LocationBased".*\} ([\d.]+) \d+$', text["openmetrics"], re.MULTILINE)
    assert sum(map(Decimal, exposed)) * 10**6 == wanted
    runs = list(csv.DictReader(io.StringIO(text["codecarbon"])))
    assert sum(Decimal(row["emissions"]) for row in runs) * 10**9 == wanted
    tree = json.loads(text["impact-framework"], parse_float=Decimal)["tree"]["children"]
    inputs = [one for child in tree.values() for one in child["inputs"]]
    assert sum(Decimal(one["carbon-operational"]) for one in inputs) * 10**6 == wanted
    assert yaml.safe_load(text["impact-framework"])["tree"]["children"].keys() == tree.keys()


def test_focus_passes_the_validator_but_for_its_own_faults(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "focus.csv"
    run(
        "export", "--format", "focus", *JULY_1_TO_4, "--by", "namespace,workload,label:team", "--output-file", str(file)
    )
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [Path(sys.executable).with_name("focus-validator"), "--validate-version", "1.0", "--data-file", file],
        cwd=packages, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "passed" in said.lower() or "Errors encountered" in said, said
    assert set(re.findall(r"^(\w+) failed:", said, re.MULTILINE)) == VALIDATORS_OWN, said


def test_codecarbons_file_is_imported_by_our_own_importer(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    run("export", "--format", "codecarbon", *JULY_1_TO_4, "--by", "namespace", "--output-file", str(file))
    run("external", "import", "--format", "codecarbon", "--time-zone", "UTC", str(file))
    report = json.loads(run("report", *JULY_1_TO_4, "-o", "json"))
    (external,) = report["external"]
    assert external["emissions_ug"] == total(run, *JULY_1_TO_4)["location_ug"]
    assert external["figures"] == len(file.read_text().splitlines()) - 1


def test_promtool_makes_blocks_of_the_openmetrics_file(run: Run, tmp_path: Path) -> None:
    promtool, data, file = tool("promtool"), tmp_path / "data", tmp_path / "metrics.txt"
    run("export", "--format", "openmetrics", *JULY_1_TO_4, "--by", "namespace,label:team", "--output-file", str(file))
    done = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", file, data],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (data / "wal").mkdir()  # dump looks for it
    dumped = subprocess.run([promtool, "tsdb", "dump", data], capture_output=True, text=True, timeout=120, check=True)
    values = re.findall(r'^\{.*accounting="LocationBased".*\} (\S+) \d+$', dumped.stdout, re.MULTILINE)
    assert sum(map(float, values)) == pytest.approx(total(run, *JULY_1_TO_4)["location_ug"] / 10**6)


@pytest.mark.skipif(IF_RUN is None, reason="needs if-run of npm's @grnsft/if@1.1.0; IF_RUN names it")
def test_the_impact_framework_runs_the_manifest(run: Run, tmp_path: Path) -> None:
    assert IF_RUN is not None
    file = tmp_path / "manifest.yml"
    run("export", "--format", "impact-framework", *JULY_1_TO_4, "--output-file", str(file))
    done = subprocess.run(
        [IF_RUN, "-m", file, "-o", tmp_path / "out.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    (made,) = tmp_path.glob("out.y*ml")
    found = yaml.safe_load(made.read_text())
    assert found["execution"]["status"] == "success", done.stdout
    wanted = total(run, *JULY_1_TO_4)
    carbon = sum(child["aggregated"]["carbon"] for child in found["tree"]["children"].values())
    assert carbon == pytest.approx((wanted["location_ug"] + wanted["embodied_ug"]) / 10**6)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_the_text_of_standard_output_and_replaces_no_other(run: Run, tmp_path: Path, form: str) -> None:
    file = tmp_path / "export"
    run("export", "--format", form, *JULY_1_TO_4, "--output-file", str(file))
    assert file.read_text(encoding="utf-8") == run("export", "--format", form, *JULY_1_TO_4)
    assert "nothing is overwritten" in run("export", "--format", form, *JULY_1_TO_4, "--output-file", str(file), code=2)


@pytest.mark.parametrize("output", [True, False])
def test_an_export_that_fails_half_way_writes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: bool
) -> None:
    from carbonbudget_operator.cli import answers_from_ledger
    from carbonbudget_operator.cli.answer_source import AnswerSourceError, JsonObject

    asked: list[tuple[int, int]] = []
    real = answers_from_ledger.LedgerSource.allocation

    def fails(self: answers_from_ledger.LedgerSource, span: tuple[int, int], *more: str) -> JsonObject:
        asked.append(span)
        if len(asked) == 3:
            raise AnswerSourceError("the ledger is gone")
        return real(self, span, *more)

    monkeypatch.setattr(answers_from_ledger.LedgerSource, "allocation", fails)
    file = tmp_path / "export.csv"
    said = run("export", "--format", "csv", *JULY_1_TO_4, *(("--output-file", str(file)) if output else ()), code=1)
    assert len(asked) == 3
    assert said.strip() == "the ledger is gone"
    assert sorted(path.name for path in tmp_path.iterdir() if "export" in path.name) == []


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "write either --window, or both --from and --to"),
        (
            ("--window", "7d", "--from", "2025-07-01", "--to", "2025-07-02"),
            "write either --window, or both --from and --to",
        ),
        (("--window", "soon"), "no window"),
        (("--from", "2025-01-01", "--to", "2025-07-01", "--step", "hour"), "at most 35 days"),
        (("--window", "7d", "--by", "pod"), "cannot group by 'pod'"),
        (("--window", "7d", "--currency", "euro"), "three capitals"),
    ],
)
def test_options_that_cannot_be_right_end_with_one_line_and_exit_code_2(
    run: Run, args: tuple[str, ...], sentence: str
) -> None:
    said = run("export", "--format", "csv", *args, code=2)
    assert sentence in said
    assert len(said.strip().splitlines()) == 1


def test_labels_with_one_name_in_a_format_are_an_error_and_not_a_wrong_sum(run: Run) -> None:
    said = run("export", "--format", "influx", "--window", "7d", "--by", "label:a.b,label:a-b", code=1)
    assert "have one name in this format" in said


def test_a_window_ends_with_the_running_hour_and_covers_it_whole(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv", "--window", "9d", "--step", "all"))))
    assert rows[0]["start"] == "2025-07-02T01:00:00Z"
    assert rows[0]["end"] == "2025-07-11T02:00:00Z"
