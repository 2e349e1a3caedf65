"""Training images have their own versions of everything: the client imports the standard library alone."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import carbonbudget

CLIENT = Path(__file__).resolve().parents[2] / "client" / "carbonbudget"
OPTIONAL = {"pynvml"}  # only where it is there
PUBLIC = (
    *("init", "track", "epochs", "units", "progress", "flush", "wait_results", "add_listener", "remove_listener"),
    *("add_prediction_listener", "current_spans", "Span", "Result"),
)


def imported(tree: ast.AST) -> set[str]:
    """The packages that a module imports when it is imported itself, outside of its functions."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("carbonbudget" if node.level else str(node.module).partition(".")[0])
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found |= imported(node)
    return found


def test_no_module_imports_anything_but_the_standard_library_when_it_is_imported() -> None:
    files = list(CLIENT.rglob("*.py"))
    assert len(files) > 10
    foreign = {
        (path.name, name)
        for path in files
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))) - sys.stdlib_module_names
    }
    assert {name for _, name in foreign} <= {"carbonbudget"}, sorted(foreign)


def test_the_public_names_are_these() -> None:
    assert tuple(carbonbudget.__all__) == PUBLIC
    assert all(hasattr(carbonbudget, name) for name in PUBLIC)


def test_the_wheel_needs_nothing_and_python_3_9() -> None:
    text = (CLIENT.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r"^dependencies = \[\]", text, re.MULTILINE)
    assert 'requires-python = ">=3.9"' in text
