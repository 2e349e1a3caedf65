"""Lists the nodes that should report, so that a node without an agent shows as missing and not as nothing."""

from __future__ import annotations

import asyncio
import logging

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Gauge

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.ledger.expected import store_listed

_log = logging.getLogger(__name__)
_NODES = ApiPath("", "v1", "nodes")
# What the chart's DaemonSets leave out by their affinity.
_LEFT_OUT = (
    ("carbonbudget.dev/agent", "none"),
    ("type", "virtual-kubelet"),
)


class Nodes:
    """One cluster's list."""

    def __init__(self, engine: sa.Engine, client: KubeClient, cluster: str, registry: CollectorRegistry) -> None:
        self._engine, self._client, self._cluster = engine, client, cluster
        self._failing = False
        self._expected = Gauge(
            "carbonbudget_ingest_nodes_expected", "Nodes that should report, by the cluster's own list.",
            registry=registry,
        )  # fmt: skip

    async def step(self, now: int) -> None:
        """List them once and keep it. A list that fails changes nothing: it is logged once."""
        listed: dict[str, str] = {}
        try:
            async for item in self._client.list(_NODES, metadata_only=True):
                metadata = item.get("metadata")
                if isinstance(metadata, dict) and should_report(metadata):
                    listed[str(metadata.get("name"))] = str(metadata.get("uid"))
        except KubeError as error:
            if not self._failing:
                _log.warning("nodes cannot be listed, coverage counts those that report: %s", error.reason)
            self._failing = True
            return
        self._failing = False
        self._expected.set(len(listed))
        await asyncio.to_thread(store_listed, self._engine, self._cluster, listed, now)


def should_report(metadata: JsonObject) -> bool:
    """Whether an agent belongs on the node: by its labels."""
    labels = metadata.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    linux = labels.get("kubernetes.io/os", "linux") == "linux"
    return linux and all(labels.get(name) != value for name, value in _LEFT_OUT)
