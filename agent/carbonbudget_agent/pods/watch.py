"""Pods from the API server: a list and a watch limited to this node, in a thread of its own.

What a kubelet itself costs the API server, no more: the list comes from its cache (resourceVersion=0), a
lost watch is taken up with backoff and jitter. It recovers from an API server that restarts.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from http.client import HTTPException
from urllib.parse import urlencode

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.http import Endpoint
from carbonbudget_agent.jsons import parse_items, parse_json
from carbonbudget_agent.pods.info import PodInfo, parse_pod
from carbonbudget_agent.pods.known import KnownPods

_log = logging.getLogger(__name__)
_WATCH_SECONDS = 300
_MAX_BACKOFF_SECONDS = 30.0


class WatchedPods:
    """The default source inside a cluster."""

    def __init__(self, api: Endpoint, node: str, counts: Counts) -> None:
        self._api, self._node, self._counts = api, node, counts
        self._known = KnownPods()
        self._stop = threading.Event()
        self._listed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pod-watch", daemon=True)
        self._thread.start()

    def pods(self) -> Mapping[str, PodInfo]:
        """What the watch has told so far."""
        return self._known.snapshot()

    def wait_listed(self, seconds: float) -> bool:
        """Whether the first list is complete, waiting at most `seconds` for it."""
        return self._listed.wait(seconds)

    def expect(self, uids: Collection[str]) -> None:
        """The watch tells of a pod before its cgroup is made."""

    def close(self) -> None:
        """Tell the thread to end; it is a daemon and holds nothing that must be saved."""
        self._stop.set()

    def _run(self) -> None:
        backoff, failing = 0.5, False
        while not self._stop.is_set():
            try:
                version = self._list()
                self._listed.set()
                backoff, failing = 0.5, False
                while not self._stop.is_set():
                    version = self._watch(version)
            except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
                self._counts.pod_errors += 1
                if not failing:  # once, until it works again
                    _log.warning("watch of this node's pods broke, listing again: %s", error)
                failing = True
                self._stop.wait(backoff * (0.5 + random.random()))  # noqa: S311 - jitter, not secrecy
                backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)

    def _path(self, **query: str) -> str:
        return "/api/v1/pods?" + urlencode({"fieldSelector": f"spec.nodeName={self._node}"} | query)

    def _list(self) -> str:
        fields, pods = parse_items(self._api.get(self._path(resourceVersion="0")), parse_pod)
        version = str(fields["metadata"]["resourceVersion"])
        self._known.replace(pods, time.monotonic())
        return version

    def _watch(self, version: str) -> str:
        """One watch until the server ends it; the version to go on from."""
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        connection = self._api.connect()
        try:
            # Bookmarks come every minute: a longer silence is a half-open connection.
            connection.timeout = 90
            path = self._path(**query, timeoutSeconds=str(_WATCH_SECONDS))
            connection.request("GET", path, headers=self._api.headers())
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(f"the API server answered {response.status} {response.reason}")
            for line in _lines(response):
                event = parse_json(line)
                self._apply(event["type"], event["object"])
                version = str(event["object"]["metadata"]["resourceVersion"])
                if self._stop.is_set():
                    break
        finally:
            connection.close()
        return version

    def _apply(self, kind: str, value: dict[str, object]) -> None:
        if kind == "ERROR":
            raise OSError(f"the API server ended the watch: {value.get('message')}")
        if kind == "BOOKMARK":
            return
        pod = parse_pod(value)
        if kind == "DELETED":
            self._known.remove(pod.cgroup_uid, time.monotonic())
        else:
            self._known.put(pod)


def _lines(response: Iterator[bytes]) -> Iterator[bytes]:
    return (line for line in response if line.strip())
