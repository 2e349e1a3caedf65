"""Pods from a file: a PodList in JSON, read again when it changes. For trying the agent anywhere."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.jsons import parse_json
from carbonbudget_agent.pods.info import PodInfo, parse_pod

_log = logging.getLogger(__name__)


class FilePods:
    """`--pods-file`."""

    def __init__(self, path: Path, counts: Counts) -> None:
        self._path, self._counts, self._failing = path, counts, False
        self._changed = -1.0
        self._pods: dict[str, PodInfo] = {}

    def pods(self) -> Mapping[str, PodInfo]:
        """The file's pods; while it cannot be read, the last that could."""
        try:
            changed = self._path.stat().st_mtime
            if changed != self._changed:
                items = parse_json(self._path.read_text(encoding="utf-8"))["items"]
                self._pods = {pod.cgroup_uid: pod for pod in map(parse_pod, items)}
                self._changed, self._failing = changed, False
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._counts.pod_errors += 1
            if not self._failing:  # once, until it works again
                _log.warning("pods file %s cannot be used, the last list stands: %s", self._path, error)
            self._failing = True
        return self._pods

    def expect(self, uids: Collection[str]) -> None:
        """The file is looked at each time anyway."""

    def close(self) -> None:
        """Nothing runs in the background."""
