"""Agent, operator and clients can have the core: it brings nothing with it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

CORE = Path(__file__).resolve().parents[2] / "core" / "carbonbudget_core"


def imported(path: Path) -> set[str]:
    """The packages whose modules a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("carbonbudget_core" if node.level else str(node.module).partition(".")[0])
    return found


def test_the_core_imports_the_standard_library_alone() -> None:
    files = list(CORE.rglob("*.py"))
    assert len(files) > 5
    foreign = {(path.name, name) for path in files for name in imported(path) - sys.stdlib_module_names}
    assert {name for _, name in foreign} <= {"carbonbudget_core"}, sorted(foreign)
