"""An uninstall: nothing left behind blocks anything, budgets and ledger stay. Named to run last."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.e2e.conftest import Release, budget, job
from tests.e2e.test_policy import set_block

pytestmark = pytest.mark.cluster


def test_an_uninstall_keeps_budgets_and_ledger_and_blocks_nothing(release: Release, namespace: str) -> None:
    release.apply(budget(namespace, "tight", limit="1g", period="Month"))
    release.scale(0, "carbonbudget-controller")
    set_block(release, namespace, "tight", dt.timedelta(hours=1))
    release.refusal(job("j", namespace, {}))
    release.uninstall()
    assert release.create(job("j", namespace, {}), "--dry-run=server")[0] == 0
    assert release.cluster.kubectl("-n", namespace, "get", "carbonbudget", "tight", "-o", "name").stdout
    assert (release.volumes / "ledger" / "ledger.db").exists()
    kinds = "validatingadmissionpolicy,validatingwebhookconfiguration,clusterrole,clusterrolebinding"
    left = release.cluster.kubectl("get", kinds, "-l", "app.kubernetes.io/name=carbonbudget", "-o", "name").stdout
    assert left == ""
    release.helm()  # and it can be installed again over what it kept
