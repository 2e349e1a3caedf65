"""A training with carbonbudget's client on the real cluster: its spans are its pod's energy, and nobody else's."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.e2e.conftest import SYSTEM, WINDOW_SECONDS, Manifest, Release, wait_for
from tests.e2e.test_tokens import AGENT, OURS, post, token
from tests.ledger.reports import a_report

from carbonbudget_core.node_report_json import encode_report

pytestmark = pytest.mark.cluster

HOUR = 3600
CLIENT = ROOT / "client" / "carbonbudget"
SCRIPT = ROOT / "tests" / "e2e" / "training_in_a_pod.py"
ROUNDS = 12_000_000  # a second or two
LABELS = {
    "carbonbudget.dev/run": "exp-42",
    "carbonbudget.dev/model": "net",
    "carbonbudget.dev/model-version": "1.3",
    "carbonbudget.dev/stage": "training",
}
NOISE = "while True: pass"
PAST_UJ, PAST_US = 1_000_000, 10_000  # what a_report gives to a pod of so much energy
# In the pod, by its own token and with nothing but the client library.
ASK = """
import json, sys
from carbonbudget.client_settings import ClientSettings
from carbonbudget.server_link import ServerLink
method, path, body = sys.argv[1:]
print(json.dumps(ServerLink(ClientSettings()).ask(method, path, body.encode() or None)))
"""


@dataclass(frozen=True)
class Trained:
    """The pod of the training, and the answers to what it and its neighbour asked about themselves.

    `first` is the answer before the server was started again; `kernel` what the kernel counted, in microseconds.
    """

    space: str
    other: str
    pod: str
    uid: str
    first: dict[str, Any]
    answer: dict[str, Any]
    neighbour: dict[str, Any]
    kernel: list[dict[str, int]]

    def spans(self, name: str) -> list[dict[str, Any]]:
        return sorted((span for span in self.answer["spans"] if span["name"] == name), key=lambda span: span["step"])


def tracked_pod(name: str, *command: str, limit: str = "2") -> Manifest:
    """A pod's metadata and spec, with the client library and nothing about tokens."""
    mounts = [{"name": "client", "mountPath": "/client/carbonbudget"}, {"name": "script", "mountPath": "/script"}]
    container = {
        "name": name,
        "image": "carbonbudget-operator:dev",
        "command": ["python3", *command],
        "env": [{"name": "PYTHONPATH", "value": "/client"}],
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": limit}},
    }
    volumes = [{"name": mount["name"], "configMap": {"name": mount["name"]}} for mount in mounts]
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
    }
    return {"metadata": {"labels": LABELS}, "spec": spec}


def ask(release: Release, space: str, pod: str, method: str = "GET", path: str = "/v1/self", body: str = "") -> Any:
    """What the server answers to the pod; None while it does not answer."""
    inside = ("-n", space, "exec", pod, "--", "python3", "-c", ASK, method, path, body)
    done = release.cluster.kubectl(*inside, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def ledger_energy_uj(release: Release, uid: str) -> int:
    """What the ledger holds of the pod's own energy."""
    query = "SELECT sum(energy_uj + idle_uj) FROM pod_energy JOIN pod ON pod.id = pod_id WHERE uid = ?"
    with closing(sqlite3.connect(f"file:{release.volumes}/ledger/ledger.db?mode=ro", uri=True)) as ledger:
        return int(ledger.execute(query, (uid,)).fetchone()[0])


def reported_until_ms(release: Release) -> int:
    """The end of the node's last window in the ledger."""
    with closing(sqlite3.connect(f"file:{release.volumes}/ledger/ledger.db?mode=ro", uri=True)) as ledger:
        return int(ledger.execute("SELECT max(last_end) FROM node_span").fetchone()[0]) * 1000


def report_past_hour(release: Release, space: str, pod: str, uid: str) -> int:
    """Report a window of the pod in an hour that is over, as the node's agent; the window's start."""
    node = release.cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
    bound = token(release, *AGENT, *OURS, "--bound-object-kind", "Node", "--bound-object-name", node)
    start = int(time.time()) // 60 * 60 - 2 * HOUR  # a minute that no earlier run on this ledger reported
    made = a_report(start, node=node, pods={uid: PAST_UJ}, labels=LABELS, namespace=space)
    made = replace(made, pods=tuple(replace(one, name=pod) for one in made.pods))
    assert post(release, bound, encode_report(made)) == (200, "stored")
    return start


@pytest.fixture(scope="module")
def other(release: Release) -> Iterator[str]:
    """Another team's namespace."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    release.cluster.kubectl("create", "namespace", name)
    yield name
    release.cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def trained(release: Release, space: str, other: str) -> Iterator[Trained]:
    """A training beside a busy pod with the same labels; the server is started again in the middle of it."""
    kubectl = release.cluster.kubectl
    # The webhook: where a policy was removed before, the API server keeps the ConfigMap of then, with another CA
    # (docs/tracking.md). test_tracked_pods.py has the policy.
    release.helm("--set", "tracking.injector=webhook")
    for name in (space, other):
        kubectl("label", "namespace", name, "carbonbudget.dev/track=enabled")
        kubectl("-n", name, "create", "configmap", "client", f"--from-file={CLIENT}")
        kubectl("-n", name, "create", "configmap", "script", f"--from-file={SCRIPT}")
    template = tracked_pod("train", f"/script/{SCRIPT.name}", str(ROUNDS))
    job: Manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train", "namespace": space}}
    noise = tracked_pod("noise", "-c", NOISE, limit="300m") | {"apiVersion": "v1", "kind": "Pod"}
    noise["metadata"] = {"name": "noise", "namespace": other, "labels": LABELS}

    def injected() -> bool:
        """Whether a dry run shows the volume: the API server follows a new policy within a second or two."""
        shown = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(noise)).stdout
        return "carbonbudget-token" in shown

    wait_for("the injector", injected, 30)
    release.apply(noise, job | {"spec": {"backoffLimit": 0, "template": template}})
    by_job = ("-n", space, "get", "pods", "-l", "batch.kubernetes.io/job-name=train", "-o")
    running = "jsonpath={.items[?(@.status.phase=='Running')].metadata.name}"
    pod = wait_for("the training's pod", lambda: kubectl(*by_job, running).stdout or None)
    uid = release.uid(space, "pod", pod)
    past_hour = report_past_hour(release, space, pod, uid)

    def said() -> list[dict[str, Any]]:
        lines = kubectl("-n", space, "logs", pod, check=False).stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def sent(times: int) -> bool:
        return sum("sent" in line for line in said()) == times

    kubectl("-n", space, "exec", pod, "--", "touch", "/tmp/start")
    wait_for("the first epoch to be sent", lambda: sent(1))
    first = ask(release, space, pod)
    server = ("-l", "app.kubernetes.io/component=server", "--wait=false")
    kubectl("-n", SYSTEM, "delete", "pod", *server)
    past = {"id": "past", "name": "before", "start_ms": past_hour * 1000, "end_ms": past_hour * 1000 + 60_000}
    posted = json.dumps({"spans": [past]})
    wait_for("the server", lambda: ask(release, space, pod, "POST", "/v1/self/spans", posted))
    wait_for("all spans to be sent", lambda: sent(2))
    last_ms = int(time.time() * 1000)

    wait_for("the windows of all spans", lambda: reported_until_ms(release) >= last_ms)
    answer = ask(release, space, pod)
    ids = ",".join(span["id"] for span in answer["spans"])
    neighbour = ask(release, other, "noise", path=f"/v1/self?ids={ids}")
    kernel = [line for line in said() if "epoch" in line]
    yield Trained(space, other, pod, uid, first, answer, neighbour, kernel)
    release.helm()


def test_every_span_arrives_once_though_the_server_was_started_again(trained: Trained) -> None:
    assert [len(trained.spans(name)) for name in ("epoch", "pause")] == [3, 3]
    assert len(trained.answer["spans"]) == 7
    assert (trained.answer["run"], trained.answer["tracked"], trained.answer["pod_uid"]) == (
        "exp-42",
        True,
        trained.uid,
    )
    assert {span["id"] for span in trained.first["spans"]} <= {span["id"] for span in trained.answer["spans"]}
    assert [span["name"] for span in trained.first["spans"]] == ["pause"]


def test_spans_and_the_rest_are_what_the_ledger_holds_of_the_pod(release: Release, trained: Trained) -> None:
    answer, before = trained.answer, -1
    assert answer["energy_uj"] == answer["rest_uj"] + sum(span["energy_uj"] for span in answer["spans"])

    def same() -> bool:
        """Whether no report came between the two looks."""
        nonlocal before
        before = ledger_energy_uj(release, trained.uid)
        return bool(before == ask(release, trained.space, trained.pod)["energy_uj"])

    wait_for("the same figure in the ledger", same, 30)
    assert before >= answer["energy_uj"]


def test_a_span_has_the_energy_of_its_cpu_time_and_not_of_its_time(trained: Trained) -> None:
    live = [*trained.spans("epoch"), *trained.spans("pause")]
    counted = [line[name] for name in ("epoch", "pause") for line in trained.kernel]
    total_uj, total_us = sum(span["energy_uj"] for span in live), sum(counted)
    shares = [(span["energy_uj"] / total_uj, cpu_us / total_us) for span, cpu_us in zip(live, counted, strict=True)]
    assert {span["resolution"] for span in live} == {"weighted"}
    assert all(abs(energy - cpu) < 0.05 for energy, cpu in shares), shares


def test_the_energy_of_a_busy_neighbour_is_not_in_it(release: Release, trained: Trained) -> None:
    counted_us = release.pod_cpu_us(trained.uid) + PAST_US  # the kernel knows nothing of the past hour

    def booked_us() -> int:
        return release.booked_cpu_us(trained.uid)

    wait_for("the last of its CPU time", lambda: booked_us() >= 0.98 * counted_us, 3 * WINDOW_SECONDS)
    assert booked_us() <= 1.02 * counted_us
    assert trained.neighbour["energy_uj"] > 0
    assert trained.neighbour["pod_uid"] != trained.uid


def test_a_pod_of_another_namespace_with_the_same_run_sees_none_of_its_spans(trained: Trained) -> None:
    assert (trained.neighbour["namespace"], trained.neighbour["run"]) == (trained.other, "exp-42")
    assert trained.neighbour["spans"] == []


def test_figures_are_final_in_an_hour_that_is_over_and_provisional_in_this_one(trained: Trained) -> None:
    (past,) = (span for span in trained.answer["spans"] if span["id"] == "past")
    assert (past["state"], past["energy_uj"]) == ("final", PAST_UJ)
    live = [*trained.spans("epoch"), *trained.spans("pause")]
    assert {span["state"] for span in live} == {"provisional"}
    assert all(0 < span["low_ug"] <= span["emissions_ug"] <= span["high_ug"] for span in trained.spans("epoch"))


def test_usage_has_the_run_without_the_one_of_the_same_name_elsewhere(release: Release, trained: Trained) -> None:
    said = release.carbonbudget("usage", "-n", trained.space, "--window", "7d", "-o", "json").stdout
    (row,) = json.loads(said)["rows"]
    names = ("namespace", "run", "model", "model_version", "stage", "pods", "state")
    expected = [trained.space, "exp-42", "net", "1.3", "training", 1, "provisional"]
    assert [row[name] for name in names] == expected
    # With the shares of idle energy and overhead, which spans have in their emissions alone.
    assert int(row["energy_uj"]) >= trained.answer["energy_uj"]
