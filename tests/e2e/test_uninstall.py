"""An uninstall: nothing left behind blocks anything, budgets and ledger stay. Named to run last."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.e2e.conftest import Release, budget, job, wait_for
from tests.e2e.test_policy import set_block
from tests.e2e.test_suspend import OPTED_IN, metadata, running, suspended

pytestmark = pytest.mark.cluster


def test_an_uninstall_keeps_budgets_and_ledger_and_blocks_nothing(release: Release, namespace: str) -> None:
    release.apply(budget(namespace, "tight", limit="1g", period="Month"))
    release.scale(0, "carbonbudget-controller")
    set_block(release, namespace, "tight", dt.timedelta(hours=1))
    release.refusal(job("j", namespace, {}))
    release.uninstall()
    try:
        assert release.create(job("j", namespace, {}), "--dry-run=server")[0] == 0
        assert release.cluster.kubectl("-n", namespace, "get", "carbonbudget", "tight", "-o", "name").stdout
        assert (release.volumes / "ledger" / "ledger.db").exists()
        kinds = "validatingadmissionpolicy,validatingwebhookconfiguration,clusterrole,clusterrolebinding"
        left = release.cluster.kubectl("get", kinds, "-l", "app.kubernetes.io/name=carbonbudget", "-o", "name").stdout
        assert left == ""
    finally:
        release.helm()  # and it can be installed again over what it kept


def test_an_uninstall_resumes_what_a_running_controller_suspended(release: Release, namespace: str) -> None:
    """It would suspend again in its next window, so the hook stops it first."""
    cluster = release.cluster
    train = job("train", namespace, {}, "while true; do :; done")
    train["metadata"]["labels"] = OPTED_IN  # type: ignore[index] # a manifest
    suspend = [{"at": 100, "action": "Suspend"}]
    release.apply(
        train,
        budget(namespace, "none", limit="0g", period="Month", thresholds=suspend, enforce={"grace": "1s"}),
    )
    wait_for("the suspension", lambda: suspended(cluster, namespace, "train"), seconds=240)
    release.uninstall()
    try:
        assert not suspended(cluster, namespace, "train")
        wait_for("its pod", lambda: running(cluster, namespace, "train"), seconds=60)
        assert metadata(cluster, namespace, "train")[0] == OPTED_IN
        found = cluster.get("-n", namespace, "carbonbudget", "none")
        assert "enforcement" not in found["status"]  # type: ignore[operator] # JSON
        assert "carbonbudget.dev/blocking" not in found["metadata"].get("labels", {})  # type: ignore[attr-defined] # JSON
        left = ("get", "job,pod,serviceaccount,role,rolebinding", "-n", "carbonbudget-system", "-o", "name")
        assert "carbonbudget-release" not in cluster.kubectl(*left).stdout
    finally:
        release.helm()
