"""`carbonbudget bridge` hands its options to the client library, which may be missing."""

from __future__ import annotations

import sys

import pytest
from tests.cli.bad_world import Run
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world


def test_its_options_are_those_of_the_bridge(run: Run) -> None:
    done = run(["bridge", "mlflow", "--help"])
    assert done.code == 0
    assert "--tracking-uri" in done.out


def test_where_the_client_library_is_missing_one_sentence_says_how_to_install_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "carbonbudget.bridge.bridge_command", None)
    done = run(["bridge", "mlflow"])
    assert (done.code, done.out) == (1, "")
    assert done.err == "carbonbudget-bridge is not installed here: run `pip install ./client` in a checkout\n"
