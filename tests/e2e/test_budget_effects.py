"""The whole line on a real cluster: a pod's CPU second becomes a figure, a warning, a refused Job."""

from __future__ import annotations

import datetime as dt
import json
import time

import pytest
from tests.conftest import ROOT
from tests.e2e.conftest import AGENTS, DEPLOYMENTS, SYSTEM, WINDOW_SECONDS, Release, budget, job, pod, wait_for

pytestmark = pytest.mark.cluster

BUSY = "while true; do :; done"
_ROUND = 1_200_000  # turns of a loop of busybox's shell
TRAINING, SERVING = {"project": "training"}, {"project": "serving"}


@pytest.fixture(scope="module")
def exceeded(release: Release, space: str) -> str:
    """A namespace with two busy pods, a budget that one of them used up, one that warns, one that is roomy."""
    now = dt.datetime.now(dt.UTC)
    span = {
        "start": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end": (now + dt.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "contact": "#ml-platform",
    }
    block = [{"at": 50, "action": "Warn"}, {"at": 100, "action": "Block"}]
    release.apply(
        budget(space, "training", limit="2mg", selector={"matchLabels": TRAINING}, thresholds=block, **span),
        budget(
            space,
            "serving",
            limit="100mg",
            selector={"matchLabels": SERVING},
            thresholds=[{"at": 1, "action": "Warn"}],
            **span,
        ),
        budget(space, "roomy", limit="5kg", **span),
        pod("train", space, TRAINING, BUSY),
        pod("serve", space, SERVING, BUSY),
    )
    wait_for("the budget to block", lambda: "enforcement" in release.budget(space, "training"), seconds=240)
    return space


def test_a_job_over_budget_is_refused_with_the_budgets_message(release: Release, exceeded: str) -> None:
    said = release.refusal(job("late", exceeded, TRAINING))
    assert "carbon budget training: used " in said
    assert "ask #ml-platform; see: kubectl -n " in said


def test_a_job_under_a_budget_that_warns_is_created_with_a_warning(release: Release, exceeded: str) -> None:
    wait_for("the warning", lambda: release.budget(exceeded, "serving").get("state") == "Warning", seconds=240)

    def warned() -> str | None:
        code, said = release.create(job("warned", exceeded, SERVING), "--dry-run=server")
        assert code == 0
        return said if "Warning: " in said else None

    assert "Warning: carbon budget serving: used " in wait_for("the webhook to follow", warned, seconds=20)


def test_a_roomy_budget_stays_within(release: Release, exceeded: str) -> None:
    status = wait_for("a verdict", lambda: release.budget(exceeded, "roomy") or None)
    assert (status["state"], status["percentUsed"], status["action"]) == ("WithinBudget", 0, "")


def test_a_status_says_how_it_was_found_and_how_far_it_reaches(release: Release, exceeded: str) -> None:
    status = release.budget(exceeded, "training")
    assert (status["state"], status["action"], status["remaining"]) == ("Exceeded", "Block", "0mg")
    conditions = {c["type"]: c["status"] for c in status["conditions"]}  # type: ignore[attr-defined,index] # JSON
    assert conditions == {
        "Ready": "True", "FiguresExact": "True", "EnforcementEffective": "True", "DataComplete": "True",
        "WithinBudget": "False", "EnforcementConflict": "False",
    }  # fmt: skip
    measured_by = release.cluster.kubectl("-n", AGENTS, "logs", "ds/carbonbudget-agent").stdout
    assert (status["measured"] == 0) == ("meter rapl: /host/sys/class/powercap is not there" in measured_by)


def test_a_change_of_state_leaves_an_event(release: Release, exceeded: str) -> None:
    events = json.loads(release.cluster.kubectl("-n", exceeded, "get", "events", "-o", "json").stdout)
    about = {
        event["reason"]
        for event in events["items"]
        if (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("CarbonBudget", "training")
    }
    assert "BudgetExceeded" in about


def test_kubectl_get_shows_the_columns(release: Release, exceeded: str) -> None:
    header, *_ = release.cluster.kubectl("-n", exceeded, "get", "carbonbudgets").stdout.splitlines()
    columns = "NAME LIMIT USED PERCENT STATE ACTION ENDS AGE"
    assert " ".join(header.split()) == columns
    wide, *_ = release.cluster.kubectl("-n", exceeded, "get", "carbonbudgets", "-o", "wide").stdout.splitlines()
    assert " ".join(wide.split()) == f"{columns} EFFECTIVE FORECAST PER ACCOUNTING READY AS OF"


def test_the_refusal_outlives_controller_server_and_webhook(release: Release, exceeded: str) -> None:
    release.scale(0)
    try:
        assert "carbon budget training" in release.refusal(job("late", exceeded, TRAINING))
    finally:
        release.scale(None)


def test_a_raised_limit_admits_again(release: Release, exceeded: str) -> None:
    patch = ("-n", exceeded, "patch", "carbonbudget", "training", "--type=merge", "-p")
    release.cluster.kubectl(*patch, '{"spec": {"limit": "5kg"}}')
    try:
        wait_for(
            "the Job to be admitted",
            lambda: release.create(job("raised", exceeded, TRAINING), "--dry-run=server")[0] == 0,
            seconds=30,
        )
    finally:
        release.cluster.kubectl(*patch, '{"spec": {"limit": "2mg"}}')
    release.refusal(job("late", exceeded, TRAINING))


def test_the_controller_recovers_from_a_restarted_api_server(release: Release, exceeded: str) -> None:
    component = ("-l", "app.kubernetes.io/component=controller")
    restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    count = ("-n", SYSTEM, "get", "pods", *component, "-o", restarts)
    before = release.cluster.kubectl(*count).stdout
    seen = release.budget(exceeded, "serving")["usedMicrograms"]
    release.cluster.run(str(ROOT / "hack" / "cluster"), "restart", "kube-apiserver")
    wait_for("a newer verdict", lambda: release.budget(exceeded, "serving")["usedMicrograms"] != seen, seconds=180)
    assert release.cluster.kubectl(*count).stdout == before


@pytest.fixture(scope="module")
def after_faults(release: Release, space: str) -> dict[str, tuple[int, int]]:
    """CPU microseconds of two pods by the kernel's count and by the ledger's, two windows after all was quiet again:
    a loss would have been made up for by then, and a double would show.
    """
    # The pod's whole life falls into the time without a server.
    release.scale(0, "carbonbudget-server")
    try:
        away = _burn(release, space, "alone", 4)
        used_us = {away: _settled_cpu_us(release, space, "alone")}
    finally:
        release.scale(None, "carbonbudget-server")
    killed = _burn(release, space, "finite", 5)
    wait_for("the pod to burn", lambda: release.pod_cpu_us(killed) > 2_000_000)
    # In the middle of a window, where an open one has the most to lose.
    time.sleep((1.5 * WINDOW_SECONDS - time.time() % WINDOW_SECONDS) % WINDOW_SECONDS)
    release.kill_agent()
    used_us[killed] = _settled_cpu_us(release, space, "finite")
    for name, uid in (("away", away), ("killed", killed)):
        _await_booked(release, name, uid, used_us[uid])
    time.sleep(2 * WINDOW_SECONDS)  # no condition would end sooner where something is counted twice
    return {name: (used_us[uid], release.booked_cpu_us(uid)) for name, uid in (("away", away), ("killed", killed))}


def test_nothing_is_lost_while_the_server_is_away(after_faults: dict[str, tuple[int, int]]) -> None:
    kernel_us, booked_us = after_faults["away"]
    assert booked_us == pytest.approx(kernel_us, rel=0.01)


def test_an_agent_killed_in_mid_window_counts_nothing_twice_and_loses_nothing(
    after_faults: dict[str, tuple[int, int]],
) -> None:
    kernel_us, booked_us = after_faults["killed"]
    assert booked_us == pytest.approx(kernel_us, rel=0.01)


def test_the_ledger_conserves_to_the_microjoule(release: Release, exceeded: str) -> None:
    said = release.carbonbudget("ledger", "check", "--config", "/etc/carbonbudget/config/config.yaml").stdout
    assert "conserves to the microjoule" in said


def test_pods_count_for_their_deployment_and_no_node_is_missing(release: Release, exceeded: str) -> None:
    config = ("--config", "/etc/carbonbudget/config/config.yaml", "-o", "json")
    days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() + day * 86_400)) for day in (0, 1)]

    wanted = {f"Deployment/{name}" for name in DEPLOYMENTS}

    def workloads() -> set[str] | None:
        asked = ("allocate", *config, "--from", days[0], "--to", days[1], "--group-by", "namespace,workload")
        rows = json.loads(release.carbonbudget(*asked).stdout)["rows"]
        found = {row["key"]["workload"] for row in rows if row["key"].get("namespace") == SYSTEM}
        return found if wanted <= found else None

    wait_for("the owners", workloads)
    report = release.carbonbudget("report", *config, "--period", days[0])
    assert json.loads(report.stdout)["nodes_without_reports"] == []


def _burn(release: Release, space: str, name: str, rounds: int) -> str:
    """The uid of a pod that is busy for so many rounds (a second of CPU time each, more or less), then rests."""
    busy = f"i=0; while [ $i -lt {rounds * _ROUND} ]; do i=$((i+1)); done; echo rests; sleep 600"
    release.apply(pod(name, space, {}, busy))
    release.cluster.kubectl("-n", space, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    return release.uid(space, "pod", name)


def _settled_cpu_us(release: Release, space: str, name: str) -> int:
    """A pod's CPU time once it only sleeps. On a busy machine a pod may stand still before."""
    uid = release.uid(space, "pod", name)
    logs = ("-n", space, "logs", name)
    wait_for(f"{name} to rest", lambda: "rests" in release.cluster.kubectl(*logs).stdout, seconds=180)
    last = [-1]

    def still() -> int | None:
        now = release.pod_cpu_us(uid)
        settled = now - last[0] < 2_000
        last[0] = now
        return now if settled else None

    return wait_for("its counter to stand still", still, seconds=30)


def _await_booked(release: Release, name: str, uid: str, used_us: int) -> None:
    wait_for(f"the ledger to have it: {name}", lambda: release.booked_cpu_us(uid) >= used_us * 99 // 100, seconds=90)
