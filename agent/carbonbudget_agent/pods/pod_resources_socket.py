"""Which container holds which device, from the kubelet's pod-resources socket (gRPC, PodResourcesLister v1).

It uses `h2` and decodes only the protobuf fields that are needed: 6 MB, where grpcio would take 22 MB. The kubelet
creates the socket again at each start, so a container mounts its directory.
Source: k8s.io/kubelet/pkg/apis/podresources/v1/api.proto.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from carbonbudget_agent.device_sharing import DeviceClaim, nvidia_device

_TIMEOUT_SECONDS = 3.0
_MAX_BYTES = 16 * 2**20  # the kubelet's own limit of an answer
_EMPTY_MESSAGE = bytes(5)  # not compressed, length 0: ListPodResourcesRequest has no fields
_HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/v1.PodResourcesLister/List"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ResourcesError(Exception):
    """The kubelet's answer cannot be received or decoded; one line gives the reason."""


class PodResources:
    """The kubelet's device claims over one connection, which is reused, and opened again when it breaks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._connection: h2.connection.H2Connection | None = None
        self._answer = b""
        self._claims: list[DeviceClaim] = []

    def claims(self) -> list[DeviceClaim]:
        """Every device that a container holds now. Raises ResourcesError."""
        reused = self._socket is not None
        try:
            answer = self._list()
        except (OSError, h2.exceptions.ProtocolError, ResourcesError):
            self.close()
            if not reused:
                raise
            answer = self._list()  # once more on a new connection: the kubelet may have restarted
        if answer != self._answer:
            self._claims = list(parse_list(answer))
            self._answer = answer
        return self._claims

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._connection = None

    def _list(self) -> bytes:
        try:
            return self._exchange()
        except (OSError, h2.exceptions.ProtocolError) as error:
            self.close()
            raise ResourcesError(f"{self._path}: {error}") from None

    def _connect(self) -> tuple[socket.socket, h2.connection.H2Connection]:
        if self._socket is None or self._connection is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(_TIMEOUT_SECONDS)
            self._socket.connect(str(self._path))
            self._connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
            self._connection.initiate_connection()
        return self._socket, self._connection

    def _exchange(self) -> bytes:
        """One unary call: the message of the answer."""
        end = time.monotonic() + _TIMEOUT_SECONDS
        channel, connection = self._connect()
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, _HEADERS)
        connection.send_data(stream, _EMPTY_MESSAGE, end_stream=True)
        channel.sendall(connection.data_to_send())
        body = bytearray()
        status = reason = ""
        while True:
            received = channel.recv(65_536)
            if time.monotonic() > end:  # of the whole call: each byte alone comes in time
                raise ResourcesError(f"{self._path}: the answer was not complete after {_TIMEOUT_SECONDS:g} s")
            if not received:
                raise ResourcesError(f"{self._path}: the kubelet closed the connection")
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.DataReceived) and event.stream_id == stream:
                    body += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    headers = {str(name): str(value) for name, value in event.headers}
                    status = headers.get("grpc-status", status)
                    reason = headers.get("grpc-message", "")
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise ResourcesError(f"{self._path}: the kubelet ended the call ({event.error_code})")
                elif isinstance(event, h2.events.StreamEnded):
                    if status != "0":
                        raise ResourcesError(f"{self._path}: the kubelet answered status {status or 'none'} {reason}")
                    return _message(bytes(body))
            if len(body) > _MAX_BYTES:
                raise ResourcesError(f"{self._path}: the answer is larger than {_MAX_BYTES} bytes")
            channel.sendall(connection.data_to_send())


def _message(body: bytes) -> bytes:
    """The one message of a unary answer: a flag, four bytes of length, and that many bytes."""
    if len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise ResourcesError("the kubelet's answer is no whole gRPC message")
    return body[5:]


def parse_list(message: bytes) -> Iterator[DeviceClaim]:
    """The claims of a ListPodResourcesResponse. Raises ResourcesError if it cannot be decoded.

    Devices of dynamic resource allocation are known by their CDI names, of which only NVIDIA's are taken:
    `nvidia.com/gpu=GPU-...`, or its driver's `k8s.gpu.nvidia.com/device=gpu-0`. Names of the same device in one
    claim are one hold.
    """
    for pod in _all(message, 1):
        name, namespace = _first_text(pod, 1), _first_text(pod, 2)
        for container in _all(pod, 3):
            for devices in _all(container, 2):
                for device_id in _all(devices, 2):
                    yield DeviceClaim(namespace, name, _text(device_id))
            for dynamic in _all(container, 5):
                for resource in _all(dynamic, 4):
                    names = (_first_text(cdi, 1) for cdi in _all(resource, 1))
                    for device in dict.fromkeys(map(nvidia_device, names)):
                        if device:
                            yield DeviceClaim(namespace, name, device)


def _all(message: bytes, number: int) -> Iterator[bytes]:
    """Every occurrence of one length-delimited field."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
            continue
        size, at = _varint(message, at) if kind == _BYTES else ({_FIXED64: 8, _FIXED32: 4}.get(kind, -1), at)
        if size < 0 or at + size > len(message):
            raise ResourcesError("the kubelet's answer is cut off or no protobuf message")
        if kind == _BYTES and tag >> 3 == number:
            yield message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ResourcesError("the kubelet's answer is cut off or no protobuf message")


def _first_text(message: bytes, number: int) -> str:
    return _text(next(_all(message, number), b""))


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ResourcesError("the kubelet's answer holds a name that is no text") from None
