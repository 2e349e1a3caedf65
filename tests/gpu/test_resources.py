"""The kubelet's pod-resources socket, spoken to over a real gRPC server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gpu.driver import GPU_A
from tests.gpu.kubelet import Kubelet
from tests.gpu.wire import field, pod_resources

from carbonbudget_agent.device_sharing import DeviceClaim
from carbonbudget_agent.pods.pod_resources_socket import PodResources, ResourcesError, parse_list


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    made = Kubelet(tmp_path / "kubelet.sock")
    yield made
    made.stop()


@pytest.fixture
def resources(kubelet: Kubelet) -> Iterator[PodResources]:
    made = PodResources(kubelet.path)
    yield made
    made.close()


def test_every_claim_of_every_container_is_listed(kubelet: Kubelet, resources: PodResources) -> None:
    kubelet.answer = lambda _: pod_resources(("team", "a", [GPU_A, "nvidia1"]), ("other", "b", []))
    assert resources.claims() == [DeviceClaim("team", "a", GPU_A), DeviceClaim("team", "a", "nvidia1")]
    kubelet.answer = lambda _: b""
    assert resources.claims() == []


def test_an_answer_of_many_frames_is_put_together(kubelet: Kubelet, resources: PodResources) -> None:
    pods = [("team", f"pod-{n}", [f"GPU-{n:036d}"]) for n in range(3000)]
    kubelet.answer = lambda _: pod_resources(*pods)
    for _ in range(20):  # more than one window of flow control
        assert len(resources.claims()) == 3000


def test_a_kubelet_that_restarted_is_found_again(kubelet: Kubelet, resources: PodResources) -> None:
    resources.claims()
    kubelet.restart()
    assert resources.claims() == [DeviceClaim("team", "a", GPU_A)]


def test_a_socket_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResourcesError, match=r"kubelet.sock: .*No such file"):
        PodResources(tmp_path / "kubelet.sock").claims()


def test_an_error_of_the_kubelet_is_one_sentence_and_the_next_call_works(
    kubelet: Kubelet, resources: PodResources
) -> None:
    good = kubelet.answer

    def refuse(context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
        raise AssertionError

    kubelet.answer = refuse
    with pytest.raises(ResourcesError, match="status 8 rejected by rate limit"):
        resources.claims()
    kubelet.answer = good
    assert resources.claims()


def test_dynamic_resource_allocation_is_told_by_the_cdi_name() -> None:
    dynamic = field(5, field(2, "claim") + field(4, field(1, field(1, f"nvidia.com/gpu={GPU_A}")) + field(2, "drv")))
    message = field(1, field(1, "a") + field(2, "team") + field(3, field(1, "main") + dynamic))
    assert list(parse_list(message)) == [DeviceClaim("team", "a", GPU_A)]


def test_the_names_of_one_device_in_a_claim_are_one_hold_and_another_vendors_are_none() -> None:
    uid = "5d1c0d0e-0000-4000-8000-00000000000a"
    names = ["k8s.gpu.nvidia.com/device=gpu-0", f"k8s.gpu.nvidia.com/claim={uid}-gpu-0", "gpu.example.com/gpu=gpu-1"]
    resource = field(4, b"".join(field(1, field(1, name)) for name in names) + field(2, "gpu.nvidia.com"))
    message = field(1, field(1, "a") + field(2, "team") + field(3, field(5, field(2, "claim") + resource)))
    assert list(parse_list(message)) == [DeviceClaim("team", "a", "gpu-0")]


@pytest.mark.parametrize("garbage", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64, b"\xff" * 64])
def test_what_does_not_speak_http2_is_one_sentence(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "kubelet.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(garbage)

        server = threading.Thread(target=answer)
        server.start()
        with pytest.raises(ResourcesError, match="kubelet"):
            PodResources(path).claims()
        server.join()


def test_a_kubelet_that_gives_a_byte_now_and_then_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbonbudget_agent.pods.pod_resources_socket._TIMEOUT_SECONDS", 0.3)
    path = tmp_path / "kubelet.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):  # until it is hung up on
                connection.recv(4096)
                while True:
                    connection.sendall(b"\0\0\0\x04\0\0\0\0\0")  # an empty SETTINGS frame
                    time.sleep(0.02)

        thread = threading.Thread(target=drip)
        thread.start()
        made = PodResources(path)
        began = time.monotonic()
        with pytest.raises(ResourcesError, match="not complete after"):
            made.claims()
        assert time.monotonic() - began < 3
        thread.join()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_list_or_refused(message: bytes) -> None:
    try:
        assert all(isinstance(claim, DeviceClaim) for claim in parse_list(message))
    except ResourcesError:
        pass


@given(
    st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1), st.lists(st.text(max_size=60), max_size=4))),
    st.integers(0, 400),
)
def test_what_is_written_is_read_and_what_is_cut_off_is_refused_or_shorter(
    pods: list[tuple[str, str, list[str]]], cut: int
) -> None:
    message = pod_resources(*pods)
    whole = [DeviceClaim(namespace, name, device) for namespace, name, ids in pods for device in ids]
    assert list(parse_list(message)) == whole
    try:
        assert len(list(parse_list(message[:cut]))) <= len(whole)
    except ResourcesError:
        pass
