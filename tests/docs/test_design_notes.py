"""The design notes name Python modules of today, by paths that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.conftest import ROOT

NOTES = sorted((ROOT / "docs" / "design").glob("*.md"))
TREES = ("agent", "benchmarks", "client", "core", "examples", "hack", "operator", "tests")
# Notes that state former names on purpose, with the reason.
FORMER_NAMES = {
    "2026-11-29-names-and-packages.md": "its tables give the former name of each module that was renamed",
    "2026-11-29-names-on-the-way-to-a-verdict.md": "its table gives former names beside those of today",
    "2026-11-29-shorter-walks-admission.md": "it compares the modules on a path through the code before and after",
    "2026-11-29-shorter-walks-cpu.md": "it compares the modules on a path through the code before and after",
    "2026-11-29-shorter-walks-selector.md": "it compares the modules on a path through the code before and after",
}
MODULES = [f"/{path.relative_to(ROOT).as_posix()}" for tree in TREES for path in (ROOT / tree).rglob("*.py")]


def missing_modules(text: str, modules: Iterable[str]) -> set[str]:
    """The module paths in a text that are neither a module's path nor the end of one."""
    named = {name.lstrip("./") for name in re.findall(r"[\w./-]*\w\.py\b", text)}
    return {name for name in named if not any(module.endswith(f"/{name}") for module in modules)}


def test_a_path_is_known_by_its_end_and_not_by_a_part_of_a_name() -> None:
    modules = ["/operator/carbonbudget_operator/budgets/verdict.py"]
    for known in ("`verdict.py`", "`budgets/verdict.py`", "`.../verdict.py`", modules[0]):
        assert missing_modules(f"see {known}.", modules) == set()
    assert missing_modules("see `dict.py` and `targets/verdict.py`.", modules) == {"dict.py", "targets/verdict.py"}


@pytest.mark.parametrize("note", [note for note in NOTES if note.name not in FORMER_NAMES], ids=lambda note: note.name)
def test_each_module_that_a_note_names_exists(note: Path) -> None:
    assert missing_modules(note.read_text(encoding="utf-8"), MODULES) == set()


def test_each_note_that_may_state_former_names_exists() -> None:
    assert FORMER_NAMES.keys() <= {note.name for note in NOTES}
