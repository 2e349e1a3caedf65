"""The table of exceptions has a cell for every case, and the reference page is made from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.apiserver.attempts import ATTEMPTS, ENFORCED, SCALED
from tests.apiserver.exceptions import TABLE, cells

from carbonbudget_operator.api.wire_names import ENFORCED_KINDS

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_page_is_that_of_the_table() -> None:
    command = (sys.executable, str(ROOT / "hack" / "exceptions"), "--check")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_exception_has_a_cell_for_every_kind_and_action() -> None:
    """A kind without the subresource `scale` cannot be scaled."""
    found = {(cell.exception, cell.kind, cell.action) for cell in cells()}
    wanted = {
        (exception["name"], kind, action)
        for exception in TABLE["exceptions"]
        for kind in TABLE["kinds"]
        for action in TABLE["actions"]
        if action != "scale" or kind in TABLE["scaled"]
    }
    assert found == wanted


def test_what_passes_or_is_not_tried_has_a_reason_and_the_rest_an_answer() -> None:
    for cell in cells():
        assert not cell.tried or cell.answer in TABLE["answers"], cell
        assert bool(cell.because) == (not cell.tried or cell.answer == "passes"), cell


def test_every_attempt_of_the_table_is_written_and_no_other() -> None:
    assert {cell.tried for cell in cells() if cell.tried} == set(ATTEMPTS)


def test_the_kinds_of_the_table_are_those_that_are_checked() -> None:
    """Beside CronJob, whose Jobs are checked, and the one that stands for configured kinds."""
    assert set(TABLE["kinds"]) == ENFORCED_KINDS | {"CronJob", "TrainJob"}
    assert (TABLE["enforced"], TABLE["scaled"]) == (ENFORCED, SCALED)
