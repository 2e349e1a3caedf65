"""Installs the cluster DNS."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path
from string import Template

from .say import ClusterError
from .settings import Settings

MANIFEST = Path(__file__).with_name("coredns.yaml")


def reachable_resolvers(resolv_conf: str) -> list[str]:
    """The name servers of a resolv.conf that a pod could ask: not those on the machine's loopback."""
    servers = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                address = ipaddress.ip_address(words[1].split("%")[0])
            except ValueError:
                continue
            if not address.is_loopback:
                servers.append(words[1])
    return servers


def dns_manifest(settings: Settings, resolv_conf: str) -> str:
    forward = "forward . /etc/resolv.conf" if reachable_resolvers(resolv_conf) else ""
    return Template(MANIFEST.read_text()).substitute(DNS_IP=settings.dns_ip, FORWARD=forward)


def apply_dns(settings: Settings, kubectl: Path) -> None:
    try:
        resolv_conf = Path("/etc/resolv.conf").read_text()
    except OSError:
        resolv_conf = ""
    done = subprocess.run(
        [kubectl, "--kubeconfig", settings.kubeconfig, "apply", "-f", "-"],
        input=dns_manifest(settings, resolv_conf),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClusterError(f"cluster DNS could not be applied: {why}")
