"""`carbonbudget external` and what `carbonbudget report` prints of it, beside a ledger."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from tests.databases import make_tables
from tests.external.given import FILES, LOG, content
from tests.ledger.reports import a_report, book
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.external.file_rows import MAX_BYTES
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger

OCTOBER = 1_759_276_800
FORMATS = {
    "codecarbon": ["codecarbon-2.csv", "codecarbon-3.csv"], "carbontracker": [LOG], "aws": ["aws-v2.csv", "aws-v3.csv"],
    "gcp": ["gcp.csv", "gcp.jsonl"], "azure": ["azure-monthly.json", "azure-monthly.csv"],
}  # fmt: skip


class Command:
    """The command over a ledger on disk."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory}/ledger.db"
        self.engine = open_ledger(self.url)
        make_tables(self.engine)
        book(Booker(self.engine), a_report(OCTOBER, "n", {"p": 3_600_000}))

    def run(self, *args: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*args, "--ledger", self.url])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return re.sub(r"(?m)^settings: .*\n", "", done.output)

    def bring(self, form: str, name: str, *more: str, code: int = 0) -> str:
        return self.run("external", "import", "--format", form, str(FILES / name), *more, code=code)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    made = Command(tmp_path)
    yield made
    made.engine.dispose()


def test_every_format_is_imported_listed_and_shown(command: Command) -> None:
    for form, names in FORMATS.items():
        for name in names:
            assert re.match(rf"{form}/[0-9a-f]{{64}}: \d+ figures?, 2025-", command.bring(form, name))
    listed = command.run("external", "list")
    assert len(listed.splitlines()) == 9
    assert all(name in listed for names in FORMATS.values() for name in names)
    shown = command.run("report", "--period", "2025")
    for words in ("CodeCarbon 2, process", "Carbontracker", "AWS model v3.0.0", "Google model 14", "Azure Monthly"):
        assert words in shown
    assert "measured by others, beside the figures above and in none of them:" in shown


def test_rounded_and_superseded_rows_are_told(command: Command) -> None:
    said = command.bring("codecarbon", "codecarbon-3.csv")
    assert "1 row is an earlier state or an older model of other rows: not imported" in said
    assert "1 figure has digits below 1 ug or 1 uJ: rounded to the nearest, the text is kept" in said


def test_the_option_of_the_time_zone_is_known_by_its_earlier_name_too(command: Command) -> None:
    zone, other = "Mars/Base", ("--time-zone", "UTC")
    said = {
        command.bring("codecarbon", "codecarbon-2.csv", name, zone, code=2) for name in ("--time-zone", "--timezone")
    }
    assert len(said) == 1
    assert "the time zone 'Mars/Base' is not known" in said.pop()
    assert "give one of them" in command.bring("codecarbon", "codecarbon-2.csv", "--timezone", zone, *other, code=2)


def test_a_file_is_imported_once_and_nothing_is_done_twice(command: Command) -> None:
    command.bring("aws", "aws-v3.csv")
    before = command.run("external", "list", "-o", "json")
    assert "this file was imported before" in command.bring("aws", "aws-v3.csv", code=1)
    assert command.run("external", "list", "-o", "json") == before


def test_a_report_is_the_same_but_for_what_is_shown_beside_it(command: Command) -> None:
    reports = []
    for _ in range(2):
        reports.append(json.loads(command.run("report", "--period", "2025-10", "-o", "json")))
        if len(reports) == 1:
            command.bring("aws", "aws-v3.csv")
    external = reports[1].pop("external")
    assert reports[0] == reports[1]
    assert {(row["source"], row["scope"], row["emissions_g"], row["figures"]) for row in external} == {
        ("aws", "1", "2000", 2), ("aws", "2-location", "300000.000001", 2), ("aws", "2-market", "20000", 2),
        ("aws", "3-location", "98000", 2), ("aws", "3-market", "98000", 2),
    }  # fmt: skip


def test_the_table_and_the_csv_of_a_report_keep_them_apart(command: Command) -> None:
    before = command.run("report", "--period", "2025-10")
    command.bring("aws", "aws-v3.csv")
    after = command.run("report", "--period", "2025-10")
    own, _, beside = after.partition("\nmeasured by others")
    assert own.strip() == before.strip()
    assert "300,000.0000" in beside
    lines = list(csv.DictReader(io.StringIO(command.run("report", "--period", "2025-10", "-o", "csv"))))
    external = [line for line in lines if line["kind"] == "external"]
    assert [line["emissions_g"] for line in external] == ["2000", "300000.000001", "20000", "98000", "98000"]
    assert {line["it_energy_kwh"] for line in external} == {""}
    assert external[0]["note"] == "2 figures by AWS model v3.0.0, in no other line"


def test_a_figure_that_only_reaches_into_the_time_is_named_and_in_no_sum(command: Command) -> None:
    command.bring("aws", "aws-v3.csv")
    shown = command.run("report", "--from", "2025-10-01", "--to", "2025-10-15")
    assert "aws, scope 1: 2 more figures (2,000.0000 g) only reach into this time and are in no sum" in shown


def test_a_hostile_name_is_shown_escaped_and_no_formula_in_csv(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "=cmd()\x1b[2J.csv"
    file.write_bytes(content("codecarbon-3.csv"))
    said = command.run("external", "import", "--format", "codecarbon", str(file), code=2)
    assert "\x1b" not in said
    formula = tmp_path / "=cmd().csv"
    formula.write_bytes(content("codecarbon-3.csv"))
    command.run("external", "import", "--format", "codecarbon", str(formula))
    (line,) = csv.DictReader(io.StringIO(command.run("external", "list", "-o", "csv")))
    assert line["name"] == "'=cmd().csv"


def test_a_removal_is_recorded_with_its_reason(command: Command) -> None:
    name = command.bring("gcp", "gcp.jsonl").partition(":")[0]
    command.run("external", "remove", name, code=2)  # no reason
    said = command.run("external", "remove", name[:12], "--reason", "wrong project")
    assert said == f"{name}: 6 figures are removed; the removal stays on record\n"
    assert "reason: wrong project" in command.run("external", "list")
    assert "external" not in command.run("report", "--period", "2025-10", "-o", "json")
    command.bring("gcp", "gcp.jsonl")


@pytest.mark.parametrize("name", ["aws", "aws/", "/00000000", "aws/123", "aws/" + "0" * 65])
def test_a_name_that_is_none_is_wrong_use(command: Command, name: str) -> None:
    assert "write SOURCE/SHA256" in command.run("external", "remove", name, "--reason", "why", code=2)


def test_a_file_that_is_too_large_is_not_read_whole(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    with file.open("wb") as opened:
        opened.truncate(MAX_BYTES * 4)
    said = command.run("external", "import", "--format", "aws", str(file), code=2)
    assert f"is larger than {MAX_BYTES} bytes: import it in parts" in said


def test_what_only_azure_files_need_is_refused_for_others(command: Command) -> None:
    assert "are of azure files" in command.bring("aws", "aws-v3.csv", "--month", "2025-10", code=2)
    assert "2 figures" in command.bring("azure", "azure-details.json", "--month", "2025-10", "--scope", "2-market")
