"""An API server for one node's pods, and pods for it, for the tests of the agent's pod sources."""

from __future__ import annotations

import http.server
import json
import time
from collections.abc import Callable
from typing import Any

from tests.fake_http_server import FakeHttpServer

from carbonbudget_agent.pods.pod_info import PodInfo
from carbonbudget_agent.pods.pod_info import parse_pod as parse_pod_on


def a_pod(uid: str = "u1", **spec: object) -> dict[str, Any]:
    metadata = {"uid": uid, "name": f"pod-{uid}", "namespace": "team-a"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running", "startTime": "2026-11-29T08:00:00Z"}}


def parse_pod(value: dict[str, Any]) -> PodInfo:
    return parse_pod_on(value, "node-1")


class Api(FakeHttpServer):
    """A list, and watches that say what they are told, one after another."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.items = [a_pod("u1")]
        self.watches: list[list[dict[str, Any]]] = []
        self.raw_watches: list[bytes] = []
        self.lists = 0
        self.paths: list[str] = []
        self.answer: tuple[int, bytes] | None = None  # instead of a list
        self.answer_headers: dict[str, str] = {}
        self.watch_answer: tuple[int, dict[str, str]] | None = None  # instead of a watch, once none is left


class Handler(http.server.BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.server.answer is not None and "watch=1" not in self.path:
            self.send_response(self.server.answer[0])
            for header in self.server.answer_headers.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(self.server.answer[1])
            return
        if "watch=1" in self.path and self.server.watch_answer and not self.server.raw_watches:
            self.send_response(self.server.watch_answer[0])
            for header in self.server.watch_answer[1].items():
                self.send_header(*header)
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        if "watch=1" not in self.path:
            self.server.lists += 1
            items = {"items": self.server.items, "metadata": {"resourceVersion": "5"}}
            self.wfile.write(json.dumps(items).encode())
            return
        while not self.server.watches and not self.server.raw_watches:
            time.sleep(0.01)
        if self.server.raw_watches:
            self.wfile.write(self.server.raw_watches.pop(0))
            return
        for event in self.server.watches.pop(0):
            self.wfile.write(json.dumps(event).encode() + b"\n")

    def log_message(self, *_: object) -> None:
        pass


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def event(kind: str, pod: dict[str, Any], version: str) -> dict[str, Any]:
    return {"type": kind, "object": pod | {"metadata": pod["metadata"] | {"resourceVersion": version}}}


class Clock:
    """Seconds that the test turns."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds
