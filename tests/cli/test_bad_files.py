"""Files that commands write or compare: whole or not there, and a sentence."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.bad_world import Run, World, assert_refused
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world

from carbonbudget_operator.ledger.closed_reports import ClosedReport, close_report
from carbonbudget_operator.ledger.ledger_engine import open_ledger

WRITERS = {
    "ledger backup": (["ledger", "backup"], []),
    "report export": (["report", "export", "2025-11-10"], []),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "target",
    ["{none}/x/file", "{text}/file", "{directory}", "{text}", "/proc/file", "{directory}/" + "n" * 300, "/dev/full"],
)
def test_a_file_that_cannot_be_written(run: Run, world: World, name: str, target: str) -> None:
    closed(world)
    before, text = world.snapshot(), (world.directory / "text").read_text()
    assert_refused(run([*WRITERS[name][0], target, "--ledger", "sqlite:///{ledger}"]), "")
    assert world.snapshot() == before
    assert list((world.directory / "directory").iterdir()) == []
    assert (world.directory / "text").read_text() == text


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_is_full_leaves_nothing(run: Run, world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed(world)
    before = world.snapshot()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("carbonbudget_operator.cli.ledger._copy", full)
    done = run([*WRITERS[name][0], "{new}", "--ledger", "sqlite:///{ledger}"])
    assert_refused(done, "No space left on device")
    assert done.code == 1
    assert world.snapshot() == before


def closed(world: World) -> None:
    """A closed report in the ledger."""
    engine = open_ledger(f"sqlite:///{world.directory}/ledger.db")
    with engine.begin() as connection:
        close_report(connection, "default", ClosedReport("2025-11-10", 1, "d" * 64, "{}"))
    engine.dispose()


@pytest.mark.parametrize("command", ["carbonbudget", "kubectl-carbon"])
def test_a_reader_that_leaves_early_is_no_traceback(command: str) -> None:
    """As `carbonbudget --help | head -1`."""
    program = Path(sys.executable).with_name(command)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run((program, "--help"), stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", ["{none}", "{directory}", "{unreadable}", "{text}"])
def test_a_file_to_compare_with_a_closed_report_that_is_none(run: Run, world: World, file: str) -> None:
    engine = open_ledger(f"sqlite:///{world.directory}/ledger.db")
    with engine.begin() as connection:
        close_report(connection, "default", ClosedReport("2025-11-10", 1, hashlib.sha256(b"{}").hexdigest(), "{}"))
    engine.dispose()
    assert_refused(
        run(["report", "verify", "2025-11-10", "--file", file, "--ledger", "sqlite:///{ledger}"]),
        "report of 2025-11-10" if "text" in file else "cannot be read",
    )
