"""A control plane beside the cluster's: etcd, API server and controller manager of its own, no node.

For what needs the real API server and no running pod. Statuses are written by hand there, with no controller to write
over them, and nothing waits for what the chart's tests do meanwhile. It has the cluster's programs, flags and
certificates, other ports and its own data, and ends with the test session.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import yaml
from tests.conftest import ENDS_WITH_US, ROOT, Cluster

sys.path.insert(0, str(ROOT / "hack"))

from localcluster import components, lifecycle, settings


@contextmanager
def control_plane(cluster: Cluster, directory: Path) -> Iterator[Cluster]:
    """Its kubeconfig and tools. Where the cluster is not hack/cluster's, the cluster itself."""
    ours = settings.load()
    if cluster.kubeconfig != ours.kubeconfig:
        yield cluster
        return
    node_ip = lifecycle.Cluster(ours).node_ip() or ""
    parts = components.all_of(ours, node_ip, lifecycle.programs())
    clients, peers, health, secure, manager = _free_ports(5)
    etcd, api = f"https://127.0.0.1:{clients}", f"https://127.0.0.1:{secure}"
    peer = f"https://127.0.0.1:{peers}"
    admin = pointed(ours.kubeconfig, api, directory)
    managing = pointed(ours.config / "controller-manager.kubeconfig", api, directory)
    flags = {
        "etcd": (
            f"--data-dir={directory}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}", f"--listen-metrics-urls=http://127.0.0.1:{health}",
        ),
        "kube-apiserver": (f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={secure}"),
        "kube-controller-manager": (
            f"--kubeconfig={managing}", f"--authentication-kubeconfig={managing}",
            f"--authorization-kubeconfig={managing}", f"--secure-port={manager}",
            f"--flex-volume-plugin-dir={directory}/volume-plugins",  # it makes the directory
        ),
    }  # fmt: skip
    made = replace(cluster, kubeconfig=admin, nodes=False)
    with ExitStack() as stack:
        # Its data and what opens it are for nobody afterwards; the logs stay.
        stack.callback(lambda: (shutil.rmtree(directory / "etcd"), admin.unlink(), managing.unlink()))
        running = {}
        for name, more in flags.items():
            running[name] = stack.enter_context(_running(name, _instead(parts[name].command, more), directory))
            if name == "kube-apiserver":
                _await(running, directory, lambda: made.kubectl("get", "--raw", "/readyz", check=False))
        # The controller manager makes it: before, no pod is created, whatever a policy says.
        _await(
            running, directory, lambda: made.kubectl("-n", "default", "get", "serviceaccount", "default", check=False)
        )
        yield made


def _await(
    running: Mapping[str, subprocess.Popen[bytes]],
    directory: Path,
    ask: Callable[[], subprocess.CompletedProcess[str]],
) -> None:
    """Until kubectl has its answer; a program that ended meanwhile is named, with the last it said."""
    end = time.monotonic() + 90
    while (answer := ask()).returncode:
        for name, process in running.items():
            log = (directory / f"{name}.log").read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"{name} ended: {log}"
        assert time.monotonic() < end, f"no answer within 90 s: {answer.stderr}"
        time.sleep(0.2)


def _instead(command: tuple[str, ...], flags: tuple[str, ...]) -> tuple[str, ...]:
    """The command with these flags in the place of its own: some add up where they are given twice."""
    names = {flag.partition("=")[0] for flag in flags}
    return (*(word for word in command if word.partition("=")[0] not in names), *flags)


@contextmanager
def _running(name: str, command: tuple[str, ...], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with this process, however that ends."""
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen((*ENDS_WITH_US, *command), stdout=log, stderr=log, env=components.environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def pointed(kubeconfig: Path, server: str, directory: Path) -> Path:
    """The same kubeconfig for another server."""
    config = yaml.safe_load(kubeconfig.read_text())  # JSON as it is made, YAML once `kubectl config` wrote to it
    for one in config["clusters"]:
        one["cluster"]["server"] = server
    made = directory / kubeconfig.name
    made.touch(mode=0o600)
    made.write_text(json.dumps(config))
    return made


def _free_ports(number: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
