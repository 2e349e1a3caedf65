"""A kubelet's pod-resources socket: a real gRPC server that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc
from tests.gpu.driver import GPU_A
from tests.gpu.wire import pod_resources


class Kubelet:
    """Answers List with `answer`, or with the error that it raises."""

    def __init__(self, path: Path) -> None:
        self.answer: Callable[[grpc.ServicerContext], bytes] = lambda _: pod_resources(("team", "a", [GPU_A]))
        self.path, self.calls = path, 0
        self._server = self._start()

    def _start(self) -> grpc.Server:
        def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls += 1
            return self.answer(context)

        handler = grpc.method_handlers_generic_handler(
            "v1.PodResourcesLister", {"List": grpc.unary_unary_rpc_method_handler(answer)}
        )
        server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
        server.add_insecure_port(f"unix://{self.path}")
        server.start()
        return server

    def stop(self) -> None:
        self._server.stop(0).wait()
        self.path.unlink(missing_ok=True)

    def restart(self) -> None:
        self.stop()
        self._server = self._start()
