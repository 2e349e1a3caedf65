"""A device plugin: registers devices with the real kubelet, which then hands them to pods.

Kubernetes' deviceplugin/v1beta1 over gRPC, its few messages written by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
from tests.gpu.wire import field

# The kubelet's own place for these, whatever its root directory is.
SOCKETS = Path("/var/lib/kubelet/device-plugins")


class DevicePlugin:
    """One resource and its healthy devices, offered until `stop`."""

    def __init__(self, resource: str, ids: list[str]) -> None:
        self.resource, self._stopped = resource, threading.Event()
        self._path = SOCKETS / f"carbonbudget-test-{resource.replace('/', '-')}.sock"
        self._devices = b"".join(field(1, field(1, device) + field(2, "Healthy")) for device in ids)
        service = {
            "GetDevicePluginOptions": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b""),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._list),
            "Allocate": grpc.unary_unary_rpc_method_handler(_allocate),
            "PreStartContainer": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b""),
        }
        handler = grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", service)
        self._server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
        self._path.unlink(missing_ok=True)
        self._server.add_insecure_port(f"unix://{self._path}")
        self._server.start()
        self._register()

    def _register(self) -> None:
        request = field(1, "v1beta1") + field(2, self._path.name) + field(3, self.resource)
        with grpc.insecure_channel(f"unix://{SOCKETS}/kubelet.sock") as channel:
            channel.unary_unary("/v1beta1.Registration/Register")(request, timeout=10)

    def _list(self, _request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield self._devices
        self._stopped.wait()

    def stop(self) -> None:
        """Take the devices back."""
        self._stopped.set()
        self._server.stop(0).wait()
        self._path.unlink(missing_ok=True)


def _allocate(request: bytes, _context: grpc.ServicerContext) -> bytes:
    """An empty answer for each container that is asked for: nothing has to be mounted."""
    containers = 0
    while request:  # repeated field 1, each shorter than 128 bytes times a few
        size, at = request[1], 2
        if size > 127:
            size, at = (size & 127) | request[2] << 7, 3
        request = request[at + size :]
        containers += 1
    return field(1, b"") * containers
