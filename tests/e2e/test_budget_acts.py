"""The whole line on a real cluster: a pod's CPU second becomes a figure, a warning, a refused Job."""

from __future__ import annotations

import datetime as dt
import json
import time

import pytest
from tests.conftest import Cluster
from tests.e2e.conftest import AGENTS, SYSTEM, WINDOW_SECONDS, Release, busy_pod, job, wait_for

pytestmark = pytest.mark.cluster

BUSY = "while true; do :; done"


def a_budget(
    namespace: str, name: str, limit: str, labels: dict[str, str], *thresholds: tuple[int, str]
) -> dict[str, object]:
    now = dt.datetime.now(dt.UTC)
    spec: dict[str, object] = {
        "limit": limit,
        "start": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end": (now + dt.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "selector": {"matchLabels": labels},
        "contact": "#ml-platform",
    }
    if thresholds:
        spec["thresholds"] = [{"at": at, "action": action} for at, action in thresholds]
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": "CarbonBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def create(cluster: Cluster, manifest: dict[str, object], *more: str) -> tuple[int, str]:
    """Create an object as a person would: the exit code, and what kubectl said on stderr."""
    done = cluster.kubectl("create", "-f", "-", *more, stdin=json.dumps(manifest), check=False)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def exceeded(release: Release) -> str:
    """A namespace with a busy pod and a budget that it used up; and one that only warns."""
    namespace = f"acts-{int(time.time())}"
    release.cluster.kubectl("create", "namespace", namespace)
    release.apply(
        a_budget(namespace, "training", "4mg", {"project": "training"}, (50, "Warn"), (100, "Block")),
        a_budget(namespace, "serving", "1g", {"project": "serving"}, (1, "Warn")),
        a_budget(namespace, "roomy", "5kg", {"project": "training"}),
        busy_pod("train", namespace, {"project": "training"}, BUSY),
        busy_pod("serve", namespace, {"project": "serving"}, BUSY),
    )
    wait_for(
        "the budget to be exceeded",
        lambda: "enforcement" in release.budget(namespace, "training"),
        seconds=240,
    )
    return namespace


def refusal(release: Release, namespace: str) -> str:
    """What a Job of the exceeded budget is refused with; waits for the API server to follow the status."""

    def refused() -> str | None:
        code, said = create(release.cluster, job("late", namespace, {"project": "training"}), "--dry-run=server")
        return said if code else None

    return wait_for("a Job to be refused", refused, seconds=15)


def test_a_job_over_budget_is_refused_with_the_budgets_message(release: Release, exceeded: str) -> None:
    said = refusal(release, exceeded)
    assert "carbon budget training" in said
    assert "#ml-platform" in said


def test_a_bare_pod_over_budget_is_refused_too(release: Release, exceeded: str) -> None:
    refusal(release, exceeded)
    code, said = create(release.cluster, busy_pod("late", exceeded, {"project": "training"}, "true"))
    assert code != 0
    assert "carbon budget training" in said


def test_a_pod_with_a_forged_owner_is_judged(release: Release, exceeded: str) -> None:
    refusal(release, exceeded)
    pod = busy_pod("forged", exceeded, {"project": "training"}, "true")
    pod["metadata"]["ownerReferences"] = [  # type: ignore[index] # a manifest
        {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "0" * 8, "controller": True}
    ]
    code, said = create(release.cluster, pod)
    assert code != 0
    assert "carbon budget training" in said


def test_a_job_of_another_label_is_admitted(release: Release, exceeded: str) -> None:
    refusal(release, exceeded)
    assert create(release.cluster, job("other", exceeded, {"project": "other"}))[0] == 0


def test_a_job_under_a_budget_that_warns_is_created_with_a_warning(release: Release, exceeded: str) -> None:
    wait_for("the warning", lambda: release.budget(exceeded, "serving").get("state") == "Warning", seconds=240)

    def warned() -> str | None:
        code, said = create(release.cluster, job("warned", exceeded, {"project": "serving"}), "--dry-run=server")
        assert code == 0
        return said if "Warning: " in said else None

    said = wait_for("the webhook to follow", warned, seconds=20)
    assert "carbon budget serving" in said


def test_a_namespace_labelled_off_is_not_judged(release: Release, exceeded: str) -> None:
    refusal(release, exceeded)
    label = ("label", "namespace", exceeded, "--overwrite")
    release.cluster.kubectl(*label, "carbonbudget.dev/enforcement=off")
    try:

        def admitted() -> bool:
            return create(release.cluster, job("off", exceeded, {"project": "training"}), "--dry-run=server")[0] == 0

        wait_for("the label to be seen", admitted, seconds=15)
    finally:
        release.cluster.kubectl(*label, "carbonbudget.dev/enforcement-")


def test_a_roomy_budget_stays_within_and_says_what_is_left(release: Release, exceeded: str) -> None:
    status = wait_for("a verdict", lambda: release.budget(exceeded, "roomy") or None)
    assert status["state"] == "WithinBudget"
    assert status["percentUsed"] == 0


def test_the_status_says_what_was_modelled(release: Release, exceeded: str) -> None:
    status = release.budget(exceeded, "training")
    assert status["measured"] == 0  # a virtual machine without RAPL
    assert status["state"] == "Exceeded"
    assert status["action"] == "Block"


def test_each_change_of_state_left_an_event(release: Release, exceeded: str) -> None:
    events = release.cluster.kubectl("-n", exceeded, "get", "events", "-o", "json").stdout
    about = [
        event["reason"]
        for event in json.loads(events)["items"]
        if event["involvedObject"].get("name") == "training" and event["involvedObject"].get("kind") == "CarbonBudget"
    ]
    assert "BudgetExceeded" in about


def test_kubectl_get_shows_the_columns(release: Release, exceeded: str) -> None:
    header, *_ = release.cluster.kubectl("-n", exceeded, "get", "carbonbudgets").stdout.splitlines()
    assert header.split() == ["NAME", "LIMIT", "USED", "PERCENT", "STATE", "ACTION", "RESETS", "AGE"]


def test_the_refusal_outlives_controller_server_and_webhook(release: Release, exceeded: str) -> None:
    refusal(release, exceeded)
    release.scale(0)
    try:
        assert "carbon budget training" in refusal(release, exceeded)
    finally:
        release.scale(None)


def test_the_controller_recovers_from_a_restarted_api_server(release: Release, exceeded: str) -> None:
    pods = (
        "-n",
        SYSTEM,
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/component=controller",
        "-o",
        "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
    )
    before = release.cluster.kubectl(*pods).stdout
    release.cluster.run(str(release.cluster.hack), "restart", "kube-apiserver")
    seen = release.budget(exceeded, "training")["observedAt"]
    wait_for(
        "a newer verdict",
        lambda: release.budget(exceeded, "training")["observedAt"] != seen,
        seconds=180,
    )
    assert release.cluster.kubectl(*pods).stdout == before


def test_an_agent_killed_in_mid_window_counts_nothing_twice_and_loses_nothing(release: Release) -> None:
    namespace = f"killed-{int(time.time())}"
    release.cluster.kubectl("create", "namespace", namespace)
    # Ten seconds of CPU, then silence: what was used can be compared with what was booked.
    release.apply(
        busy_pod(
            "finite", namespace, {}, "end=$(($(date +%s)+25)); while [ $(date +%s) -lt $end ]; do :; done; sleep 3600"
        )
    )
    release.cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/finite", "--timeout=60s")
    time.sleep(WINDOW_SECONDS * 0.7)  # into a window: this test is about a moment, not a condition
    release.kill_agent()
    used_us = release.idle_cpu_us(namespace, "finite")
    booked_us = wait_for(
        "the ledger to have all of it",
        lambda: release.booked_cpu_us(namespace, "finite", at_least=used_us * 99 // 100),
        seconds=120,
    )
    assert abs(booked_us - used_us) <= used_us // 100


def test_the_ledger_conserves_to_the_microjoule(release: Release, exceeded: str) -> None:
    said = release.carbonbudget("ledger", "check", "--config", "/etc/carbonbudget/config/config.yaml").stdout
    assert "conserves to the microjoule" in said


def test_the_agent_holds_no_capability_and_cannot_write_below_sys(release: Release) -> None:
    shell = ("-n", AGENTS, "exec", "ds/carbonbudget-agent", "--", "python3", "-c")
    status = release.cluster.kubectl(*shell, "print(open('/proc/1/status').read())").stdout
    assert "CapEff:\t0000000000000000" in status
    probe = "import os; os.mkdir('/host/sys/fs/cgroup/cpuacct/intruder')"
    assert release.cluster.kubectl(*shell, probe, check=False).returncode != 0
