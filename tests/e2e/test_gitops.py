"""A GitOps controller against a budget that suspends: the whole chart is in force, and nothing is written by hand."""

from __future__ import annotations

import json
import time

import pytest
from tests.conftest import Cluster
from tests.e2e.conftest import WINDOW_SECONDS, Manifest, Release, budget, job, wait_for
from tests.e2e.test_suspend import OPTED_IN, metadata, reasons, suspended

pytestmark = pytest.mark.cluster

# Its own account; what it may do is not the matter here.
GITOPS = ("--as=system:serviceaccount:argocd:application-controller", "--as-group=system:masters")
SUSPEND = [{"at": 100, "action": "Suspend"}]


def in_git(name: str, namespace: str, suspend: bool) -> Manifest:
    """A Job whose manifest says whether it runs."""
    made = job(name, namespace, {}, "while true; do :; done")
    made["metadata"]["labels"] = OPTED_IN  # type: ignore[index] # a manifest
    made["spec"]["suspend"] = suspend  # type: ignore[index] # a manifest
    return made


def sync(cluster: Cluster, manifest: Manifest) -> str:
    """What a sync does, by server-side apply; what is said on stderr, if it fails."""
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd", "-f", "-")
    done = cluster.kubectl(*GITOPS, *apply, stdin=json.dumps(manifest), check=False)
    return done.stderr if done.returncode else ""


def pods(cluster: Cluster, namespace: str) -> str:
    """The uids of the Job's pods that are not going."""
    items = cluster.get("-n", namespace, "pods", "-l", "batch.kubernetes.io/job-name=train")["items"]
    assert isinstance(items, list)
    return " ".join(p["metadata"]["uid"] for p in items if "deletionTimestamp" not in p["metadata"])


def test_gitops_resumes_what_we_suspended_again_and_again_and_is_named_not_fought(
    release: Release, namespace: str
) -> None:
    cluster = release.cluster
    train, waiting = in_git("train", namespace, False), in_git("waiting", namespace, True)
    assert (sync(cluster, train), sync(cluster, waiting)) == ("", "")
    release.apply(
        budget(namespace, "none", limit="0g", period="Month", thresholds=SUSPEND, enforce={"grace": "1s"}),
    )
    wait_for("the suspension", lambda: suspended(cluster, namespace, "train"), seconds=240)

    # The webhook is in force: what its owner suspended may not start now.
    refused = wait_for("a refusal", lambda: sync(cluster, in_git("waiting", namespace, False)), seconds=15)
    assert "growth.carbonbudget.dev" in refused
    assert "(Job waiting is resumed)" in refused

    assert sync(cluster, train) == "", "told as a conflict, and not refused"
    first = wait_for("its pod", lambda: pods(cluster, namespace), seconds=60)

    def conflict() -> str:
        conditions = release.budget(namespace, "none")["conditions"]
        assert isinstance(conditions, list)
        found = next(one for one in conditions if one["type"] == "EnforcementConflict")
        return found["message"] if found["status"] == "True" else ""

    told = wait_for("the condition", lambda: conflict() or None, seconds=6 * WINDOW_SECONDS)
    assert told == f"suspended Jobs were resumed and are left running: {namespace}/train by argocd"

    end = time.monotonic() + 3 * WINDOW_SECONDS
    while time.monotonic() < end:
        assert sync(cluster, train) == ""
        assert not suspended(cluster, namespace, "train")
        time.sleep(WINDOW_SECONDS / 4)
    assert pods(cluster, namespace) == first, "its pod was never taken away again"
    assert conflict() == told
    assert "carbonbudget.dev/suspended" in metadata(cluster, namespace, "train")[0]
    assert "ResumedByCarbonBudget" not in reasons(cluster, namespace, "train")
