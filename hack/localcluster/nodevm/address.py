"""The addresses of the node in the virtual machine and of the link to it."""

from __future__ import annotations

from pathlib import Path

from ..settings import Settings

NAME = "node-2"
DEVICE = "cb-node-2"  # the tap device here: at most 15 characters
HOST, NODE, PREFIX = "10.245.255.1", "10.245.255.2", 30
POD_CIDR = "10.244.16.0/20"
MTU = 1500


def settings(here: Settings, data: str) -> Settings:
    """The cluster's settings as the node sees them: its own name and pods, its own paths."""
    return Settings(
        state=Path(data),
        run=Path("/run/carbonbudget-cluster"),
        node_name=NAME,
        pod_cidr=POD_CIDR,
        service_cidr=here.service_cidr,
        api_service_ip=here.api_service_ip,
        dns_ip=here.dns_ip,
        kubelet_serving_cert=here.kubelet_serving_cert,
    )
