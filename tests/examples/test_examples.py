"""Each folder of examples/ is run by a test, and each command that an example's README shows exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT
from tests.examples.readme import EXAMPLES, shown_commands
from typer.main import get_command

from carbonbudget import run_command as client_run
from carbonbudget_operator.cli.kubectl import app as plugin
from carbonbudget_operator.cli.main import app

README_OF_A_BUDGET = (
    "tests/apiserver/test_examples.py::test_the_commands_of_a_budgets_readme_print_what_the_readme_shows"
)
# Example: the test that runs it.
RUN_BY = {
    "01-first-budget": README_OF_A_BUDGET,
    "02-project-budget": README_OF_A_BUDGET,
    "03-whole-cluster": README_OF_A_BUDGET,
    "04-department": README_OF_A_BUDGET,
    "05-will-it-fit": README_OF_A_BUDGET,
    "06-serving": README_OF_A_BUDGET,
    "07-training-run": README_OF_A_BUDGET,
    "08-hackathon": README_OF_A_BUDGET,
    "09-market-based": README_OF_A_BUDGET,
    "10-demo": "tests/apiserver/test_examples.py::test_the_objects_of_the_demo_are_accepted",
    "11-ci": "tests/docs/test_kubectl.py::test_every_ci_example_runs_the_check_with_options_that_it_has",
    "12-gitops": "tests/examples/test_gitops.py::test_an_ignored_field_is_one_that_the_chart_or_the_crd_has",
    "13-dated-values": "tests/e2e/test_chart.py::test_dated_values_reach_the_server_as_they_are",
    "14-audit": "tests/docs/test_audit.py::test_every_command_of_the_page_runs_as_it_is_written",
    "15-monitoring": "tests/docs/test_chart_values.py::test_the_monitoring_example_brings_monitors_and_dashboards",
    "16-backup-and-restore": (
        "tests/docs/test_operations.py::test_a_copy_is_made_restored_and_taken_back_to_an_earlier_schema"
    ),
    "17-opencost": "tests/opencost/test_opencost_chart.py::test_the_example_opens_the_proxy_to_opencost_ui_alone",
    "18-month-report": "tests/examples/test_month_report.py::test_the_commands_make_the_page_and_the_focus_file",
    "19-exports": "tests/exports/test_exports_chart.py::test_the_example_gives_the_server_what_its_targets_need",
    "20-runs": "tests/examples/test_runs.py::test_the_commands_print_what_the_readme_shows",
    "21-client": "tests/examples/test_client.py::test_the_commands_of_the_readme_write_the_spans_that_it_names",
    "22-tracked-job": "tests/apiserver/test_tracked_pods.py::test_the_example_prints_what_its_readme_shows",
    "23-units": "tests/server/test_units_chart.py::test_the_example_gives_the_server_what_its_units_need",
    "24-target": README_OF_A_BUDGET,
    "25-pipelines": "tests/examples/test_pipelines.py::test_the_gate_of_the_readme_prints_what_it_shows",
    "26-carry-over": README_OF_A_BUDGET,
    "27-transfer": "tests/apiserver/test_transfers_decided.py::test_the_commands_of_the_example_print_what_it_shows",
    "28-cleaner-hours": "tests/cli/test_when.py::test_the_example_prints_what_its_readme_shows",
}
NUMBERED = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.name[0].isdigit())
SHOWN = [
    pytest.param(command.line, id=f"{readme.parent.name}: {command.line[:60]}")
    for readme in sorted(EXAMPLES.glob("*/README.md"))
    for command in shown_commands(readme)
]


def test_every_folder_of_the_examples_is_run_by_a_test_that_exists() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} - {"README.md"} == set(RUN_BY)
    for test in RUN_BY.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_the_numbers_are_in_order_without_a_gap_and_the_index_names_each_folder() -> None:
    assert [int(name[:2]) for name in NUMBERED] == list(range(1, len(NUMBERED) + 1))
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[([\w-]+)\]\(\1\) \|", index, re.MULTILINE) == NUMBERED


@pytest.mark.parametrize("name", NUMBERED)
def test_an_example_has_a_readme_that_shows_a_command_and_links_or_names_each_of_its_files(name: str) -> None:
    folder = EXAMPLES / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert shown_commands(folder / "README.md")
    assert [path.name for path in folder.iterdir() if path.name != "README.md" and path.name not in text] == []


def _parse(group: Any, words: list[str]) -> None:
    """Let typer read the words as the command would; an unknown command or option raises its error."""
    name, *rest = words
    command = group.commands[name]
    if rest and rest[0] in getattr(command, "commands", {}):
        _parse(command, rest)
    else:
        command.make_context(name, rest)


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_a_readme_shows_exists_and_so_do_the_files_that_it_names(line: str) -> None:
    program, *words = [word for word in shlex.split(line) if not word.startswith("CARBONBUDGET_")]
    for word in words:
        assert not word.startswith("examples/") or (ROOT / word).is_file(), word
    if program == "carbonbudget":
        _parse(get_command(app), words)
    elif (program, words[0]) == ("kubectl", "carbon"):
        _parse(get_command(plugin), words[1:])
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif program == "carbonbudget-run":
        assert client_run.read_arguments(words)[1], line
    elif program == "python":
        assert (ROOT / words[0]).is_file()
    elif program == "helm":
        assert words[0] in ("template", "upgrade")
        assert Path(ROOT / words[2] / "Chart.yaml").is_file()
    else:
        assert (program, words[0] in ("apply", "create", "delete", "get", "label", "patch")) == ("kubectl", True), line


def test_every_manifest_of_the_examples_is_yaml() -> None:
    for file in sorted(EXAMPLES.rglob("*.yaml")):
        assert list(yaml.safe_load_all(file.read_text(encoding="utf-8"))), file
