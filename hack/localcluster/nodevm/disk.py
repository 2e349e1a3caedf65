"""The node's data disk: certificates, configurations, programs and images of one cluster; the node's data later."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .. import components, configs, pki
from ..settings import Settings
from . import address, images, rootfs, system

SIZE_MB = 6_000  # sparse
TAINT = "carbonbudget.dev/node-vm=true:NoSchedule"
# Under emulation everything takes ten times as long: requests to the container runtime too.
SLOW = {"runtimeRequestTimeout": "5m"}


def write(here: Settings, node_ip: str, programs: Mapping[str, Path], labels: str, target: Path) -> None:
    """Makes the disk for a cluster whose API server is at `node_ip`."""
    there = address.settings(here, system.DATA)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        root = Path(name)
        root.chmod(0o755)
        _certificates(here, there, f"https://{node_ip}:6443", root)
        _configurations(there, labels, root)
        for program in ("kubelet", "kube-proxy"):
            copy = root / "bin" / program
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(programs[program], copy)
            copy.chmod(0o755)
        for directory in ("kubelet", "containerd", "cni"):
            (root / directory).mkdir()
        images.fill(here, root / "containerd")
        rootfs.make_disk(target, root, SIZE_MB)


def _certificates(here: Settings, there: Settings, server: str, root: Path) -> None:
    pki.node(here, there.node_name, address.NODE)
    (root / "pki").mkdir()
    shutil.copyfile(here.pki / "ca.crt", root / "pki" / "ca.crt")
    for suffix in ("crt", "key"):
        serving = here.pki / f"{there.node_name}-serving.{suffix}"
        shutil.copy(serving, root / "pki" / f"kubelet-serving.{suffix}")
    pki.write_kubeconfig(here, f"{there.node_name}-kubelet", server, root / "config" / "kubelet.kubeconfig")
    pki.write_kubeconfig(here, "kube-proxy", server, root / "config" / "kube-proxy.kubeconfig")
    keys = root / "ssh"
    keys.mkdir()
    shutil.copy(here.pki / "node-vm-host", keys / "host")
    shutil.copyfile(here.pki / "node-vm-user.pub", keys / "authorized_keys")


def _configurations(there: Settings, labels: str, root: Path) -> None:
    kubelet = components.kubelet_flags(there, address.NODE)
    kubelet += [f"--register-with-taints={TAINT}", *([f"--node-labels={labels}"] if labels else [])]
    proxy = [f"--config={there.config}/kube-proxy.json", components.LOG_LEVEL]
    cni_bin = Path("/usr/lib/cni")  # Debian's
    files = {
        "containerd.toml": configs.containerd(there, cni_bin, protect_sandboxes=True, cgroup_driver="systemd"),
        "cni/10-carbonbudget.conflist": configs.cni(there, address.MTU),
        "kubelet.json": configs.kubelet(there, cgroup_driver="systemd", more=SLOW),
        "kube-proxy.json": configs.kube_proxy(there),
        "kubelet.sh": f"exec {shlex.join([f'{there.state}/bin/kubelet', *kubelet])}\n",
        "kube-proxy.sh": f"exec {shlex.join([f'{there.state}/bin/kube-proxy', *proxy])}\n",
    }
    for name, text in files.items():
        path = root / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make_keys(here: Settings) -> None:
    """The node's host key and ours, new with each cluster."""
    for name in ("node-vm-host", "node-vm-user"):
        if not (here.pki / name).exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(here.pki / name)]
            subprocess.run(command, check=True, capture_output=True)
