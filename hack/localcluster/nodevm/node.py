"""Starts the second node beside a running cluster, waits for it, runs commands on it, and removes it."""

from __future__ import annotations

import math
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import components, health, machine, packages, processes
from ..lifecycle import Cluster, programs
from ..say import ClusterError, line, step
from ..settings import NODE_VM, Settings
from . import address, disk, qemu, rootfs

PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "ssh": "openssh-client",
}
# Seen: half a minute together on an idle machine of two cores, one to two minutes each on a busy one.
BOOT_S, READY_S, NICENESS = 240.0, 300.0, 10
CLOCKS_DIFFER_S = 2.0


class Node:
    """The node of one cluster."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pids = processes.PidFiles(settings.run / "pids")
        self.directory = settings.state / "node-vm"
        self.log = settings.logs / f"{NODE_VM}.log"
        self.serial = settings.logs / f"{NODE_VM}.serial.log"

    def alive(self) -> bool:
        return self.pids.alive(NODE_VM) is not None

    def ready(self) -> bool:
        return health.node_ready(self.settings, address.NAME)

    def run(self, *command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A shell command on the node, as root; exit code 255 where the node does not answer."""
        try:
            return subprocess.run(
                [*ssh_command(self.settings), " ".join(command)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 255, "", f"no answer within {timeout_s:.0f} s")

    def clock_offset_s(self) -> float:
        """The node's clock minus ours, from the quickest of a few answers in one session; inf where there is none."""
        command = [*ssh_command(self.settings), "while read x; do date +%s.%N; done"]
        best = (math.inf, math.inf)  # seconds the answer took, offset
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as session:
            if session.stdin is None or session.stdout is None:
                return math.inf
            for _ in range(6):
                before = time.time()
                try:
                    session.stdin.write("now\n")
                    answer = session.stdout.readline()
                except BrokenPipeError:
                    break
                after = time.time()
                if answer:
                    best = min(best, (after - before, float(answer) - (before + after) / 2))
            session.stdin.close()
        return best[1]


def ssh_command(settings: Settings) -> list[str]:
    options = (
        "BatchMode=yes",
        "ConnectTimeout=20",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={settings.state}/node-vm/known_hosts",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
    )
    words = ["ssh", "-F", "/dev/null", "-i", str(settings.pki / "node-vm-user")]
    return [*words, *(w for option in options for w in ("-o", option)), f"root@{address.NODE}"]


def up(settings: Settings, labels: str = "") -> None:
    """Makes the node Ready. A Ready node is left unchanged; any other is removed and started again."""
    if platform.machine() != "x86_64":
        raise ClusterError(f"the second node is an x86-64 machine, this one is {platform.machine()}: run it on another")
    cluster = Cluster(settings)
    node_ip = cluster.node_ip()
    if node_ip is None or "kube-apiserver" not in cluster.alive():
        raise ClusterError("the node needs a running cluster: start one with `hack/cluster up`")
    began = time.monotonic()
    node = Node(settings)
    if node.alive() and node.ready():
        line(f"node {address.NAME} is Ready already")
        return
    packages.ensure(PACKAGES)
    paths = programs()
    image = rootfs.ensure()
    down(settings, paths["kubectl"])
    machine.check_network_free(f"{address.HOST}/{address.PREFIX}")
    machine.check_network_free(address.POD_CIDR)
    try:
        _start(node, image, node_ip, paths, labels)
        _await(node)
    except BaseException:
        down(settings, paths["kubectl"])
        raise
    line(f"node {address.NAME} is Ready ({time.monotonic() - began:.0f} s)")


def _start(node: Node, image: rootfs.Image, node_ip: str, paths: Mapping[str, Path], labels: str) -> None:
    settings = node.settings
    with step("the node's disk: certificates, programs, images"):
        disk.make_keys(settings)
        data = node.directory / "data.img"
        disk.write(settings, node_ip, paths, labels, data)
    script = node.directory / "tap"
    script.write_text(qemu.tap_script())
    script.chmod(0o755)
    host_key = (settings.pki / "node-vm-host.pub").read_text()
    (node.directory / "known_hosts").write_text(f"{address.NODE} {host_key}")
    for log in (node.log, node.serial):
        log.unlink(missing_ok=True)
    # snapshot=on writes to a file in TMPDIR that has no name: it goes with the process.
    env = components.environment({"TMPDIR": str(node.directory)})
    command = ["nice", "-n", str(NICENESS), *qemu.command(image, data, script, node.serial)]
    processes.start(NODE_VM, command, node.log, node.pids, env)


def _await(node: Node) -> None:
    def answers() -> bool:
        return not node.alive() or node.run("true", timeout_s=30.0).returncode == 0

    def ready() -> bool:
        return not node.alive() or node.ready()

    with step("the node boots", heartbeat=True):
        in_time = health.wait(answers, BOOT_S, pause_s=2.0)
        _check(node, in_time, f"the node did not answer within {BOOT_S:.0f} s of its start")
    with step("the kubelet starts, the node becomes Ready", heartbeat=True):
        in_time = health.wait(ready, READY_S, pause_s=1.0)
        journal = node.settings.logs / f"{NODE_VM}.journal.log"
        if node.alive() and not in_time:
            journal.write_text(node.run("journalctl", "--boot", "--no-pager").stdout)
        _check(node, in_time, f"node {address.NAME} was not Ready within {READY_S:.0f} s of its boot: see {journal}")
    offset_s = node.clock_offset_s()
    if abs(offset_s) > CLOCKS_DIFFER_S:
        raise ClusterError(f"the node's clock is {offset_s:+.1f} s off ours: see {node.serial}")
    line(f"    the node's clock is {offset_s:+.2f} s off ours")


def _check(node: Node, in_time: bool, late: str) -> None:
    if not node.alive():
        raise ClusterError(f"the node's virtual machine ended: see {node.log} and {node.serial}")
    if not in_time:
        raise ClusterError(f"{late}; the serial log is {node.serial}")


def down(settings: Settings, kubectl: Path) -> list[str]:
    """Ends the virtual machine and removes the node with its pods from the API; says what it removed."""
    node = Node(settings)
    removed = []
    if end(settings):
        removed.append("the node's virtual machine")
    if health.api(settings, f"/api/v1/nodes/{address.NAME}") is not None:
        of_node = ("--all-namespaces", f"--field-selector=spec.nodeName={address.NAME}")
        for command in (
            ("delete", "node", address.NAME, "--wait=false"),
            ("delete", "pods", *of_node, "--force", "--grace-period=0", "--wait=false"),
        ):
            subprocess.run([kubectl, "--kubeconfig", settings.kubeconfig, *command], capture_output=True, timeout=60)
        removed.append(f"node {address.NAME} with its pods")
    if node.directory.exists():
        shutil.rmtree(node.directory)
        removed.append(str(node.directory))
    return removed


def end(settings: Settings) -> bool:
    """Ends QEMU's process, and with it the tap device and its routes. False where it did not run."""
    files = processes.PidFiles(settings.run / "pids")
    identity = files.read(NODE_VM)
    ended = processes.end([identity], patience_s=5.0) if identity else []
    files.remove(NODE_VM)
    return bool(ended)


def shell(settings: Settings, command: Sequence[str]) -> int:
    """Runs a command on the node with our own input and output; its exit code."""
    if not Node(settings).alive():
        raise ClusterError("the node does not run: start it with `hack/cluster node-vm up`")
    return subprocess.run([*ssh_command(settings), *command]).returncode
