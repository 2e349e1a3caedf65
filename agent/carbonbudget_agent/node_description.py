"""Facts about the node: place and size from its Node object if there is an API server, else size from /proc."""

from __future__ import annotations

import logging
import os
import threading
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from carbonbudget_agent.clock import Clock
from carbonbudget_agent.https_client import Endpoint
from carbonbudget_core.jsons import parse_json, text
from carbonbudget_core.node_report import MAX_INTEGER, MAX_TEXT, Allocatable, NodeInfo
from carbonbudget_core.pod_requests import parse_quantity

_log = logging.getLogger(__name__)
_REFRESH_MS = 3_600_000
_RETRY_MS = 60_000


def boot_id(procfs: Path) -> str:
    """The kernel's random id of this boot. Raises OSError."""
    return (procfs / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()


def memory_bytes(procfs: Path) -> tuple[int, int]:
    """Total and used memory of the node (MemTotal, MemTotal - MemAvailable); zeros if unreadable."""
    values: dict[str, int] = {}
    try:
        for line in (procfs / "meminfo").read_text(encoding="ascii").splitlines():
            key, _, rest = line.partition(":")
            if key in ("MemTotal", "MemAvailable"):
                values[key] = min(_ticks(rest.split()[0]) * 1024, MAX_INTEGER)
    except (OSError, ValueError, IndexError):
        return 0, 0
    total = values.get("MemTotal", 0)
    return total, max(0, total - values.get("MemAvailable", total))


def busy_us(procfs: Path) -> int:
    """CPU time of the whole node that was neither idle nor waiting nor stolen, from /proc/stat.

    user, nice, system, irq and softirq; guest time is inside user. Stolen time is another machine's use.
    Raises OSError, or ValueError for a first line that is not what a kernel writes.
    """
    path = procfs / "stat"
    try:
        with open(path, encoding="ascii") as file:
            name, *fields = file.readline(1024).split()
        user, nice, system, _idle, _iowait, irq, softirq = map(_ticks, fields[:7])
    except ValueError:
        raise ValueError(f"{path}: its first line is not the CPU time of a kernel") from None
    if name != "cpu":
        raise ValueError(f"{path}: its first line is not the CPU time of a kernel")
    return (user + nice + system + irq + softirq) * 1_000_000 // os.sysconf("SC_CLK_TCK")


def _ticks(field: str) -> int:
    if not field.isdecimal() or len(field) > 20:  # what 64 bits can hold
        raise ValueError(field)
    return int(field)


def local_info(procfs: Path) -> NodeInfo:
    """The facts that /proc has; all CPUs and memory count as allocatable."""
    threads, model = 0, ""
    try:
        for line in (procfs / "cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            threads += key.strip() == "processor"
            if key.strip() == "model name" and not model:
                model = "".join(filter(str.isprintable, value)).strip()[:MAX_TEXT]
    except OSError:
        pass  # the model meter logs it; the report has the other facts
    total, _ = memory_bytes(procfs)
    allocatable = Allocatable(cpu_millicores=threads * 1000, memory_bytes=total)
    return NodeInfo(cpu_model=model, threads=threads, memory_bytes=total, allocatable=allocatable)


class NodeInfoSource:
    """The node's facts, read hourly in a thread of its own, so that sampling never waits for the API server.

    Until the API server has answered, the facts are those of /proc.
    """

    def __init__(self, api: Endpoint | None, node: str, local: NodeInfo, clock: Clock) -> None:
        self._api, self._node, self._known, self._clock = api, node, local, clock
        self._due_ms, self._logged = 0, ""
        self._asking: threading.Thread | None = None

    def __call__(self) -> NodeInfo:
        """The present facts; starts a request to the API server if one is due."""
        idle = self._asking is None or not self._asking.is_alive()
        if self._api is not None and idle and self._clock.steady_ms() >= self._due_ms:
            self._due_ms = self._clock.steady_ms() + _RETRY_MS
            self._asking = threading.Thread(target=self._ask, args=(self._api,), name="node-facts", daemon=True)
            self._asking.start()
        return self._known

    def wait(self, seconds: float) -> NodeInfo:
        """The facts after the API server has answered, or after `seconds`."""
        self()
        if self._asking is not None:
            self._asking.join(seconds)
        return self._known

    def _ask(self, api: Endpoint) -> None:
        try:
            self._known = cluster_info(api, self._node, self._known)
            self._due_ms, self._logged = self._clock.steady_ms() + _REFRESH_MS, ""
        except (OSError, ValueError) as error:
            if str(error) != self._logged:  # once for each reason
                _log.warning("node %s: %s; asking again each minute", self._node, error)
            self._logged = str(error)


def cluster_info(api: Endpoint, node: str, local: NodeInfo) -> NodeInfo:
    """`local` completed by the Node object. Raises OSError or ValueError if it cannot be read."""
    try:
        value = parse_json(api.get(f"/api/v1/nodes/{quote(node)}"))
        labels = value["metadata"].get("labels") or {}
        offered = value.get("status", {}).get("allocatable") or {}
        return NodeInfo(
            provider_id=_text(value.get("spec", {}), "providerID"),
            region=_text(labels, "topology.kubernetes.io/region"),
            zone=_text(labels, "topology.kubernetes.io/zone"),
            instance_type=_text(labels, "node.kubernetes.io/instance-type"),
            cpu_model=local.cpu_model,
            threads=local.threads,
            memory_bytes=local.memory_bytes,
            allocatable=Allocatable(
                cpu_millicores=_amount(offered, "cpu", 1000),
                memory_bytes=_amount(offered, "memory"),
                gpus=_amount(offered, "nvidia.com/gpu"),
            ),
        )
    except (HTTPException, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the node object of {node} cannot be used: {error}") from None


def _text(value: dict[str, object], key: str) -> str:
    """The text at `key` if a report may contain it, else an empty one."""
    found = text(value.get(key))
    return found if len(found) <= MAX_TEXT and found.isprintable() else ""


def _amount(value: dict[str, object], resource: str, unit: int = 1) -> int:
    amount = int(parse_quantity(str(value.get(resource, "0"))) * unit)
    if not 0 <= amount <= MAX_INTEGER:
        raise ValueError(f"its allocatable {resource} is not an amount")
    return amount
