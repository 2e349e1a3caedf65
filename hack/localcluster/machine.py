"""Reads the state of the machine: address, free ports, disk; and records it before the first change."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import cgroups, netfilter, processes
from .say import ClusterError
from .settings import PORTS, Settings

MIN_FREE_GB = 10
# What the kubelet and the ptp plugin set; put back by `down`.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Directories that programs make by a fixed name; `down` removes those that were not there before.
FIXED_PLACES = (
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/run/containerd",
    "/var/log/pods",
    "/var/log/containers",
    "/run/netns",
)


@dataclass
class Before:
    """The machine as `up` found it."""

    boot: str
    sysctls: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    netns: list[str] = field(default_factory=list)


def look() -> Before:
    sysctls = {}
    for name in SYSCTLS:
        try:
            sysctls[name] = (Path("/proc/sys") / name).read_text().strip()
        except OSError:
            pass  # this kernel has no such setting
    netns = Path("/run/netns")
    return Before(
        boot=processes.boot_id(),
        sysctls=sysctls,
        chains=netfilter.present(),
        places=[place for place in FIXED_PLACES if Path(place).exists()],
        netns=sorted(entry.name for entry in netns.iterdir()) if netns.is_dir() else [],
    )


def remembered(settings: Settings) -> Before | None:
    try:
        return Before(**json.loads(settings.before.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remember(settings: Settings) -> None:
    """Writes down the machine's state, once a cluster and before the first change."""
    partial = settings.before.with_suffix(".tmp")
    partial.write_text(json.dumps(asdict(look()), indent=1))
    partial.rename(settings.before)


def _ip(*args: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-json", *args], capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    except ValueError:
        return []
    return found


def node_address() -> tuple[str, int]:
    """The machine's IPv4 address that is not loopback, and the MTU of its interface.

    kube-proxy waits for such an address; logs and exec go to it.
    """
    links = [link for link in _ip("-4", "address", "show", "scope", "global") if link.get("addr_info")]
    default = {route.get("dev") for route in _ip("-4", "route", "show", "default")}
    links.sort(key=lambda link: link.get("ifname") not in default)  # the default route's interface first
    if not links:
        raise ClusterError(
            "this machine has no IPv4 address besides loopback: give one to an interface, "
            "for example: ip link add cluster0 type dummy && ip addr add 10.245.0.1/32 dev "
            "cluster0 && ip link set cluster0 up"
        )
    return str(links[0]["addr_info"][0]["local"]), int(links[0].get("mtu", 1500))


def our_veths(settings: Settings) -> list[str]:
    """The host's ends of the pods' veth pairs: those that carry the pod network's gateway address."""
    return [
        str(link["ifname"])
        for link in _ip("-4", "address", "show", "type", "veth")
        if any(a.get("local") == settings.pod_gateway for a in link.get("addr_info", []))
    ]


def may_lower_oom_score(status: str) -> bool:
    """Whether root has CAP_SYS_RESOURCE (bit 24), from the text of /proc/self/status.

    Some virtual machines withhold it; there runc fails on every sandbox that wants a protected score.
    """
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> 24 & 1)


def check_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "root is needed (network, cgroups, mounts): run this with sudo, or use a cluster "
            "of your own with `hack/cluster existing`"
        )


def check_disk(place: Path) -> None:
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise ClusterError(
            f"only {free_gb:.1f} GB are free at {place}, {MIN_FREE_GB} GB are needed: free some, "
            "or move the cluster (CARBONBUDGET_CLUSTER_DIR) or the cache (XDG_CACHE_HOME) to a larger disk"
        )


def check_ports() -> None:
    """Every port the cluster listens on has to be free on every address."""
    taken = []
    for port, user in PORTS.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                taken.append(f"{port} ({user}; held by {_holder(port)})")
    if taken:
        raise ClusterError(
            f"ports in use that the cluster needs: {', '.join(taken)}: end those programs, or use "
            "that cluster with `hack/cluster existing`"
        )


def _holder(port: int) -> str:
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if int(words[1].rsplit(":", 1)[1], 16) == port and words[3] == "0A":  # 0A: listening
                inodes.add(f"socket:[{words[9]}]")
    for pid in processes.all_pids():
        try:
            if any(os.readlink(fd) in inodes for fd in Path(f"/proc/{pid}/fd").iterdir()):
                return f"{Path(processes.command_line(pid)[0]).name}, pid {pid}"
        except (OSError, IndexError):
            continue  # it ended, or is the kernel's
    return "another program"


def check_networks(settings: Settings) -> None:
    """The pods' and services' ranges must not lie inside a network the machine already reaches."""
    for cidr in (settings.pod_cidr, settings.service_cidr):
        check_network_free(cidr)


def check_network_free(cidr: str) -> None:
    """A range of the cluster's must not lie inside a network the machine already reaches."""
    wanted = ipaddress.ip_network(cidr, strict=False)
    for route in _ip("-4", "route", "show"):
        there = str(route.get("dst", ""))
        if there and there != "default" and ipaddress.ip_network(there, strict=False).overlaps(wanted):
            raise ClusterError(
                f"the network {there} on {route.get('dev')} overlaps {cidr}, which the cluster "
                "uses: remove that route for the time of the test"
            )


def check_no_other_kubelet() -> None:
    trees = cgroups.here()
    if trees:
        raise ClusterError(
            f"{trees[0]} exists, but no cluster of ours is on record: another Kubernetes runs here "
            "(use it with `hack/cluster existing`), or a state directory was deleted by hand "
            "(then reboot, or remove the kubepods cgroups)"
        )
