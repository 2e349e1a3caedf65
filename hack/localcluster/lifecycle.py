"""Starts the cluster: reuses a healthy one, restarts components that ended, else starts a new one."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from . import (
    addons,
    cleanup,
    components,
    configs,
    health,
    imports,
    machine,
    packages,
    pki,
    processes,
    static_images,
    tools,
)
from .components import ORDER, Component
from .say import ClusterError, line, step
from .settings import MARK, Settings, cache_dir

PATIENCE_S = 5.0  # before SIGKILL: an API server with open watches would take a minute, and needs none


def programs() -> dict[str, Path]:
    """The path of every program the cluster runs; installs and builds what is missing."""
    packages.ensure(packages.CLUSTER)
    paths = tools.ensure(tools.TOOLS)
    search = components.environment()["PATH"]
    paths["containerd"] = Path(shutil.which("containerd", path=search) or "containerd")
    return paths


class Cluster:
    """The cluster of this machine: its settings, who runs, and how to start and end each part."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pids = processes.PidFiles(settings.run / "pids")
        self.facts = settings.state / "node.json"
        self.complete = settings.state / "complete"  # there once `up` got to its end

    def node_ip(self) -> str | None:
        """The address the running cluster was made for."""
        try:
            return str(json.loads(self.facts.read_text())["ip"])
        except (OSError, ValueError, KeyError):
            return None

    def alive(self) -> list[str]:
        return [name for name in ORDER if self.pids.alive(name)]

    def parts(self, paths: Mapping[str, Path]) -> dict[str, Component]:
        return components.all_of(self.settings, self.node_ip() or "", paths)

    def start(self, part: Component) -> None:
        env = components.environment(components.proxies() if part.name == "containerd" else {})
        processes.start(part.name, part.command, self.settings.logs / f"{part.name}.log", self.pids, env)

    def await_healthy(self, part: Component) -> None:
        log = self.settings.logs / f"{part.name}.log"

        def healthy_or_dead() -> bool:
            return part.healthy() or self.pids.alive(part.name) is None

        in_time = health.wait(healthy_or_dead, part.start_s)
        if self.pids.alive(part.name) is None:
            raise ClusterError(f"{part.name} ended soon after its start: {_last_line(log)} (see {log})")
        if not in_time:
            raise ClusterError(f"{part.name} did not become healthy within {part.start_s:.0f} s: see {log}")

    def stop(self, name: str, kill: bool = False) -> bool:
        """Ends one component; False where it did not run."""
        identity = self.pids.alive(name)
        if identity:
            processes.end([identity], patience_s=PATIENCE_S, kill=kill)
        self.pids.remove(name)
        return identity is not None


def _last_line(log: Path) -> str:
    try:
        lines = [text for text in log.read_text(errors="replace").splitlines() if text.strip()]
    except OSError:
        return "it wrote no log"
    return lines[-1][:200] if lines else "it wrote no log"


def up(settings: Settings) -> None:
    """Makes the cluster usable, whatever state it is in."""
    machine.check_root()
    began = time.monotonic()
    line("cluster: up")
    cluster = Cluster(settings)
    whole = cluster.complete.exists() and bool(cluster.alive())
    if not whole:
        for place in (settings.state, cache_dir()):
            machine.check_disk(place)
    paths = programs()
    images = static_images.all_of()
    if whole and cluster.node_ip() == machine.node_address()[0] and _repair(cluster, paths):
        line(f"the cluster is up ({time.monotonic() - began:.1f} s)")
        return
    if settings.before.exists():
        with step("removing the rest of a previous cluster; its data is discarded"):
            removed = cleanup.everything(settings)
            for text in removed:
                line(f"    removed {text}")
            cleanup.require_removed(removed)
    _fresh(cluster, paths, images)
    cluster.complete.touch()
    line(f"the cluster is up ({time.monotonic() - began:.1f} s)")


def _repair(cluster: Cluster, paths: Mapping[str, Path]) -> bool:
    """Restarts components that ended or do not answer. Returns false if the cluster is still not healthy."""
    parts = cluster.parts(paths)
    try:
        for name in ORDER:
            part = parts[name]
            if cluster.pids.alive(name) and health.wait(part.healthy, 10.0):
                continue
            with step(f"restarting {name}"):
                cluster.stop(name)
                cluster.start(part)
                cluster.await_healthy(part)
        with step("waiting for the node and DNS"):
            return _usable(cluster.settings)
    except ClusterError as error:
        line(f"    the running cluster cannot be repaired: {error}")
        return False


def _usable(settings: Settings) -> bool:
    return health.wait(lambda: health.node_ready(settings), 90.0) and health.wait(
        lambda: health.dns_ready(settings), 90.0
    )


def claim(directory: Path) -> None:
    """Makes a directory ours, or refuses: `down` empties it, so it must not hold anything else."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / MARK).exists() and any(directory.iterdir()):
        raise ClusterError(
            f"{directory} is not empty and was not made by hack/cluster: choose another directory "
            "(CARBONBUDGET_CLUSTER_DIR, CARBONBUDGET_CLUSTER_RUN_DIR)"
        )
    (directory / MARK).touch()


def prepare(settings: Settings, node_ip: str, mtu: int) -> None:
    """Writes everything a new cluster reads: certificates, kubeconfigs, configurations."""
    cni_bin = packages.cni_dir()
    if cni_bin is None:
        raise ClusterError("the CNI plugins are missing: install containernetworking-plugins")
    pki.create(settings, node_ip)
    for client in pki.clients(settings):
        pki.write_kubeconfig(settings, client, "https://127.0.0.1:6443", settings.config / f"{client}.kubeconfig")
    # Reachable from the machine's own network too, and from pods on the host's network.
    pki.write_kubeconfig(settings, "admin", f"https://{node_ip}:6443", settings.kubeconfig)
    protect = machine.may_lower_oom_score(Path("/proc/self/status").read_text())
    files = {
        "containerd.toml": configs.containerd(settings, cni_bin, protect),
        "cni/10-carbonbudget.conflist": configs.cni(settings, mtu),
        "kubelet.json": configs.kubelet(settings),
        "kube-proxy.json": configs.kube_proxy(settings),
    }
    for name, text in files.items():
        path = settings.config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings.kubelet_root.mkdir(exist_ok=True)
    # The kubelet's own directory is ours, but what mounts the pod-resources socket uses the usual path.
    usual = Path("/var/lib/kubelet/pod-resources")
    usual.parent.mkdir(parents=True, exist_ok=True)
    if not usual.exists() and not usual.is_symlink():
        usual.symlink_to(settings.kubelet_root / "pod-resources")


def _fresh(cluster: Cluster, paths: Mapping[str, Path], images: list[Path]) -> None:
    settings = cluster.settings
    machine.check_ports()
    machine.check_networks(settings)
    machine.check_no_other_kubelet()
    node_ip, mtu = machine.node_address()
    for directory in (settings.state, settings.run):
        claim(directory)
    machine.remember(settings)
    shutil.rmtree(settings.state / "logs.previous", ignore_errors=True)
    if settings.logs.is_dir():
        settings.logs.rename(settings.state / "logs.previous")
    with step("certificates and configuration"):
        prepare(settings, node_ip, mtu)
        cluster.facts.write_text(json.dumps({"ip": node_ip}))
    parts = cluster.parts(paths)

    def begin(*names: str) -> None:
        for name in names:
            cluster.start(parts[name])

    def settle(*names: str) -> None:
        for name in names:
            cluster.await_healthy(parts[name])

    with step("etcd and containerd"):
        begin("etcd", "containerd")
        settle("etcd", "containerd")
    with step("kube-apiserver"):
        begin("kube-apiserver")
        imports.load(settings, images)  # while the API server starts
        settle("kube-apiserver")
    with step("kube-controller-manager, kube-scheduler, kubelet, kube-proxy"):
        rest = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
        begin(*rest)
        settle(*rest)
    with step(f"cluster DNS, node {settings.node_name} Ready"):
        addons.apply_dns(settings, paths["kubectl"])
        if not _usable(settings):
            raise ClusterError(f"node or DNS not ready after 3 minutes: see `hack/cluster status` and {settings.logs}")
