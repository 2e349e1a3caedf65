"""Pods as the API tells of them, and the watch that tells."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_agent.counts import Counts
from carbonbudget_agent.http import Endpoint
from carbonbudget_agent.pods.info import PodInfo
from carbonbudget_agent.pods.info import parse_pod as parse_pod_on
from carbonbudget_agent.pods.kubelet import KubeletPods
from carbonbudget_agent.pods.pod_cache import PodCache
from carbonbudget_agent.pods.pod_watch import WatchedPods
from carbonbudget_core.node_report import PodController, PodRequests
from carbonbudget_core.pod_requests import parse_quantity


def a_pod(uid: str = "u1", **spec: object) -> dict[str, Any]:
    metadata = {"uid": uid, "name": f"pod-{uid}", "namespace": "team-a"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running", "startTime": "2026-11-29T08:00:00Z"}}


def parse_pod(value: dict[str, Any]) -> PodInfo:
    return parse_pod_on(value, "node-1")


def container(cpu: str, **more: object) -> dict[str, object]:
    return {"resources": {"requests": {"cpu": cpu}}} | more


@pytest.mark.parametrize(
    ("spec", "millicores"),
    [
        ({"containers": [container("100m"), container("0.25")]}, 350),
        ({"containers": [container("100m")], "initContainers": [container("1")]}, 1000),
        ({"containers": [container("1")], "initContainers": [container("200m", restartPolicy="Always")]}, 1200),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("500m", restartPolicy="Always"), container("2")],
            },
            2500,
        ),
        ({"containers": [container("100m")], "overhead": {"cpu": "50m"}}, 150),
        ({"containers": [{"resources": {"limits": {"cpu": "2"}}}]}, 2000),
        ({"containers": [{}]}, 0),
        ({"containers": [container("garbage")]}, 0),
    ],
)
def test_requests_are_what_the_scheduler_counts(spec: dict[str, object], millicores: int) -> None:
    assert parse_pod(a_pod(**spec)).requests.cpu_millicores == millicores


def test_labels_that_a_controller_makes_are_left_out() -> None:
    pod = a_pod()
    pod["metadata"]["labels"] = {"app": "x", "pod-template-hash": "5f", "batch.kubernetes.io/job-name": "j"}
    assert parse_pod(pod).labels == {"app": "x"}


def test_the_controller_is_the_owner_that_says_so() -> None:
    pod = a_pod()
    owner = {"kind": "Job", "name": "train", "uid": "o"}
    pod["metadata"]["ownerReferences"] = [{"kind": "X", "name": "x", "uid": "x"}, owner | {"controller": True}]
    assert parse_pod(pod).controller == PodController("Job", "train", "o")


@pytest.mark.parametrize(
    ("phase", "finished"),
    [("Pending", False), ("Running", False), ("Unknown", False), ("Succeeded", True), ("Failed", True), (None, False)],
)
def test_a_pod_has_finished_when_its_phase_says_so(phase: str | None, finished: bool) -> None:
    assert parse_pod(a_pod() | {"status": {"phase": phase}}).finished is finished
    assert parse_pod(a_pod()).finished is False


def test_requests_of_the_whole_pod_go_before_those_of_its_containers() -> None:
    pod = a_pod()
    pod["spec"] = {
        "resources": {"requests": {"cpu": "4"}},
        "overhead": {"cpu": "250m", "memory": "1Mi"},
        "containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}, {}],
    }
    requests = parse_pod(pod).requests
    assert (requests.cpu_millicores, requests.memory_bytes) == (4_250, 2**30 + 2**20)


@pytest.mark.parametrize(
    ("text", "value"), [("100m", "1/10"), ("1.5Gi", "1610612736"), ("2e3", "2000"), ("1k", "1000")]
)
def test_quantities_of_every_kind_are_exact(text: str, value: str) -> None:
    assert str(parse_quantity(text)) == value


def test_every_suffix_of_kubernetes_is_known() -> None:
    suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    values = [parse_quantity(f"3{suffix}") for suffix in suffixes]
    decimal = [Fraction(3) * Fraction(10) ** power for power in (-9, -6, -3, 0, 3, 6, 9, 12, 15, 18)]
    assert values == [*decimal, *(Fraction(3 * 1024**power) for power in range(1, 7))]


@pytest.mark.parametrize(
    "text", ["", "m", "1/0", "1/2", "1_0", "1e999999999", "1e-999999999", "9" * 5000, " 1", "1 ", "1e", "0x1", "NaN",
             "1KiB", "\u0661", "--1", "1ki"]
)  # fmt: skip
def test_what_is_no_quantity_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@given(st.text("0123456789.eE+-numkKMGTPi/_ ", max_size=60))
def test_any_text_is_a_quantity_of_a_size_that_can_be_held_or_refused(text: str) -> None:
    try:
        value = parse_quantity(text)
    except ValueError:
        return
    assert abs(value) < 10**160


def test_a_tenants_request_that_no_node_has_costs_no_window() -> None:
    """A pod may name its node itself, and so reach the agent without a scheduler having looked at it."""
    spec = {"containers": [{"resources": {"requests": {"cpu": "9E", "memory": "1e99", "nvidia.com/gpu": "1e999999"}}}]}
    assert parse_pod(a_pod(**spec)).requests == PodRequests(0, 0, 0)


@pytest.mark.parametrize("value", [{}, {"metadata": None}, {"metadata": {"uid": 5, "name": "x", "namespace": "y"}}])
def test_what_is_no_pod_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a pod has a uid"):
        parse_pod(value)


def test_a_pod_that_is_gone_keeps_its_name_for_a_while() -> None:
    known = PodCache(Counts())
    known.put(parse_pod(a_pod("u1")))
    known.remove("u1", now=0.0)
    assert "u1" in known.snapshot()
    known.replace([parse_pod(a_pod("u2"))], now=301.0)
    known.remove("u2", now=302.0)
    assert set(known.snapshot()) == {"u2"}


class Api(http.server.ThreadingHTTPServer):
    """A list, and watches that say what they are told, one after another."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
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


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.watches.extend([[]] * 50)  # let a watch that waits end
    made.shutdown()
    thread.join()
    made.server_close()


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def event(kind: str, pod: dict[str, Any], version: str) -> dict[str, Any]:
    return {"type": kind, "object": pod | {"metadata": pod["metadata"] | {"resourceVersion": version}}}


def test_the_watch_follows_adds_and_deletes_of_this_node_only(api: Api) -> None:
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", Counts())
    assert watched.wait_listed(10)
    assert set(watched.pods()) == {"u1"}
    api.watches.append([event("ADDED", a_pod("u2"), "6"), event("DELETED", a_pod("u1"), "7")])
    until(lambda: "u2" in watched.pods())
    until(lambda: any("resourceVersion=7" in path for path in api.paths))  # it goes on from where it was
    assert set(watched.pods()) == {"u1", "u2"}  # u1's last energy still has a name
    assert all("fieldSelector=spec.nodeName%3Dnode-1" in path for path in api.paths)
    watched.close()


def test_after_410_gone_it_lists_again(api: Api) -> None:
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", Counts())
    assert watched.wait_listed(10)
    api.items = [a_pod("u3")]
    api.watches.append([{"type": "ERROR", "object": {"code": 410, "message": "too old"}}])
    until(lambda: "u3" in watched.pods())
    assert api.lists == 2
    watched.close()


def test_the_kubelets_list_stands_while_it_does_not_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()
    clock = Clock()
    kubelet = KubeletPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", counts, clock)
    assert set(kubelet.pods()) == {"u1"}
    assert api.paths == ["/pods"]
    clock.seconds += 10
    monkeypatch.setattr(kubelet, "_kubelet", Endpoint("http://127.0.0.1:1", None, None))
    assert set(kubelet.pods()) == {"u1"}
    assert counts.pod_errors == 1


def test_a_pod_that_the_kubelet_has_not_told_yet_is_asked_for_at_once_and_only_once(api: Api) -> None:
    clock = Clock()
    kubelet = KubeletPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", Counts(), clock)
    kubelet.pods()
    api.items.append(a_pod("u2"))
    clock.seconds += 1
    kubelet.expect(["u1"])
    assert len(api.paths) == 1
    kubelet.expect(["u1", "u2"])
    assert set(kubelet.pods()) == {"u1", "u2"}
    kubelet.expect(["stranger"])  # within the second: it waits for the next look
    assert len(api.paths) == 2
    for _ in range(5):  # a cgroup that belongs to no pod the kubelet knows
        clock.seconds += 1
        kubelet.expect(["u1", "u2", "stranger"])
    assert len(api.paths) == 3


class Clock:
    """Seconds that the test turns."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


BAD_ANSWERS = [
    (401, b"{}"), (403, b"{}"), (404, b""), (500, b"oops"), (200, b""), (200, b"{"), (200, b"[]"), (200, b"null"),
    (200, b'{"items": 5}'), (200, b'{"items": [5]}'), (200, b'{"items": [{"metadata": {"uid": 1}}]}'),
    (200, b'{"items": [], "metadata": null}' + b" " * 70_000), (200, b"\xff\xfe"),
    (200, b"[" * 100_000),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), BAD_ANSWERS)
def test_whatever_a_kubelet_answers_the_last_list_stands_and_it_is_counted_each_time_and_told_once(
    api: Api, status: int, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    endpoint = Endpoint(f"http://127.0.0.1:{api.server_port}", None, None)
    clock = Clock()
    kubelet = KubeletPods(endpoint, "node-1", counts, clock)
    kubelet.pods()
    api.answer = (status, body)
    for _ in range(3):
        clock.seconds += 10
        assert set(kubelet.pods()) == {"u1"}
    good = body.startswith(b'{"items": [], "metadata": null}')
    assert (counts.pod_errors, len(caplog.records)) == ((0, 0) if good else (3, 1))


@pytest.mark.parametrize(("status", "body"), BAD_ANSWERS)
def test_whatever_the_api_server_answers_the_watch_comes_back_when_it_is_well(
    api: Api, status: int, body: bytes
) -> None:
    api.answer = (status, body)
    counts = Counts()
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", counts)
    until(lambda: counts.pod_errors > 0)
    assert watched.pods() == {}
    api.answer = None
    until(lambda: "u1" in watched.pods())
    watched.close()


def test_an_answer_without_end_is_cut_off(api: Api) -> None:
    api.answer = (200, b"x" * 5_000_000)
    with pytest.raises(OSError, match="larger than 4194304 bytes"):
        Endpoint(f"http://127.0.0.1:{api.server_port}", None, None).get("/pods")


def test_a_kubelet_that_is_silent_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", None, None, timeout_s=0.2)
        counts = Counts()
        assert KubeletPods(endpoint, "node-1", counts).pods() == {}
        assert counts.pod_errors == 1


def test_a_kubelet_that_gives_a_byte_now_and_then_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                with contextlib.suppress(OSError):  # until it is hung up on
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.01)

        thread = threading.Thread(target=drip)
        thread.start()
        endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", None, None, timeout_s=0.3)
        began = time.monotonic()
        with pytest.raises(OSError, match=r"not complete after 0\.3 s"):
            endpoint.get("/pods")
        assert time.monotonic() - began < 3
        thread.join()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", b"body"),  # and the connection stays open
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", b"body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_an_answer_is_read_to_its_end_and_no_further(answer: bytes, body: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", None, None, timeout_s=5)
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.append(endpoint.get("/pods")))
        thread.start()
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)
            thread.join()
    assert got == [body]


def test_an_answer_that_is_cut_off_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", None, None, timeout_s=5)

        def cut() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")

        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(OSError, match="cut off"):
            endpoint.get("/pods")
        thread.join()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(
    st.sampled_from(["metadata", "spec", "uid", "name", "namespace", "labels", "containers", "ownerReferences",
                     "resources", "requests", "cpu", "annotations", "initContainers", "overhead"]), s), max_leaves=30,
))  # fmt: skip
def test_any_json_is_refused_by_every_reader_of_pods_as_it_expects(value: object) -> None:
    if not isinstance(value, dict):
        return
    with pytest.raises(ValueError, match="a pod has a uid"):  # a whole one is as good as never drawn
        parse_pod(value)
