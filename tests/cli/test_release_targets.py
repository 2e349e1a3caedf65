"""`carbonbudget release` with a name that does not exist: it names what is missing, and releases nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.cli.api_server import Asked, Said, api_server, status
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app

CONTROLLER = "carbonbudget-system/carbonbudget-controller"
BUDGETS = "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets"
JOBS = "/apis/batch/v1/namespaces/team-a/jobs"
KUEUE = "/apis/kueue.x-k8s.io"
NOT_FOUND = status(404, "NotFound", "the server could not find the requested resource")
FORBIDDEN = status(403, "Forbidden", "you may not do this")
MARKS = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}


@dataclass
class Cluster:
    """Has the namespace team-a with the budget monthly, which blocks, our controller, and some versions of Kueue."""

    kueue: tuple[str, ...] = ()
    may_get_namespaces: bool = True
    may_discover: bool = True
    jobs: list[dict[str, Any]] = field(default_factory=list)
    patched: list[str] = field(default_factory=list)
    dry: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Said:
        """The API server's answer."""
        budget = {
            "metadata": {"name": "monthly", "namespace": "team-a", "labels": {"carbonbudget.dev/blocking": "true"}}
        }
        if asked.method == "PATCH":
            return self._patch(asked)
        group, _, _ = asked.path.rpartition("/")
        if KUEUE in (group, asked.path) and not self.may_discover:
            return FORBIDDEN
        if asked.path == KUEUE:
            return Said({"versions": [{"version": version} for version in self.kueue]}) if self.kueue else NOT_FOUND
        if asked.path.startswith(f"{KUEUE}/") and asked.path.split("/")[3] not in self.kueue:
            return NOT_FOUND
        if group == KUEUE:
            resources = {"resources": [{"name": "workloads"}, {"name": "workloads/status"}]}
            return Said(resources)
        if not self.may_get_namespaces and asked.path.startswith("/api/v1/namespaces/"):
            return FORBIDDEN
        lists = {BUDGETS: [budget], BUDGETS.replace("/namespaces/team-a", ""): [budget], JOBS: self.jobs}
        if asked.path in lists:
            return Said({"items": lists[asked.path], "metadata": {}})
        found = {"/api/v1/namespaces/team-a": {}, f"{BUDGETS}/monthly": budget}
        if asked.path in found:
            return Said(found[asked.path])
        last = asked.path.split("/")[-1]
        is_object = asked.path.startswith("/api/v1/namespaces/") or asked.path.startswith(f"{BUDGETS}/")
        return NOT_FOUND if is_object and last != "pods" else Said({"items": [], "metadata": {}})

    def _patch(self, asked: Asked) -> Said:
        namespace, name = CONTROLLER.split("/")
        scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
        if asked.path.endswith("/scale") and asked.path != scale:
            return status(404, "NotFound", "deployments.apps not found")
        (self.dry if "dryRun=All" in asked.query else self.patched).append(asked.path)
        return Said({"status": {"selector": "app=controller"}})


Release = Callable[..., Result]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def release(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    def run(*arguments: str) -> Result:
        with api_server(cluster.answer, tmp_path):
            monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
            return CliRunner().invoke(app, ["release", *arguments])

    return run


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["real", "dry run"])
@pytest.mark.parametrize("missing", ["carbonbudget-system/controler", "carbonbudget/carbonbudget-controller"])
def test_a_controller_that_does_not_exist_is_an_error_and_nothing_is_released(
    release: Release, cluster: Cluster, missing: str, dry: tuple[str, ...]
) -> None:
    done = release("--all", "--stop-controller", missing, *dry)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"there is no Deployment {missing}, and nothing is released")
    assert (done.stdout, cluster.patched) == ("", [])


def test_an_uninstall_goes_on_without_a_controller(release: Release, cluster: Cluster) -> None:
    done = release("--all", "--stop-controller", "carbonbudget-system/gone", "--ignore-not-found")
    assert done.exit_code == 0, done.stderr
    assert "Deployment carbonbudget-system/gone: not found, ignored" in done.stdout
    assert "scaled to 0" not in done.stdout
    assert cluster.patched == [f"{BUDGETS}/monthly"]


def test_a_dry_run_asks_whether_the_controller_can_be_scaled_and_changes_nothing(
    release: Release, cluster: Cluster
) -> None:
    done = release("--all", "--stop-controller", CONTROLLER, "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert f"Deployment {CONTROLLER}: scaled to 0 (dry run)" in done.stdout
    assert (len(cluster.dry), cluster.patched) == (1, [])


@pytest.mark.parametrize("more", [(), ("--budget", "monthly"), ("--dry-run",), ("--stop-controller", CONTROLLER)])
def test_a_namespace_that_does_not_exist_is_named_and_nothing_is_changed(
    release: Release, cluster: Cluster, more: tuple[str, ...]
) -> None:
    done = release("-n", "no-such-namespace", *more)
    assert (done.exit_code, done.stdout, cluster.patched) == (1, "", [])
    assert done.stderr == "there is no namespace 'no-such-namespace': correct --namespace\n"


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--only-kueue", "--kueue", "auto")])
def test_a_budget_that_does_not_exist_is_named(release: Release, cluster: Cluster, more: tuple[str, ...]) -> None:
    done = release("-n", "team-a", "--budget", "nope", *more)
    assert (done.exit_code, done.stdout, cluster.patched) == (1, "", [])
    assert done.stderr.startswith("there is no CarbonBudget 'nope' in namespace team-a: ")


def test_jobs_of_a_deleted_budget_are_released_by_its_name(release: Release, cluster: Cluster) -> None:
    by = {"carbonbudget.dev/suspended-by": "team-a/nope"}
    job = {"name": "train", "namespace": "team-a", "uid": "u", "labels": MARKS, "annotations": by}
    cluster.jobs.append({"metadata": job, "spec": {"suspend": True}})
    done = release("-n", "team-a", "--budget", "nope")
    assert done.exit_code == 0, done.stderr
    assert cluster.patched == [f"{JOBS}/train"]


def test_who_may_not_read_namespaces_releases_their_own(release: Release, cluster: Cluster) -> None:
    cluster.may_get_namespaces = False
    done = release("-n", "team-a")
    assert done.exit_code == 0, done.stderr
    assert cluster.patched == [f"{BUDGETS}/monthly"]


@pytest.mark.parametrize(
    ("served", "asked_for", "sentence"),
    [
        (("v1beta1", "v1beta2"), "v1beta3", "in version v1beta3; it serves v1beta2, v1beta1"),
        (("v1beta2",), "v1beta1", "in version v1beta1; it serves v1beta2"),
        ((), "v1beta1", "in version v1beta1; it serves none: "),
    ],
)
@pytest.mark.parametrize("more", [(), ("--only-kueue",), ("--dry-run",)])
def test_a_version_of_kueue_that_is_not_served_is_an_error_that_names_those_served(
    release: Release, cluster: Cluster, served: tuple[str, ...], asked_for: str, sentence: str, more: tuple[str, ...]
) -> None:
    cluster.kueue = served
    done = release("--all", "--kueue", asked_for, *more)
    assert (done.exit_code, done.stdout, cluster.patched) == (1, "", [])
    assert sentence in done.stderr


def test_who_may_not_discover_versions_learns_from_the_list_that_one_is_not_served(
    release: Release, cluster: Cluster
) -> None:
    cluster.kueue, cluster.may_discover = ("v1beta2",), False
    assert release("--all", "--only-kueue", "--kueue", "v1beta2").exit_code == 0
    done = release("--all", "--only-kueue", "--kueue", "v1beta3")
    assert (done.exit_code, done.stderr) == (1, "1 could not be released\n")
    assert "/apis/kueue.x-k8s.io/v1beta3/workloads: not released: " in done.stdout


@pytest.mark.parametrize("version", ["auto", "v1beta1", "v1beta2"])
def test_a_version_that_is_served_and_auto_are_used(release: Release, cluster: Cluster, version: str) -> None:
    cluster.kueue = ("v1beta1", "v1beta2")
    done = release("--all", "--only-kueue", "--kueue", version)
    assert (done.exit_code, done.stdout) == (0, "nothing to release\n"), done.stderr


def test_auto_without_kueue_is_nothing_to_release(release: Release) -> None:
    done = release("--all", "--only-kueue", "--kueue", "auto")
    assert (done.exit_code, done.stdout) == (0, "nothing to release\n"), done.stderr


@pytest.mark.parametrize(
    "wrong", [("-n", "No/Name"), ("-n", "team-a", "--budget", "no/name"), ("--all", "--kueue", "v/1")]
)
def test_a_name_that_no_object_can_have_is_wrong_use(
    release: Release, cluster: Cluster, wrong: tuple[str, ...]
) -> None:
    done = release(*wrong)
    assert (done.exit_code, cluster.patched) == (2, [])
    assert "is not a valid" in done.stderr
