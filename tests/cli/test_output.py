"""What commands print is whole: tables, small figures, and --help."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import CliRunner

from carbonbudget_operator.cli import kubectl, main
from carbonbudget_operator.cli.common_options import fail
from carbonbudget_operator.cli.table_cells import print_table, rounded
from carbonbudget_operator.csv_text import csv_cells
from carbonbudget_operator.logs import PrintableFormatter
from carbonbudget_operator.printable import is_printable

LONG = "a-namespace-whose-name-is-as-long-as-a-name-may-be-" + "x" * 12  # 63 characters
HEADINGS = [f"heading of column {number}" for number in range(6)]


def pages(command: typer.core.TyperCommand | typer.core.TyperGroup, path: str) -> Iterator[tuple[str, object]]:
    """The command and all below it, each with what is typed for it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from pages(below, f"{path} {name}".strip())


PAGES = [
    (program, path, command)
    for program in (main.app, kubectl.app)
    for path, command in pages(typer.main.get_command(program), "")
]


def table() -> Table:
    made = Table("namespace", "workload", *HEADINGS, box=None)
    made.add_row(LONG, LONG[::-1], *["1,234,567.1234"] * len(HEADINGS))
    return made


@pytest.mark.parametrize("terminal", [{}, {"FORCE_COLOR": "1", "COLUMNS": "80"}], ids=["pipe", "narrow terminal"])
def test_of_a_table_nothing_is_cut_off_or_folded(
    terminal: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    print_table(table())
    heading, row = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert re.split("  +", heading.strip()) == ["namespace", "workload", *HEADINGS]
    assert row.split() == [LONG, LONG[::-1], *["1,234,567.1234"] * len(HEADINGS)]


@given(st.decimals(min_value=0, max_value=10**9, places=12))
def test_a_small_figure_keeps_three_digits_and_none_but_zero_is_shown_as_zero(value: Decimal) -> None:
    shown = Decimal(rounded(str(value)).replace(",", ""))
    assert abs(shown - value) <= value / 200
    assert (shown == 0) == (value == 0)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("0", "0.0000"), ("0.000000012345", "0.0000000123"), ("0.00123", "0.00123"), ("0.05", "0.0500"),
        ("1234567.89", "1,234,567.8900"), (100, "100"),
    ],
)  # fmt: skip
def test_a_figure_has_at_least_four_decimals(figure: object, text: str) -> None:
    assert rounded(figure) == text


@pytest.mark.parametrize(("program", "path", "command"), PAGES, ids=[path or "-" for _, path, _ in PAGES])
def test_help_on_eighty_columns_has_every_option_and_environment_variable_whole(
    program: typer.Typer, path: str, command: typer.core.TyperCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(program, [*path.split(), "--help"]).output
    shown_ones = [option for option in command.params if not getattr(option, "hidden", False)]
    names = [name for option in shown_ones for name in option.opts if name.startswith("-")]
    names += [str(option.envvar) for option in shown_ones if option.envvar]
    assert [name for name in names if name not in shown] == []
    assert "…" not in shown
    assert not re.search(r"\w\.\.\.$", shown, re.MULTILINE), "a command's first sentence is too long for the list"


HOSTILE = "\x1b[2J\x1b[31mPWNED\x1b[0m\n2026-11-29 ERROR forged\x1b]0;title\a\u202e"


def test_a_log_line_is_one_line_whatever_is_in_it() -> None:
    formatter = PrintableFormatter("%(levelname)s: %(message)s")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s is away: %s", (HOSTILE, HOSTILE), error)
    first, *trace = formatter.format(record).split("\n")
    assert first.startswith("WARNING: \\x1b[2J")
    assert all(map(is_printable, [first, *trace]))
    assert all(line.startswith("  ") for line in trace)


def test_an_error_of_several_lines_keeps_them_and_nothing_acts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail("first\nsecond \x1b[2J")
    assert capsys.readouterr().err == "first\nsecond \\x1b[2J\n"


def test_a_cell_of_a_csv_file_is_no_formula_and_a_number_stays_one() -> None:
    cells = ["=cmd|' /C calc'!A0", "@x", "+x", "-x", "-1.5", 7, None, "Job/train", "a\nb"]
    assert csv_cells(cells) == [
        "'=cmd|' /C calc'!A0", "'@x", "'+x", "'-x", "-1.5", "7", "None", "Job/train", "a\\nb",
    ]  # fmt: skip


def test_an_estimate_of_a_small_run_is_not_0_and_says_its_basis() -> None:
    printed = CliRunner().invoke(
        main.app, ["estimate", "--gpu", "A100", "--hours", "0.0001", "--region", "europe-west4"]
    )
    assert printed.exit_code == 0
    figures = [line.split() for line in printed.stdout.splitlines() if " kWh " in line]
    assert len(figures) == 2
    for figure in figures:
        assert all(float(figure[figure.index(unit) - 1].replace(",", "")) > 0 for unit in ("kWh", "kg"))
        assert figure[-1] == "location-based"


def test_a_command_that_is_not_run_imports_nothing_heavy() -> None:
    """The webhook must not pay for the ledger, and `--help` not for a second."""
    heavy = ("sqlalchemy", "fastapi", "kopf", "httpx", "uvicorn", "kubernetes", "alembic")
    script = (
        "import sys; from carbonbudget_operator.cli import kubectl, main; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
