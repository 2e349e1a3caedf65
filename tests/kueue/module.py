"""Kueue's own files, from its Go module at the version that hack/tools/kueue/go.mod pins: its CRDs and its chart."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import wait_for

KUEUE = "sigs.k8s.io/kueue"
WORKLOADS_CRD = "workloads.kueue.x-k8s.io"
VERSIONS = ("v1beta1", "v1beta2")


@functools.cache
def directory() -> Path:
    """The unpacked module. Go keeps it in its module cache and checks it against go.sum.

    Without Go or a module proxy the test is skipped, or fails where CI must have them.
    """
    if shutil.which("go") is None:
        _missing("Go is not installed")
    done = subprocess.run(
        ["go", "mod", "download", "-json", KUEUE],
        cwd=ROOT / "hack" / "tools" / "kueue", env=os.environ | {"GOWORK": "off"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode:
        _missing((done.stderr or done.stdout).strip()[-300:])
    return Path(json.loads(done.stdout)["Dir"])


def _missing(why: str) -> NoReturn:
    reason = f"Kueue's CRDs are read from its Go module, which cannot be downloaded: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; CI=true allows no skip")
    pytest.skip(reason)


def apply_workloads_crd(cluster: Cluster, *versions: str) -> None:
    """Kueue's CRD of Workloads, established, with these versions or all.

    Without its conversion webhook, which needs a running Kueue.
    """
    path = directory() / "config" / "components" / "crd" / "bases" / "kueue.x-k8s.io_workloads.yaml"
    crd = yaml.load(path.read_text(), yaml.CSafeLoader)
    served = [one for one in crd["spec"]["versions"] if not versions or one["name"] in versions]
    served[-1]["storage"] = True  # the newest, as in Kueue
    crd["spec"]["versions"] = served
    # It is too large for the annotation of a client-side apply.
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(crd))
    # `kubectl wait` fails on an object that has no conditions yet.
    established = ("wait", "--for=condition=Established", "crd", WORKLOADS_CRD, "--timeout=5s")
    wait_for("the CRD", lambda: cluster.kubectl(*established, check=False).returncode == 0, 60)


def delete_workloads_crd(cluster: Cluster) -> None:
    """It and its Workloads; returns when they are gone."""
    cluster.kubectl("delete", "crd", WORKLOADS_CRD, "--ignore-not-found", "--timeout=60s")


def pod_sets() -> list[dict[str, object]]:
    """What a Workload must have beside its queue: one set of one pod."""
    return [{"name": "main", "count": 1, "template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}]
