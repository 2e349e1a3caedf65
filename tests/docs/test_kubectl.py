"""The plugin's commands and the check's exit codes are in the reference; the CI examples run real commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.check import as_json
from carbonbudget_operator.cli.dry_run_answer import CheckVerdict
from carbonbudget_operator.cli.exit_codes import CHECK_EXIT_CODES
from carbonbudget_operator.cli.explain import as_json as explained
from carbonbudget_operator.cli.kubectl import app as plugin
from carbonbudget_operator.cli.main import app

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples/11-ci").glob("*.yaml"))


def test_every_subcommand_of_the_plugin_is_in_the_reference() -> None:
    commands = get_command(plugin).commands  # type: ignore[attr-defined] # a group
    assert set(commands) == {"budgets", "top", "explain", "transfer", "ui"}
    assert [name for name in commands if f"`kubectl carbon {name}" not in PAGE] == []


def test_every_exit_code_of_the_check_is_in_the_reference() -> None:
    assert [v for v, code in CHECK_EXIT_CODES.items() if not re.search(rf"\| {code} \| `{v}` \|", PAGE)] == []


def test_every_field_of_the_checks_json_is_in_the_reference() -> None:
    fields = as_json(CheckVerdict.YES, [], [], [], "")
    assert [name for name in fields if f"`{name}" not in PAGE] == []


def test_every_field_of_explains_json_is_in_the_reference() -> None:
    budget = CarbonBudget.model_validate({"metadata": {"name": "b"}, "spec": {"limit": "1kg", "period": "Day"}})
    table = PAGE.split("`explain -o json`")[1]
    assert [name for name in explained(budget, ReaderContext(None, None), []) if f"`{name}" not in table] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_ci_example_runs_the_check_with_options_that_it_has(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    (line,) = re.findall(r"carbonbudget check ([^|\n]*)", text)
    context = get_command(app).commands["check"].make_context("check", shlex.split(line))  # type: ignore[attr-defined]
    assert context.params["files"] == ["manifests/"]
