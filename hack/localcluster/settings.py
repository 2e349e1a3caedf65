"""Paths and addresses of the cluster, and its few settings from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
KUBERNETES_VERSION = "v1.34.4"
MARK = ".carbonbudget-cluster"  # a file in directories that are ours to empty
NODE_VM = "node-vm"  # the pid file and the logs of the second node's virtual machine
NAMESPACE = "k8s.io"  # containerd's namespace for what the kubelet runs

# Each port with who listens on it; all but the API server's and the kubelet's on loopback.
PORTS = {
    6443: "kube-apiserver",
    2379: "etcd (clients)",
    2380: "etcd (peers)",
    2381: "etcd (health)",
    10248: "kubelet (health)",
    10249: "kube-proxy (metrics)",
    10250: "kubelet",
    10256: "kube-proxy (health)",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
}


def cache_dir() -> Path:
    """The user's cache for built tools and image bases (XDG_CACHE_HOME honoured)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "carbonbudget"


@dataclass(frozen=True)
class Settings:
    """Every path and address of the one cluster of this machine."""

    state: Path  # data, certificates, logs: removed by `down` but for the logs
    run: Path  # sockets and pid files: short, since a unix socket's path has at most 107 bytes
    node_name: str = "node-1"
    pod_cidr: str = "10.244.0.0/20"
    service_cidr: str = "10.96.0.0/16"
    api_service_ip: str = "10.96.0.1"
    dns_ip: str = "10.96.0.10"
    kubelet_serving_cert: str = "cluster"  # or "self": the kubelet signs its own, as kubeadm leaves it

    @property
    def pod_gateway(self) -> str:
        """The address the ptp plugin gives to the host's end of every pod's veth pair."""
        return self.pod_cidr.split("/")[0].rsplit(".", 1)[0] + ".1"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def kubelet_root(self) -> Path:
        return self.state / "kubelet"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def before(self) -> Path:
        """What the machine looked like before the first change: what `down` puts back."""
        return self.state / "before.json"


def load() -> Settings:
    """Settings from the environment; unset variables keep the defaults."""
    env = os.environ
    return Settings(
        state=Path(env.get("CARBONBUDGET_CLUSTER_DIR") or "/var/lib/carbonbudget-cluster").absolute(),
        run=Path(env.get("CARBONBUDGET_CLUSTER_RUN_DIR") or "/run/carbonbudget-cluster").absolute(),
        node_name=env.get("CARBONBUDGET_CLUSTER_NODE") or "node-1",
        kubelet_serving_cert=env.get("CARBONBUDGET_CLUSTER_KUBELET_CERT") or "cluster",
    )
