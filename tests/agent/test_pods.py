"""Pods as the API tells of them, and the watch that tells."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.pod_api import Api, Clock, a_pod, event, parse_pod, until

from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.pods.kubelet import KubeletPods
from carbonbudget_agent.pods.pod_cache import PodCache
from carbonbudget_agent.pods.pod_watch import WatchedPods
from carbonbudget_agent.work_counters import WorkCounters


def test_a_pod_that_is_gone_keeps_its_name_for_a_while() -> None:
    known = PodCache(WorkCounters())
    known.put(parse_pod(a_pod("u1")))
    known.remove("u1", now=0.0)
    assert "u1" in known.snapshot()
    known.replace([parse_pod(a_pod("u2"))], now=301.0)
    known.remove("u2", now=302.0)
    assert set(known.snapshot()) == {"u2"}


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


def test_the_watch_follows_adds_and_deletes_of_this_node_only(api: Api) -> None:
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", WorkCounters())
    assert watched.wait_listed(10)
    assert set(watched.pods()) == {"u1"}
    api.watches.append([event("ADDED", a_pod("u2"), "6"), event("DELETED", a_pod("u1"), "7")])
    until(lambda: "u2" in watched.pods())
    until(lambda: any("resourceVersion=7" in path for path in api.paths))  # it goes on from where it was
    assert set(watched.pods()) == {"u1", "u2"}  # u1's last energy still has a name
    assert all("fieldSelector=spec.nodeName%3Dnode-1" in path for path in api.paths)
    watched.close()


def test_after_410_gone_it_lists_again(api: Api) -> None:
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", WorkCounters())
    assert watched.wait_listed(10)
    api.items = [a_pod("u3")]
    api.watches.append([{"type": "ERROR", "object": {"code": 410, "message": "too old"}}])
    until(lambda: "u3" in watched.pods())
    assert api.lists == 2
    watched.close()


def test_the_kubelets_list_stands_while_it_does_not_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = WorkCounters()
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
    kubelet = KubeletPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", WorkCounters(), clock)
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
    counts = WorkCounters()
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
    counts = WorkCounters()
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
        counts = WorkCounters()
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
