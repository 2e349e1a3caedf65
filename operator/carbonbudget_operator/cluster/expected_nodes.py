"""Lists the nodes of the cluster that should report, so that a node without reports is visible as missing.

Nodes on which no agent can run (`nodes_without_agent.py`) are counted separately: they are not missing, and no figure
contains the energy of their pods.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Gauge

from carbonbudget_core.jsons import mapping
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cluster.nodes_without_agent import OPTED_OUT, kind_without_agent, kinds_without_agent
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.ledger.node_coverage import forget_listed, store_counts, store_listed

_log = logging.getLogger(__name__)
_NODES = ApiPath("", "v1", "nodes")
_NO_LABELS: Mapping[str, Sequence[str]] = {}


class NodeLister:
    """Lists the nodes of one cluster into the ledger and the metrics.

    `more` are labels of nodes without an agent, in addition to the bundled ones. `pods_on` returns the number of pods
    of each namespace on the given nodes.
    """

    def __init__(
        self, engine: sa.Engine, client: KubeClient, cluster: str, registry: CollectorRegistry,
        more: Mapping[str, Sequence[str]] = _NO_LABELS,
        pods_on: Callable[[Set[str]], Mapping[str, int]] = lambda nodes: {},
    ) -> None:  # fmt: skip
        self._engine, self._client, self._cluster = engine, client, cluster
        self._more, self._pods_on = more, pods_on
        self.pods_without_agent: Mapping[str, int] = {}  # by namespace, as last listed
        self._failing = False
        self._reported: set[str] = set()
        self._forgotten: set[str] = set()
        self._expected = Gauge(
            "carbonbudget_ingest_nodes_expected", "Nodes that should report, by the cluster's own list.",
            registry=registry,
        )  # fmt: skip
        self._without = Gauge(
            "carbonbudget_ingest_nodes_without_agent", "Nodes on which no agent runs, by what they are.", ["what"],
            registry=registry,
        )  # fmt: skip
        self._pods = Gauge(
            "carbonbudget_ingest_pods_without_agent", "Pods on nodes without an agent: their energy is in no figure.",
            ["namespace"], registry=registry,
        )  # fmt: skip

    async def step(self, now: int) -> None:
        """List the nodes and store the list. `now`: UTC seconds. A failed list changes nothing and is logged once."""
        listed: dict[str, str] = {}
        without: dict[str, tuple[str, str]] = {}  # uid and what it is
        try:
            async for item in self._client.list(_NODES, metadata_only=True):
                metadata = item.get("metadata")
                if isinstance(metadata, dict):
                    name, uid = str(metadata.get("name")), str(metadata.get("uid"))
                    what = kind_without_agent(_labels(metadata), self._more)
                    if what:
                        without[name] = (uid, what)
                    else:
                        listed[name] = uid
        except KubeError as error:
            if not self._failing:
                _log.warning("nodes cannot be listed, so coverage counts only nodes that report: %s", error.reason)
            self._failing = True
            return
        self._failing = False
        counts = Counter(what for _, what in without.values())
        self._show(len(listed), counts, without.keys())
        await asyncio.to_thread(self._store, listed, without, counts, now)

    def _show(self, expected: int, counts: Mapping[str, int], names: Set[str]) -> None:
        self._expected.set(expected)
        for what in kinds_without_agent():
            self._without.labels(what).set(counts.get(what, 0))
        self.pods_without_agent = self._pods_on(names) if names else {}
        self._pods.clear()
        for namespace, number in self.pods_without_agent.items():
            self._pods.labels(namespace).set(number)
        if counts.keys() - self._reported:
            listed = ", ".join(f"{what}: {number}" for what, number in sorted(counts.items()))
            _log.info("no agent runs on some nodes (%s): no figure contains the energy of their pods", listed)
        self._reported |= counts.keys()

    def _store(
        self, listed: Mapping[str, str], without: Mapping[str, tuple[str, str]], counts: Mapping[str, int], now: int
    ) -> None:
        store_listed(self._engine, self._cluster, listed, now)
        store_counts(self._engine, self._cluster, {"": len(listed), **counts}, now)
        # Earlier versions expected reports of these nodes. A node that was opted out may have missed reports: it stays.
        never = {uid for uid, what in without.values() if what != OPTED_OUT}
        forget_listed(self._engine, self._cluster, never - self._forgotten)
        self._forgotten = never


def _labels(metadata: JsonObject) -> Mapping[str, object]:
    return mapping(metadata.get("labels"))
