"""Pods from a file: a PodList in JSON, read again when it changes. For trying the agent anywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from carbonbudget_agent.pods.info import PodInfo, parse_pod

_log = logging.getLogger(__name__)


class FilePods:
    """`--pods-file`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = -1.0
        self._pods: dict[str, PodInfo] = {}

    def pods(self) -> Mapping[str, PodInfo]:
        """The file's pods; while it cannot be read, the last that could."""
        try:
            changed = self._path.stat().st_mtime
            if changed != self._changed:
                items = json.loads(self._path.read_text(encoding="utf-8"))["items"]
                self._pods = {pod.cgroup_uid: pod for pod in map(parse_pod, items)}
                self._changed = changed
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("pods file %s cannot be used, the last list stands: %s", self._path, error)
        return self._pods

    def close(self) -> None:
        """Nothing runs in the background."""
