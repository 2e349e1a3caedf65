"""Backup and restore: from either database to either, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.ledger_copy import copy_ledger


def run(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["ledger", *args])
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def counts(engine: sa.Engine) -> tuple[int, int, int, list[str]]:
    *_, last = check_ledger(engine)
    return last.windows, last.pods, last.measured_uj, last.defects


def test_a_ledger_comes_back_from_its_backup_and_goes_on(
    engine: sa.Engine,
    url: str,
    new_empty_url: Callable[[], str],
    open_engine: Callable[[str], sa.Engine],
    tmp_path: Path,
) -> None:
    book(Booker(engine), *(a_report(HOUR + 60 * i, f"n{i % 3}", {f"p{i}": 5}) for i in range(30)))
    code, said = run("backup", str(tmp_path / "b.db"), "--ledger", url)
    assert code == 0, said
    other = new_empty_url()
    code, said = run("restore", str(tmp_path / "b.db"), "--ledger", other)
    assert code == 0, said
    restored = open_engine(other)
    assert counts(restored) == counts(engine) == (30, 30, 705 * 30, [])
    again = [a_report(HOUR + 60 * i, f"n{i % 3}", {f"p{i}": 5}) for i in range(31)]
    assert book(Booker(restored), *again) == [BookingResult.DUPLICATE] * 30 + [BookingResult.STORED]


def test_a_backup_of_a_ledger_that_goes_on_is_of_one_moment(
    engine: sa.Engine, new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    booker, other = Booker(engine), open_engine(new_url())
    book(booker, a_report())
    for index, _ in enumerate(copy_ledger(engine, other)):
        book(booker, a_report(HOUR + 60 + 60 * index, pods={f"p{index}": 5}))
    assert counts(other) == (1, 1, 1000, [])


def test_a_restore_into_a_ledger_with_data_changes_nothing(engine: sa.Engine, url: str, tmp_path: Path) -> None:
    book(Booker(engine), a_report())
    assert run("backup", str(tmp_path / "b.db"), "--ledger", url)[0] == 0
    code, said = run("restore", str(tmp_path / "b.db"), "--ledger", url)
    assert code == 2
    assert "is not empty" in said
    assert counts(engine)[0] == 1


@pytest.mark.parametrize("args", [("backup", "there.db"), ("restore", "missing.db"), ("restore", "garbage.db")])
def test_what_cannot_be_copied_is_said_in_a_sentence(args: tuple[str, str], url: str, tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("")
    (tmp_path / "garbage.db").write_text("no database " * 100)
    code, said = run(args[0], str(tmp_path / args[1]), "--ledger", url)
    assert code in (1, 2)
    assert len(said.strip().splitlines()) <= 2
