"""What the controller may write to workloads, in the real API server: its account's rights, narrowed by a policy."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver.manifests import work
from tests.conftest import Cluster
from tests.e2e.conftest import CHART, budget, wait_for
from tests.kueue.module import apply_workloads_crd, delete_workloads_crd, pod_sets

from carbonbudget_operator.api.wire_names import BUDGET
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import MERGE_PATCH, KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

ACCOUNT = "carbonbudget-controller"
SPACE = "own-writes"
KINDS = {
    "Job": ApiPath("batch", "v1", "jobs"),
    "CronJob": ApiPath("batch", "v1", "cronjobs"),
    "Deployment": ApiPath("apps", "v1", "deployments"),
    "StatefulSet": ApiPath("apps", "v1", "statefulsets"),
    "DaemonSet": ApiPath("apps", "v1", "daemonsets"),
    "Workload": ApiPath("kueue.x-k8s.io", "v1beta2", "workloads"),
}
LABELS = {"team": "a", "carbonbudget.dev/suspendable": "true"}
METADATA = {"labels": LABELS, "annotations": {"note": "x"}, "finalizers": ["example.com/held"]}


class Account:
    """The controller's, by a token of its own and the controller's own client: kubectl would read before it writes."""

    def __init__(self, cluster: Cluster, directory: Path, token: str) -> None:
        self.cluster = cluster
        config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)["clusters"][0]["cluster"]
        ca = directory / "ca.crt"
        ca.write_bytes(base64.b64decode(config["certificate-authority-data"]))
        self._credentials = Credentials(config["server"], lambda: token, str(ca))

    def patch(self, kind: str, change: dict[str, Any]) -> str:
        """Merge a change into the workload of that kind; what is said against it, empty if nothing."""
        return self.ask("PATCH", KINDS[kind].at(SPACE, "w"), change)

    def ask(self, method: str, path: ApiPath, body: dict[str, Any] | None = None) -> str:
        async def run() -> str:
            client = KubeClient.connect(self._credentials)
            try:
                await client.request(method, path, body, content_type=MERGE_PATCH)
            except KubeError as error:
                return f"{error.status}: {error.reason}"
            finally:
                await client.close()
            return ""

        return asyncio.run(run())


@pytest.fixture(scope="module")
def account(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Account, rights and policy as the chart has them, and one workload of each kind."""
    directory = tmp_path_factory.mktemp("own-writes")
    kubectl = cluster.kubectl
    kubectl("create", "namespace", SPACE)
    made = []
    try:
        templates = [f"--show-only=templates/{name}.yaml" for name in ("rbac", "controller", "own-writes-policy")]
        rendered = cluster.run(
            "helm", "template", "carbonbudget", CHART, "-n", SPACE, "--kube-version", "1.34", *templates,
            "--set", "certificates.mode=Provided,enforcement.kueue=v1beta1",
        ).stdout  # fmt: skip
        for document in yaml.safe_load_all(rendered):
            if document["metadata"]["name"] not in (ACCOUNT, "carbonbudget-own-writes"):
                continue
            if document["kind"] != "Deployment":
                made.append((document["kind"], document["metadata"]["name"]))
                kubectl("apply", "-f", "-", stdin=json.dumps(document))
        apply_workloads_crd(cluster)
        for kind in KINDS:
            kubectl("apply", "-f", "-", stdin=json.dumps(a_workload(kind)))
        kubectl("apply", "-f", "-", stdin=json.dumps(budget(SPACE, "b", limit="1kg", period="Month")))
        token = kubectl("-n", SPACE, "create", "token", ACCOUNT).stdout.strip()
        own = Account(cluster, directory, token)
        refused = {"spec": {"template": {"spec": {"priorityClassName": "x"}}}}
        wait_for("the policy", lambda: "carbonbudget-own-writes" in own.patch("Deployment", refused), 30)
        yield own
    finally:
        for kind in KINDS:  # or the namespace never ends
            kubectl(
                "-n", SPACE, "patch", kind, "w", "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False
            )
        for kind, name in made:
            kubectl("-n", SPACE, "delete", kind, name, "--ignore-not-found")
        delete_workloads_crd(cluster)
        kubectl("delete", "namespace", SPACE, "--timeout=60s")  # other modules make it again


def a_workload(kind: str) -> dict[str, Any]:
    if kind == "Workload":
        metadata = {"name": "w", "namespace": SPACE} | METADATA
        spec: dict[str, Any] = {"queueName": "q", "podSets": pod_sets()}
        return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": metadata, "spec": spec}
    if kind != "CronJob":
        return work(kind, SPACE, metadata=METADATA, **({"suspend": True} if kind == "Job" else {}))
    job = work("Job", SPACE)
    spec = {"schedule": "0 0 1 1 *", "suspend": False, "jobTemplate": {"spec": job["spec"]}}
    return {
        "apiVersion": "batch/v1", "kind": kind, "metadata": {"name": "w", "namespace": SPACE} | METADATA, "spec": spec,
    }  # fmt: skip


def marks(value: str | None) -> dict[str, Any]:
    return {"annotations": {"carbonbudget.dev/state": value}, "labels": {"carbonbudget.dev/suspended": value}}


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_labels_and_annotations_it_sets_changes_and_takes_away(account: Account, kind: str) -> None:
    for value in ("Warning", "Exceeded", None):
        assert account.patch(kind, {"metadata": marks(value)}) == ""


def test_a_job_it_suspends_and_resumes_with_its_marks(account: Account) -> None:
    for suspended in (False, True, False, True):
        change = {"spec": {"suspend": suspended}, "metadata": marks("true" if suspended else None)}
        assert account.patch("Job", change) == ""


def test_a_workload_of_kueue_it_deactivates_and_activates_with_its_marks(account: Account) -> None:
    for active in (False, True):
        change = {"spec": {"active": active}, "metadata": marks(None if active else "true")}
        assert account.patch("Workload", change) == ""


NOT_ITS_OWN: dict[str, dict[str, Any]] = {
    "another label": {"metadata": {"labels": {"team": "b"}}},
    "a new label": {"metadata": {"labels": {"app": "x"}}},
    "a label taken away": {"metadata": {"labels": {"team": None}}},
    "a label that looks like ours": {"metadata": {"labels": {"carbonbudget.dev.example.com/x": "y"}}},
    "another annotation": {"metadata": {"annotations": {"note": "y"}}},
    "a new annotation": {"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "y"}}},
    "an annotation taken away": {"metadata": {"annotations": {"note": None}}},
    "a finalizer": {"metadata": {"finalizers": ["example.com/other"]}},
    "no finalizer": {"metadata": {"finalizers": None}},
    "an owner": {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]}},
    "ours and another": {"metadata": {"labels": {"carbonbudget.dev/suspended": "true", "team": "b"}}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", NOT_ITS_OWN)
def test_nothing_else_of_a_workloads_metadata(account: Account, kind: str, change: str) -> None:
    assert "carbonbudget may change" in account.patch(kind, NOT_ITS_OWN[change])


IMAGE = {"template": {"spec": {"containers": [{"name": "c", "image": "evil"}]}}}
OF_SPECS: list[tuple[str, dict[str, Any]]] = [
    ("Job", {"parallelism": 5}),
    ("Job", {"activeDeadlineSeconds": 5}),
    ("Job", {"suspend": False, "parallelism": 5}),
    ("Job", {"ttlSecondsAfterFinished": 0}),
    ("Job", {"backoffLimit": 5}),
    ("Deployment", {"replicas": 0}),
    ("Deployment", {"paused": True}),
    ("Deployment", IMAGE),
    ("StatefulSet", {"replicas": 0}),
    ("StatefulSet", IMAGE),
    ("DaemonSet", IMAGE),
    ("CronJob", {"suspend": True}),
    ("Workload", {"queueName": "another"}),
    ("Workload", {"active": False, "priority": 9}),
    ("CronJob", {"schedule": "* * * * *"}),
    ("CronJob", {"jobTemplate": {"metadata": {"labels": {"carbonbudget.dev/exempt": "true"}}}}),
]


@pytest.mark.parametrize(("kind", "spec"), OF_SPECS, ids=lambda value: value if isinstance(value, str) else str(value))
def test_nothing_of_a_spec_but_a_jobs_suspension(account: Account, kind: str, spec: dict[str, Any]) -> None:
    assert "carbonbudget may change" in account.patch(kind, {"spec": spec})


def test_what_was_never_its_right_stays_so(account: Account) -> None:
    assert "cannot delete" in account.ask("DELETE", KINDS["Job"].at(SPACE, "w"))
    assert "cannot patch" in account.ask(
        "PATCH", KINDS["Deployment"].at(SPACE, "w", "scale"), {"spec": {"replicas": 5}}
    )
    assert "cannot list" in account.ask("GET", ApiPath("", "v1", "secrets", SPACE))


def test_budgets_are_written_as_before(account: Account) -> None:
    one = BUDGET.path(SPACE, "b")
    assert account.ask("PATCH", one, {"metadata": {"labels": {"carbonbudget.dev/blocking": "true"}}}) == ""
    assert account.ask("PATCH", one.sub("status"), {"status": {"state": "Exceeded", "message": "used up"}}) == ""


def test_nobody_else_is_narrowed(account: Account) -> None:
    change = json.dumps({"spec": {"replicas": 0}, "metadata": {"labels": {"team": "z"}}})
    account.cluster.kubectl("-n", SPACE, "patch", "deployment", "w", "--type=merge", "-p", change)


def test_the_api_server_finds_no_fault_with_the_types(account: Account) -> None:
    def checked() -> dict[str, Any] | None:
        status: Any = account.cluster.get("validatingadmissionpolicy", "carbonbudget-own-writes").get("status", {})
        return status if "observedGeneration" in status else None

    assert wait_for("the type check", checked).get("typeChecking", {}) == {}
