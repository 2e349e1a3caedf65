"""An uninstall: nothing left behind blocks anything, budgets and ledger stay. Named to run last."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import SYSTEM, Release, budget, job, wait_for
from tests.e2e.test_suspend import OPTED_IN, metadata, running, suspended

pytestmark = pytest.mark.cluster


def test_an_uninstall_leaves_nothing_that_acts_and_keeps_budgets_and_ledger(release: Release, namespace: str) -> None:
    """A running controller would suspend again in its next window, so the hook stops it first."""
    cluster = release.cluster
    train = job("train", namespace, {}, "while true; do :; done")
    train["metadata"]["labels"] = OPTED_IN  # type: ignore[index] # a manifest
    acting = [{"at": 50, "action": "Block"}, {"at": 100, "action": "Suspend"}]
    release.apply(
        train,
        budget(namespace, "none", limit="0g", period="Month", thresholds=acting, enforce={"grace": "1s"}),
    )
    wait_for("the suspension", lambda: suspended(cluster, namespace, "train"), seconds=240)
    release.refusal(job("j", namespace, {}))
    release.uninstall()
    try:
        assert release.create(job("j", namespace, {}), "--dry-run=server")[0] == 0
        assert not suspended(cluster, namespace, "train")
        wait_for("its pod", lambda: running(cluster, namespace, "train"), seconds=60)
        assert metadata(cluster, namespace, "train")[0] == OPTED_IN
        found = cluster.get("-n", namespace, "carbonbudget", "none")
        assert "enforcement" not in found["status"]  # type: ignore[operator] # JSON
        assert "carbonbudget.dev/blocking" not in found["metadata"].get("labels", {})  # type: ignore[attr-defined] # JSON
        assert (release.volumes / "ledger" / "ledger.db").exists()
        kinds = "validatingadmissionpolicy,validatingwebhookconfiguration,mutatingwebhookconfiguration"
        kinds += ",clusterrole,clusterrolebinding"
        left = cluster.kubectl("get", kinds, "-l", "app.kubernetes.io/name=carbonbudget", "-o", "name").stdout
        assert left == ""
        left = cluster.kubectl("get", "job,pod,serviceaccount,role,rolebinding", "-n", SYSTEM, "-o", "name").stdout
        assert "carbonbudget-release" not in left
    finally:
        release.helm()  # and it can be installed again over what it kept
