"""The budgets and targets of examples/ in a real API server: each README's commands print what the README shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from tests.conftest import ROOT, Cluster
from tests.examples.readme import EXAMPLES, shown_commands

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

BUDGETS = sorted(EXAMPLES.glob("*/budget.yaml"))
TARGETS = sorted(EXAMPLES.glob("*/target.yaml"))
# The README of 22-tracked-job is about its Job: test_tracked_pods.py runs it.
WALKED = [path for path in BUDGETS + TARGETS if path.parent.name != "22-tracked-job"]


def _words(text: str) -> list[str]:
    """The words of a table or message; an age is replaced, since it differs from run to run."""
    return re.sub(r"(?<=\s)\d+m?s(?=\s*$)", "AGE", text.strip(), flags=re.MULTILINE).split()


@pytest.mark.parametrize("manifest", WALKED, ids=lambda path: path.parent.name)
def test_the_commands_of_a_budgets_readme_print_what_the_readme_shows(
    cluster: Cluster, namespace: str, manifest: Path
) -> None:
    shown = shown_commands(manifest.parent / "README.md")
    try:
        for command in shown:
            program, *args = shlex.split(command.line)
            assert program == "kubectl", command.line
            args = [str(ROOT / word) if word.startswith("examples/") else word for word in args]
            done = cluster.kubectl("-n", namespace, *args, check=False)
            printed = (done.stdout + done.stderr).replace(namespace, "team-a")
            assert _words(printed) == _words(command.output), f"{command.line}\n{printed}"
    finally:
        cluster.kubectl("-n", namespace, "delete", "-f", str(manifest), "--ignore-not-found")
    verbs = [command.line.split()[1] for command in shown]
    assert (verbs[:2], verbs[-1]) == (["apply", "get"], "delete")


@pytest.mark.parametrize("manifest", BUDGETS + TARGETS, ids=lambda path: path.parent.name)
def test_a_budget_of_an_example_keeps_every_field_that_its_manifest_has(
    cluster: Cluster, namespace: str, manifest: Path
) -> None:
    written = yaml.safe_load(manifest.read_text(encoding="utf-8"))
    strict = ("apply", "--server-side", "--validate=strict", "--dry-run=server", "-o", "yaml")
    stored = yaml.safe_load(cluster.kubectl("-n", namespace, *strict, "-f", str(manifest)).stdout)
    assert {key: stored["spec"][key] for key in written["spec"]}.keys() == written["spec"].keys()
    for field in ("limit", "baseline"):
        assert stored["spec"].get(field) == written["spec"].get(field)


def test_the_objects_of_the_demo_are_accepted(cluster: Cluster) -> None:
    """`make demo` on a machine is not repeated here: hack/demo puts two times into budgets.yaml, then applies all."""
    folder = EXAMPLES / "10-demo"
    workloads = (folder / "workloads.yaml").read_text(encoding="utf-8")
    budgets = (folder / "budgets.yaml").read_text(encoding="utf-8")
    for name, time in (("START", "2027-01-01T00:00:00Z"), ("END", "2027-01-02T00:00:00Z")):
        assert f"${{{name}}}" in budgets
        budgets = budgets.replace(f"${{{name}}}", time)
    namespaces = [one["metadata"]["name"] for one in yaml.safe_load_all(workloads) if one["kind"] == "Namespace"]
    made = 0
    try:
        for text in (workloads, budgets, *(file.read_text("utf-8") for file in sorted(folder.glob("job-*.yaml")))):
            made += len(cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=text).stdout.splitlines())
    finally:
        cluster.kubectl("delete", "namespace", *namespaces, "--wait=false", "--ignore-not-found")
    assert (namespaces, made) == (["demo-team-a", "demo-team-b"], 2 + 4 + 3 + 2)
