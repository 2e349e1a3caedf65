"""Pods from a file: a PodList in JSON, read again when it changes. It lets the agent run without a cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from carbonbudget_agent.json_stream import read_items
from carbonbudget_agent.pods.pod_cache import PodCache
from carbonbudget_agent.pods.pod_info import POD_PARTS, PodInfo, parse_pod
from carbonbudget_agent.work_counters import WorkCounters

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 65_536


class FilePods:
    """`--pods-file`."""

    def __init__(self, path: Path, node: str, counts: WorkCounters) -> None:
        self._path, self._node, self._counts, self._failing = path, node, counts, False
        self._changed = -1.0
        self._known = PodCache(counts)

    def pods(self) -> Mapping[str, PodInfo]:
        """The file's pods; while it cannot be read, the last list."""
        try:
            changed = self._path.stat().st_mtime
            if changed != self._changed:
                self._read()
                self._changed, self._failing = changed, False
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._counts.pod_errors += 1
            if not self._failing:  # once, until it works again
                _log.warning("pods file %s cannot be used, the last list is used: %s", self._path, error)
            self._failing = True
        return self._known.snapshot()

    def expect(self, uids: Collection[str]) -> None:
        """Remember these cgroups; the file is checked at each call of `pods` anyway."""
        self._known.seen(uids, time.monotonic())

    def close(self) -> None:
        """Nothing runs in the background."""

    def _read(self) -> None:
        fields: dict[str, Any] = {}
        with open(self._path, "rb") as file:
            items = read_items(iter(lambda: file.read(_CHUNK_BYTES), b""), POD_PARTS, fields)
            self._known.replace((parse_pod(item, self._node) for item in items), time.monotonic())
