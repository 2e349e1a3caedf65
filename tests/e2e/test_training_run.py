"""A training run's life on the real cluster, nothing written by hand: its own budget suspends it, a raise resumes it,
after its end its annotations and an Event have what it emitted."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import WINDOW_SECONDS, Manifest, Release, budget, job, wait_for
from tests.e2e.test_suspend import OPTED_IN, metadata, reasons, running, suspended

from carbonbudget_operator.enforcement.job_fields import instant, parse_job

pytestmark = pytest.mark.cluster

BUSY = "while true; do :; done"
RUNS = {"selector": {"matchLabels": {"project": "training"}}, "period": "Month"}


def training(name: str, namespace: str, script: str) -> Manifest:
    made = job(name, namespace, {"project": "training"}, script)
    made["metadata"]["labels"] = OPTED_IN  # type: ignore[index] # a manifest
    return made


def test_a_run_over_its_own_budget_is_suspended_alone_and_a_raise_resumes_it(release: Release, namespace: str) -> None:
    cluster = release.cluster
    release.apply(
        budget(
            namespace,
            "run",
            limit="4mg",
            per="Workload",
            thresholds=[{"at": 100, "action": "Suspend"}],
            enforce={"grace": "5s"},
            **RUNS,
        ),
        training("large", namespace, BUSY),
        training("small", namespace, "sleep 3600"),
    )
    wait_for("the announcement", lambda: reasons(cluster, namespace, "large").get("SuspendAnnounced"), seconds=240)
    wait_for("the suspension", lambda: suspended(cluster, namespace, "large"), seconds=40)
    assert not suspended(cluster, namespace, "small")
    assert release.create(training("next", namespace, "true"), "--dry-run=server")[0] == 0
    status = release.budget(namespace, "run")
    assert (status["state"], status["action"]) == ("Exceeded", "Suspend")
    raised = '{"spec": {"limit": "5kg"}}'
    cluster.kubectl("-n", namespace, "patch", "carbonbudget", "run", "--type=merge", "-p", raised)
    wait_for("the resumption", lambda: not suspended(cluster, namespace, "large"), seconds=60)
    wait_for("its pod", lambda: running(cluster, namespace, "large"), seconds=60)


def test_more_than_ten_runs_over_their_limit_are_all_suspended(release: Release, namespace: str) -> None:
    """What they reserve is theirs though they sleep, and any use of a limit of 0 is over it."""
    cluster = release.cluster
    names = [f"run-{number}" for number in range(12)]
    suspend = [{"at": 100, "action": "Suspend"}]
    release.apply(
        budget(namespace, "none", limit="0g", per="Workload", thresholds=suspend, enforce={"grace": "1s"}, **RUNS),
        *(training(name, namespace, "sleep 3600") for name in names),
    )
    wait_for("all of them", lambda: all(suspended(cluster, namespace, name) for name in names), seconds=240)
    named = release.budget(namespace, "none")["topWorkloads"]
    assert isinstance(named, list)
    assert {one["name"] for one in named} == set(names)


def test_a_run_that_ends_has_its_figures_and_if_it_is_deleted_before_its_hour_is_over_its_event(
    release: Release, namespace: str
) -> None:
    cluster = release.cluster
    release.apply(
        budget(namespace, "run", limit="5kg", **RUNS),
        training("short", namespace, "end=$(($(date +%s)+8)); while [ $(date +%s) -lt $end ]; do :; done"),
    )
    wait_for(
        "the figures",
        lambda: "carbonbudget.dev/energy" in metadata(cluster, namespace, "short")[1],
        seconds=120 + 4 * WINDOW_SECONDS,
    )
    annotations = metadata(cluster, namespace, "short")[1]
    assert annotations["carbonbudget.dev/budget"] == f"{namespace}/run"
    assert annotations["carbonbudget.dev/state"] == "WithinBudget"
    assert annotations["carbonbudget.dev/emissions"] not in ("0mg", "")
    finished_at = parse_job(cluster.get("-n", namespace, "job", "short")).finished_at
    hour_end = finished_at - finished_at % 3600 + 3600
    # Final only where an hour ended in these seconds.
    final = instant(annotations["carbonbudget.dev/as-of"]) >= hour_end
    assert ("carbonbudget.dev/final" in annotations) == final
    assert final or "CarbonEmitted" not in reasons(cluster, namespace, "short")
    cluster.kubectl("-n", namespace, "delete", "job", "short")
    message = wait_for(
        "the Event", lambda: reasons(cluster, namespace, "short").get("CarbonEmitted"), seconds=3 * WINDOW_SECONDS
    )
    assert message.startswith("short emitted ")
    through = instant(message.partition("by reports up to ")[2].partition(";")[0])
    assert ("the figure may change until the hour is over" in message) == (through < hour_end)
