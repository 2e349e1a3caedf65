"""Pods from the API server: a list and a watch limited to this node, in a thread of its own.

What a kubelet itself costs the API server, no more: the list comes from its cache (resourceVersion=0), and a watch
that ended, for whatever reason, is taken up with backoff and jitter. Pods that have ended are left out by the server.
It recovers from an API server that restarts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import closing
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlencode

from carbonbudget_agent.https_client import Endpoint, StatusError
from carbonbudget_agent.json_stream import JsonStream, Parts, read_items
from carbonbudget_agent.pods.pod_cache import PodCache
from carbonbudget_agent.pods.pod_info import POD_PARTS, PodInfo, parse_pod
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.backoff import Backoff

_log = logging.getLogger(__name__)
_WATCH_SECONDS = 300
_SILENCE_SECONDS = 90  # bookmarks come every minute: a longer silence is a half-open connection
_HELD_SECONDS = 30  # a watch that lasted so long worked
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 60.0
_SOONEST_SECONDS = 1.0  # between two attempts, where a pause is cut short for a new pod
_EVENT_PARTS: Final[Parts] = {"type": None, "object": {**POD_PARTS, "message": None}}


class _OutdatedError(Exception):
    """The watch cannot go on from where it was; only a list helps."""


class WatchedPods:
    """The default source inside a cluster."""

    def __init__(self, api: Endpoint, node: str, counts: WorkCounters, stop: threading.Event | None = None) -> None:
        """`stop` ends the thread, which also waits on it: a test passes one that counts the pauses."""
        self._api, self._node, self._counts = api, node, counts
        self._known = PodCache(counts)
        self._stop = stop or threading.Event()
        self._wake = stop or threading.Event()  # ends a pause early
        self._unknown: frozenset[str] = frozenset()
        self._tried = 0.0  # when, of a steady clock, an attempt ended whose pause may be cut short; 0: none
        self._version = ""  # from where a watch goes on; empty: a list is needed first
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
        self._listed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pod-watch", daemon=True)
        self._thread.start()

    def pods(self) -> Mapping[str, PodInfo]:
        """The pods that the watch has reported so far."""
        return self._known.snapshot()

    def wait_listed(self, seconds: float) -> bool:
        """Whether the first list is complete, waiting at most `seconds` for it."""
        return self._listed.wait(seconds)

    def expect(self, uids: Collection[str]) -> None:
        """The watch reports a pod before its cgroup is made; it is remembered while that exists.

        After an outage a pause may be a minute long. A cgroup that no list names is a pod that began meanwhile: it cuts
        the pause short, once, and the pauses begin anew, since a window that closes without its name counts it as
        unseen, and the first attempt after an outage often fails.
        """
        now = time.monotonic()
        self._known.seen(uids, now)
        if self._tried and now - self._tried >= _SOONEST_SECONDS:
            unknown = frozenset(uids).difference(self._known.snapshot())
            if unknown - self._unknown:
                self._backoff.reset()
                self._wake.set()
            self._unknown = unknown

    def close(self) -> None:
        """End the thread. It is a daemon and has nothing to save."""
        self._stop.set()
        self._wake.set()

    def _run(self) -> None:
        failing = False
        while not self._stop.is_set():
            asked_seconds, continued = 0, bool(self._version)
            try:
                if not continued:
                    self._list()
                    self._listed.set()
                self._watch()
                failing = False
            except (_OutdatedError, OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
                self._counts.pod_errors += 1
                if not failing:  # once, until it works again
                    _log.warning("watch of this node's pods broke, trying again: %s", error)
                failing = True
                if not isinstance(error, (OSError, HTTPException)):
                    self._version = ""
                if isinstance(error, _OutdatedError) and continued:
                    continue  # only a list helps, and the server answers; after a list there is a pause in any case
                if isinstance(error, StatusError):
                    asked_seconds = error.retry_after_seconds
            self._pause(asked_seconds)

    def _pause(self, asked_seconds: int) -> None:
        """Wait for the time of the backoff. A time that the server asked for is never cut short."""
        if not self._stop.is_set():
            self._wake.clear()
        if self._stop.is_set():
            return  # it was closed meanwhile
        self._tried = 0.0 if asked_seconds else time.monotonic()
        self._wake.wait(self._backoff.pause_seconds(asked_seconds))
        self._tried = 0.0

    def _path(self, **query: str) -> str:
        # What has ended holds nothing, and a node can have any number of pods that its kubelet rejected.
        fields = f"spec.nodeName={self._node},status.phase!=Succeeded,status.phase!=Failed"
        return "/api/v1/pods?" + urlencode({"fieldSelector": fields} | query)

    def _list(self) -> None:
        fields: dict[str, Any] = {}
        with closing(self._api.stream(self._path(resourceVersion="0"))) as chunks:
            items = read_items(chunks, POD_PARTS, fields)
            self._known.replace((parse_pod(item, self._node) for item in items), time.monotonic())
        self._version = str(fields["metadata"]["resourceVersion"])

    def _watch(self) -> None:
        """One watch until the server ends it."""
        query = {"watch": "1", "resourceVersion": self._version, "allowWatchBookmarks": "true"}
        began = time.monotonic()
        try:
            path = self._path(**query, timeoutSeconds=str(_WATCH_SECONDS))
            with closing(self._api.stream(path, _SILENCE_SECONDS)) as chunks:
                events = JsonStream(chunks)
                while events.next_character() and not self._stop.is_set():
                    event = events.value(_EVENT_PARTS)
                    self._apply(event["type"], event["object"])
                    self._version = str(event["object"]["metadata"]["resourceVersion"])
        except StatusError as error:
            if error.status == 410:
                raise _OutdatedError(str(error)) from None
            raise
        finally:
            if time.monotonic() - began >= _HELD_SECONDS:
                self._backoff.reset()

    def _apply(self, kind: str, value: dict[str, object]) -> None:
        if kind == "ERROR":
            raise _OutdatedError(f"the API server ended the watch: {value.get('message')}")
        if kind == "BOOKMARK":
            return
        pod = parse_pod(value, self._node)
        if kind == "DELETED":
            self._known.remove(pod.uid, time.monotonic())
        else:
            self._known.put(pod)
