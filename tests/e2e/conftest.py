"""The chart, installed on the real cluster once for all end-to-end tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from tests.conftest import ROOT, Cluster

SYSTEM = "carbonbudget-system"
AGENTS = "carbonbudget-agent"
DEPLOYMENTS = {"carbonbudget-controller": 1, "carbonbudget-server": 1, "carbonbudget-admission": 2}
WINDOW_SECONDS = 10
CHART = str(ROOT / "charts" / "carbonbudget")
CGROUPS = Path("/sys/fs/cgroup")
# Named as the files are: GROUP_PLURAL.yaml.
CRDS = tuple(sorted(".".join(reversed(path.stem.split("_"))) for path in (ROOT / "crds").glob("*.yaml")))
T = TypeVar("T")
Manifest = dict[str, object]


def wait_for(what: str, ask: Callable[[], T | None], seconds: float = 120) -> T:
    """Ask until there is an answer: neither None nor False, and not an empty list, table or text."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer is not None and answer is not False and not (isinstance(answer, Sized) and not len(answer)):
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)


@dataclass(frozen=True)
class Release:
    """The installed chart."""

    # kubectl reads before it writes, and the controller may not: so as an administrator who bears its name.
    AS_CONTROLLER: ClassVar = (
        f"--as=system:serviceaccount:{SYSTEM}:carbonbudget-controller",
        "--as-group=system:masters",
    )

    cluster: Cluster
    volumes: Path

    def values(self) -> list[str]:
        """The settings of the tests: short windows, local images, this machine's paths."""
        values = [
            f"windowSeconds={WINDOW_SECONDS}",
            "agent.intervalSeconds=2",
            "enforcement.resumeJitterSeconds=5",
            "server.opencost.proxy.enabled=true",
            "server.opencost.proxy.from=everybody",
            "images.agent.tag=dev",
            "images.operator.tag=dev",
            f"server.persistence.hostPath={self.volumes}/ledger",
            f"agent.outboxHostPath={self.volumes}/outbox",
        ]
        if not (CGROUPS / "cgroup.controllers").exists():
            values.append("agent.cgroupMounts={/sys/fs/cgroup/cpuacct,/sys/fs/cgroup/memory}")
        return [argument for value in values for argument in ("--set", value)]

    def helm(self, *more: str) -> None:
        """Install or upgrade, then wait until everything runs."""
        chart = ("carbonbudget", CHART, "-n", SYSTEM, "--create-namespace")
        # On our own cluster what was left there (CRDs of a `kubectl apply`) is nobody's but ours.
        adopt = ("--take-ownership",) if (self.volumes.parent / "etcd").exists() else ()
        self.cluster.run("helm", "upgrade", "--install", *chart, *self.values(), *adopt, *more)
        self.wait_ready()

    def uninstall(self) -> None:
        """What a user does."""
        self.cluster.run("helm", "uninstall", "carbonbudget", "-n", SYSTEM, "--ignore-not-found", "--wait")

    def wait_ready(self) -> None:
        """Until every workload has the pods it wants, ready."""
        for name in DEPLOYMENTS:
            self.cluster.kubectl("-n", SYSTEM, "rollout", "status", f"deploy/{name}", "--timeout=180s")
        self.cluster.kubectl("-n", AGENTS, "rollout", "status", "ds/carbonbudget-agent", "--timeout=180s")

    def scale(self, replicas: int | None, *names: str) -> None:
        """Scale our deployments (or some) to `replicas` and wait; None restores them."""
        chosen = {name: DEPLOYMENTS[name] for name in names or DEPLOYMENTS}
        for name, normal in chosen.items():
            wanted = normal if replicas is None else replicas
            self.cluster.kubectl("-n", SYSTEM, "scale", f"--replicas={wanted}", f"deploy/{name}")
        if replicas != 0:
            self.wait_ready()
            return
        for name in chosen:
            component = f"app.kubernetes.io/component={name.removeprefix('carbonbudget-')}"
            query = ("-n", SYSTEM, "get", "pods", "-l", component, "-o", "name")
            wait_for(f"{name} to end", lambda query=query: not self.cluster.kubectl(*query).stdout.strip())

    def carbonbudget(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command inside the server's pod."""
        inside = ("-n", SYSTEM, "exec", "deploy/carbonbudget-server", "-c", "server", "--", "carbonbudget")
        return self.cluster.kubectl(*inside, *args, check=check)

    def budget(self, namespace: str, name: str) -> Manifest:
        """A budget's status; empty before the first verdict."""
        status = self.cluster.get("-n", namespace, "carbonbudget", name).get("status", {})
        assert isinstance(status, dict)
        return status

    def be_the_controller(self, directory: Path) -> Path:
        """A kubeconfig with the controller's own account: its rights, and its place in the policies."""
        config = json.loads(self.cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout)
        token = self.cluster.kubectl("-n", SYSTEM, "create", "token", "carbonbudget-controller", "--duration=1h").stdout
        config["users"][0]["user"] = {"token": token.strip()}
        path = directory / "controller.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def apply(self, *manifests: Manifest) -> None:
        """Apply objects."""
        self.cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, manifests)))

    def create(self, manifest: Manifest, *more: str) -> tuple[int, str]:
        """Create an object as a person would: the exit code, and what kubectl said on stderr."""
        done = self.cluster.kubectl("create", "-f", "-", *more, stdin=json.dumps(manifest), check=False)
        return done.returncode, done.stderr

    def refusal(self, manifest: Manifest) -> str:
        """What creating it is refused with; waits for the API server to follow the budget's status."""

        def refused() -> str | None:
            code, said = self.create(manifest, "--dry-run=server")
            return said if code else None

        return wait_for("a refusal", refused, seconds=15)

    def uid(self, namespace: str, kind: str, *selector: str) -> str:
        """The uid of the one object that is asked for."""
        path = "jsonpath={.items[0].metadata.uid}" if "-l" in selector else "jsonpath={.metadata.uid}"
        return self.cluster.kubectl("-n", namespace, "get", kind, *selector, "-o", path).stdout

    def pod_cpu_us(self, uid: str) -> int:
        """The kernel's own count of a pod's CPU time."""
        directory = next(cgroup_directories(uid))
        usage = directory / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text()) // 1000
        return int((directory / "cpu.stat").read_text().split()[1])

    def booked_cpu_us(self, uid: str) -> int:
        """What the ledger holds of a pod's CPU time."""
        with sqlite3.connect(f"file:{self.volumes}/ledger/ledger.db?mode=ro", uri=True) as ledger:
            query = "SELECT cpu_us FROM pod_hour JOIN pod ON pod.id = pod_id WHERE uid = ?"
            total = sum(row[0] for row in ledger.execute(query, (uid,)))
        ledger.close()
        return total

    def node_offers(self) -> tuple[int, int]:
        """What the ledger holds of the node's allocatable: millicores and bytes."""
        with sqlite3.connect(f"file:{self.volumes}/ledger/ledger.db?mode=ro", uri=True) as ledger:
            row = ledger.execute("SELECT cpu_millicores, allocatable_memory_bytes FROM node").fetchone()
        ledger.close()
        return (row[0], row[1]) if row else (0, 0)

    def kill_agent(self) -> None:
        """SIGKILL the agent's process on its node, and wait until the kubelet has started another."""
        uid = self.uid(AGENTS, "pods", "-l", "app.kubernetes.io/component=agent")
        directory = next(cgroup_directories(uid))
        processes = [int(line) for path in directory.glob("*/cgroup.procs") for line in path.read_text().split()]
        agents = [pid for pid in processes if b"carbonbudget-agent" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(agents) == 1
        os.kill(agents[0], signal.SIGKILL)
        wait_for("the agent's process to end", lambda: not Path(f"/proc/{agents[0]}").exists())
        self.wait_ready()


def cgroup_directories(uid: str) -> Iterator[Path]:
    """The pod's directory in the hierarchy that holds CPU time."""
    root = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "cpuacct"
    names = {f"pod{uid}", f"pod{uid.replace('-', '_')}.slice"}
    return (
        path for path in root.rglob("*pod*") if path.name in names or path.name.endswith(tuple(f"-{n}" for n in names))
    )


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Iterator[Release]:
    """The chart, installed; at the end it goes with all that an uninstall keeps."""
    made = Release(cluster, volumes=cluster.kubeconfig.parent / "volumes")
    made.helm()
    yield made
    made.uninstall()
    cluster.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found")
    cluster.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
    # The next run may be in the same hour: a ledger with the energy of this run's GPUs would give it other shares.
    shutil.rmtree(made.volumes, ignore_errors=True)


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    """A namespace for one module's tests, gone after it."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def budget(namespace: str, name: str, **spec: object) -> Manifest:
    """A CarbonBudget."""
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": "CarbonBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def pod(name: str, namespace: str, labels: dict[str, str], script: str = "true", **metadata: object) -> Manifest:
    """A bare pod that runs a shell script."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels} | metadata,
        "spec": _pod_spec(script),
    }


def job(name: str, namespace: str, labels: dict[str, str], script: str = "true") -> Manifest:
    """A Job that runs a shell script once."""
    template = {"metadata": {"labels": labels}, "spec": _pod_spec(script)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template},
    }


def deployment(name: str, namespace: str, labels: dict[str, str]) -> Manifest:
    """A Deployment of one pod that sleeps."""
    spec = _pod_spec("sleep 3600") | {"restartPolicy": "Always"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _pod_spec(script: str) -> Manifest:
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "main",
                "image": "busybox:dev",
                "command": ["sh", "-c", script],
                "resources": {"requests": {"cpu": "50m", "memory": "8Mi"}, "limits": {"cpu": "400m"}},
            }
        ],
    }
