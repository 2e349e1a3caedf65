"""Reads the Node objects of the nodes that report: region, instance type, capacity.

Ingest compares reports with them. Each node is read by itself, and again after an hour, because a list of whole Nodes
is a hundred times as large as a list of their metadata. Until a node is read, only impossible values are refused.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import mapping, text
from carbonbudget_core.node_report import MAX_INTEGER, MAX_TEXT, Allocatable, NodeInfo
from carbonbudget_core.pod_requests import quantity
from carbonbudget_operator.api_path import ApiPath, InvalidPath
from carbonbudget_operator.kube.client import JsonObject, KubeClient, KubeError
from carbonbudget_operator.printable import is_printable

_log = logging.getLogger(__name__)
_NODES: Final = ApiPath("", "v1", "nodes")
_AGAIN_SECONDS: Final = 3_600
_DOUBTED_SECONDS: Final = 60
_AT_ONCE: Final = 8
_BATCH: Final = 1_000
_MAX_NODES: Final = 50_000


@dataclass(frozen=True, slots=True)
class NodeObject:
    """A Node. `info` is as in a report, without the CPU model, which a Node does not have. `read_at`: UTC seconds."""

    info: NodeInfo
    capacity: Allocatable
    read_at: float


class NodeCapacities:
    """Cache of Nodes. The ledger writer's thread reads it, one task fills it. `now` returns UTC seconds."""

    def __init__(self, client: KubeClient, now: Callable[[], float] = time.time) -> None:
        self._client, self._now = client, now
        self._known: dict[str, NodeObject] = {}
        self._wanted: set[str] = set()
        self._failing = False

    def find(self, node: str) -> NodeObject | None:
        """The cached Node, or None. A Node that is missing or older than an hour is read in the next step."""
        found = self._known.get(node)
        if found is None or found.read_at < self._now() - _AGAIN_SECONDS:
            self._wanted.add(node)
        return found

    def doubt(self, node: str) -> None:
        """Read the node again soon, because a report differs from it: the node may have changed."""
        found = self._known.get(node)
        if found is not None and found.read_at < self._now() - _DOUBTED_SECONDS:
            self._wanted.add(node)

    async def step(self) -> None:
        """Read up to 1,000 nodes that were requested."""
        wanted = [self._wanted.pop() for _ in range(min(_BATCH, len(self._wanted)))]
        slots = asyncio.Semaphore(_AT_ONCE)

        async def read(node: str) -> None:
            async with slots:
                await self._read(node)

        await asyncio.gather(*map(read, wanted))

    async def _read(self, node: str) -> None:
        try:
            found = node_object(await self._client.request("GET", _NODES.at(None, node)), self._now())
        except (KubeError, InvalidPath) as error:
            if not self._failing:
                _log.warning("nodes cannot be read, so reports are not compared with them: %s", error)
            self._failing = True
            return
        self._failing = False
        if len(self._known) >= _MAX_NODES:  # an autoscaler creates new nodes without end
            self._known.clear()
        if found is not None:
            self._known[node] = found


def node_object(value: JsonObject, now: float) -> NodeObject | None:
    """The Node of a JSON object, or None if it has no capacity yet. `now`: UTC seconds."""
    metadata, spec, status = (mapping(value.get(key)) for key in ("metadata", "spec", "status"))
    labels = mapping(metadata.get("labels"))
    capacity, offered = (mapping(status.get(key)) for key in ("capacity", "allocatable"))
    has = Allocatable(
        _amount(capacity.get("cpu"), 1000),
        _amount(capacity.get("memory")),
        sum(_amount(pieces) for name, pieces in capacity.items() if name.startswith("nvidia.com/")),
    )
    if not has.cpu_millicores or not has.memory_bytes:
        return None
    info = NodeInfo(
        provider_id=_text(spec.get("providerID")),
        region=_text(labels.get("topology.kubernetes.io/region")),
        zone=_text(labels.get("topology.kubernetes.io/zone")),
        instance_type=_text(labels.get("node.kubernetes.io/instance-type")),
        threads=has.cpu_millicores // 1000,
        memory_bytes=has.memory_bytes,
        allocatable=Allocatable(
            _amount(offered.get("cpu"), 1000), _amount(offered.get("memory")), _amount(offered.get("nvidia.com/gpu"))
        ),
    )
    return NodeObject(info, has, now)


def _amount(written: object, unit: int = 1) -> int:
    """A quantity in parts of 1/`unit`, rounded down; 0 if it is none, or more than a report can state."""
    amount = int(quantity(text(written)) * unit)
    return amount if amount <= MAX_INTEGER else 0


def _text(value: object) -> str:
    found = text(value)
    return found if len(found) <= MAX_TEXT and is_printable(found) else ""
