"""`carbonbudget check` against the real API server, as a ServiceAccount that may create Jobs and nothing else.

Policy and CRDs are the chart's; statuses are written by hand while the controller is away.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import Manifest, Release, budget, deployment, job, pod

pytestmark = pytest.mark.cluster

TRAINING = {"project": "training"}
MESSAGE = "carbon budget tight: used 2g of 1g CO2e (200 %)"


@dataclass(frozen=True)
class Developer:
    """Somebody with a token that creates, and the command in their hands."""

    release: Release
    namespace: str
    kubeconfig: Path

    def check(self, *manifests: Manifest) -> tuple[int, dict[str, object]]:
        """Exit code and JSON of the command."""
        done = subprocess.run(
            [Path(sys.executable).parent / "carbonbudget", "check", "-f", "-", "-o", "json"],
            input="\n---\n".join(map(json.dumps, manifests)), capture_output=True, text=True, timeout=60, check=False,
            env={"KUBECONFIG": str(self.kubeconfig), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.stdout, done.stderr
        value = json.loads(done.stdout)
        assert value["exitCode"] == done.returncode
        return done.returncode, value

    def objects(self, *manifests: Manifest) -> list[dict[str, object]]:
        """Each object's part of the answer."""
        found = self.check(*manifests)[1]["objects"]
        assert isinstance(found, list)
        return found


def only_creates(release: Release, namespace: str, directory: Path, *resources: str) -> Developer:
    """A ServiceAccount whose one right is to create these."""
    kubectl = release.cluster.kubectl
    kubectl("-n", namespace, "create", "serviceaccount", "dev")
    kubectl("-n", namespace, "create", "role", "dev", "--verb=create", f"--resource={','.join(resources)}")
    kubectl("-n", namespace, "create", "rolebinding", "dev", "--role=dev", f"--serviceaccount={namespace}:dev")
    token = kubectl("-n", namespace, "create", "token", "dev").stdout.strip()
    path = directory / f"{namespace}.kubeconfig"
    raw = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout)
    raw["users"] = [{"name": raw["users"][0]["name"], "user": {"token": token}}]
    raw["contexts"][0]["context"]["namespace"] = namespace
    path.write_text(json.dumps(raw), encoding="utf-8")
    path.chmod(0o600)
    return Developer(release, namespace, path)


@pytest.fixture(scope="module")
def developer(release: Release, space: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Developer]:
    """In a namespace whose one budget blocks training; our own workloads are at 0 meanwhile."""
    release.scale(0)
    kinds = {"kinds": ["Job", "Pod", "Deployment"]}
    selector = {"matchLabels": TRAINING}
    release.apply(budget(space, "tight", limit="1g", period="Month", selector=selector, enforce=kinds))
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"status": {"enforcement": {"action": "Block", "until": until}, "message": MESSAGE}}
    write = ("-n", space, "patch", "carbonbudget", "tight", "--type=merge", "--subresource=status")
    release.cluster.kubectl("-n", space, "label", "carbonbudget", "tight", "carbonbudget.dev/blocking=true")
    # Made before the block: what is there already can only be changed.
    release.apply(job("old", space, TRAINING), deployment("old", space, TRAINING))
    release.cluster.kubectl(*write, "-p", json.dumps(status))
    release.refusal(job("wait", space, TRAINING))
    yield only_creates(release, space, tmp_path_factory.mktemp("dev"), "jobs", "cronjobs", "deployments")
    release.scale(None)


def without_namespace(manifest: Manifest) -> Manifest:
    """As most manifests are."""
    made = copy.deepcopy(manifest)
    del made["metadata"]["namespace"]  # type: ignore[attr-defined] # a manifest
    return made


def test_a_job_that_no_budget_selects_is_a_yes(developer: Developer) -> None:
    code, value = developer.check(without_namespace(job("j", developer.namespace, {"project": "other"})))
    assert (code, value["notes"]) == (0, []), "the chart lets everybody see whether the policy is there"


def test_a_job_of_a_blocked_budget_is_refused_with_its_sentence(developer: Developer) -> None:
    code, _ = developer.check(without_namespace(job("j", developer.namespace, TRAINING)))
    (found,) = developer.objects(job("j", developer.namespace, TRAINING))
    assert code == 4
    assert str(found["carbon"]).startswith(f"['{MESSAGE}")
    generated = job("j", developer.namespace, TRAINING)
    generated["metadata"] = {"generateName": "j-", "namespace": developer.namespace}
    assert developer.check(generated)[0] == 4


def test_a_cronjob_is_refused_for_the_jobs_it_would_make(developer: Developer) -> None:
    one = job("j", developer.namespace, TRAINING)
    nightly = {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 1 * * *", "jobTemplate": {"spec": one["spec"]}},
    }  # fmt: skip
    assert [found["verdict"] for found in developer.objects(nightly)] == ["yes", "refused"]
    assert developer.check(nightly)[0] == 4


def test_that_the_name_is_taken_hides_neither_verdict(developer: Developer) -> None:
    (found,) = developer.objects(job("old", developer.namespace, TRAINING))
    assert found["verdict"] == "refused"
    kubectl = developer.release.cluster.kubectl
    developer.release.apply(job("free", developer.namespace, {"project": "other"}))
    (found,) = developer.objects(job("free", developer.namespace, {"project": "other"}))
    assert (found["verdict"], found["exists"]) == ("yes", True)
    kubectl("-n", developer.namespace, "delete", "job", "free")


def test_a_deployment_that_is_there_may_be_rolled_out_by_who_may_change_it(developer: Developer) -> None:
    there, new = (deployment(name, developer.namespace, TRAINING) for name in ("old", "new"))
    there["spec"]["template"]["metadata"]["annotations"] = {"rollout": "2"}  # type: ignore[index] # a manifest
    assert developer.check(there)[0] == 4, "without the right to patch, it is as if made anew"
    kubectl = developer.release.cluster.kubectl
    rights = ("--verb=patch,get,create", "--resource=deployments")
    kubectl("-n", developer.namespace, "create", "role", "changes", *rights)
    bound = ("--role=changes", f"--serviceaccount={developer.namespace}:dev")
    kubectl("-n", developer.namespace, "create", "rolebinding", "changes", *bound)
    try:
        (found,) = developer.objects(there)
        assert (found["verdict"], found["exists"]) == ("yes", True)
        assert developer.check(new)[0] == 4, "an apply that would create it is refused as a create"
    finally:
        kubectl("-n", developer.namespace, "delete", "rolebinding", "changes")


def test_nothing_is_ever_created(developer: Developer) -> None:
    developer.check(job("ghost", developer.namespace, {"project": "other"}))
    found = developer.release.cluster.kubectl("-n", developer.namespace, "get", "jobs", "-o", "name").stdout.split()
    assert found == ["job.batch/old"]


def test_what_one_may_not_create_is_not_answerable_and_says_which_right(developer: Developer) -> None:
    code, value = developer.check(pod("p", developer.namespace, TRAINING))
    assert code == 5
    assert "the right to create it is missing: pods is forbidden" in json.dumps(value).replace("\\", "")


def test_a_manifest_that_the_api_server_does_not_understand_is_not_answerable(developer: Developer) -> None:
    wrong = job("j", developer.namespace, {"project": "other"})
    wrong["spec"]["paralellism"] = 2  # type: ignore[index] # a manifest, with a slip
    (found,) = developer.objects(wrong)
    assert found["verdict"] == "unanswerable"
    assert "paralellism" in str(found["reason"])


def test_kubectl_finds_the_plugin_and_shows_the_budget(developer: Developer) -> None:
    environment = developer.release.cluster.environment
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def carbon(*words: str) -> str:
        done = subprocess.run(
            ["kubectl", "carbon", *words, "-n", developer.namespace],
            env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    assert re.search(r"^\S+ +tight +1g ", carbon("budgets"), re.MULTILINE)
    assert "New Job, bare Pod or Deployment until" in carbon("explain", "tight")
