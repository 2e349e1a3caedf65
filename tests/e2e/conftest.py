"""The chart, installed on the real cluster once for all end-to-end tests."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from tests.conftest import ROOT, Cluster

SYSTEM = "carbonbudget-system"
AGENTS = "carbonbudget-agent"
DEPLOYMENTS = {"carbonbudget-controller": 1, "carbonbudget-server": 1, "carbonbudget-admission": 2}
WINDOW_SECONDS = 10
T = TypeVar("T")
CHART = str(ROOT / "charts" / "carbonbudget")


def wait_for(what: str, ask: Callable[[], T | None], seconds: float = 120) -> T:
    """Ask until there is an answer (neither None nor False); fail with what was last seen."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)


@dataclass(frozen=True)
class Release:
    """The installed chart."""

    cluster: Cluster
    volumes: Path

    def values(self) -> list[str]:
        """The settings of the tests: short windows, local images, this machine's paths."""
        values = [
            f"windowSeconds={WINDOW_SECONDS}",
            "agent.intervalSeconds=2",
            "images.agent.tag=dev",
            "images.operator.tag=dev",
            f"server.persistence.hostPath={self.volumes}/ledger",
            f"agent.outboxHostPath={self.volumes}/outbox",
        ]
        if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            values.append("agent.cgroupMounts={/sys/fs/cgroup/cpuacct,/sys/fs/cgroup/memory}")
        return [argument for value in values for argument in ("--set", value)]

    def helm(self, *more: str) -> None:
        """Install or upgrade, then wait until everything runs."""
        self.cluster.run(
            "helm", "upgrade", "--install", "carbonbudget", CHART, "-n", SYSTEM, "--create-namespace",
            *self.values(), *more,
        )  # fmt: skip
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until every workload has the pods it wants, ready."""
        for name in DEPLOYMENTS:
            self.cluster.kubectl("-n", SYSTEM, "rollout", "status", f"deploy/{name}", "--timeout=180s")
        self.cluster.kubectl("-n", AGENTS, "rollout", "status", "ds/carbonbudget-agent", "--timeout=180s")

    def scale(self, replicas: int | None) -> None:
        """Scale controller, server and webhook to `replicas` and wait; None restores them."""
        for name, normal in DEPLOYMENTS.items():
            wanted = normal if replicas is None else replicas
            self.cluster.kubectl("-n", SYSTEM, "scale", f"--replicas={wanted}", f"deploy/{name}")
        if replicas == 0:
            wait_for("our pods to end", lambda: not self.cluster.get("-n", SYSTEM, "pods")["items"])
        else:
            self.wait_ready()

    def carbonbudget(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command inside the server's pod."""
        return self.cluster.kubectl(
            "-n", SYSTEM, "exec", "deploy/carbonbudget-server", "-c", "server", "--", "carbonbudget", *args,
            check=check,
        )  # fmt: skip

    def budget(self, namespace: str, name: str) -> dict[str, object]:
        """A budget's status; empty before the first verdict."""
        status = self.cluster.get("-n", namespace, "carbonbudget", name).get("status", {})
        assert isinstance(status, dict)
        return status

    def apply(self, *manifests: dict[str, object]) -> None:
        """Apply objects."""
        self.cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, manifests)))


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Iterator[Release]:
    """The chart, installed; uninstalled at the end with all that an uninstall keeps."""
    made = Release(cluster, volumes=cluster.kubeconfig.parent / "volumes")
    made.helm()
    yield made
    cluster.run("helm", "uninstall", "carbonbudget", "-n", SYSTEM, "--ignore-not-found", "--wait")
    cluster.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found")
    cluster.kubectl("delete", "crd", "carbonbudgets.carbonbudget.dev", "--ignore-not-found")


def busy_pod(name: str, namespace: str, labels: dict[str, str], script: str, cpu: str = "400m") -> dict[str, object]:
    """A bare pod that runs a shell script."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": pod_spec(script, cpu),
    }


def job(name: str, namespace: str, labels: dict[str, str], script: str = "true") -> dict[str, object]:
    """A Job that runs a shell script once."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod_spec(script, "100m")}},
    }


def pod_spec(script: str, cpu: str) -> dict[str, object]:
    """One busybox container with a CPU limit."""
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "main",
                "image": "busybox:dev",
                "command": ["sh", "-c", script],
                "resources": {"requests": {"cpu": "50m", "memory": "8Mi"}, "limits": {"cpu": cpu}},
            }
        ],
    }
