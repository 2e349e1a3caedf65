"""Protobuf by hand, for the few messages that the tests send as a kubelet or as a device plugin."""

from __future__ import annotations


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: bytes | str | int) -> bytes:
    """One field: a length-delimited one, or a varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def pod_resources(*pods: tuple[str, str, list[str]], resource: str = "nvidia.com/gpu") -> bytes:
    """A ListPodResourcesResponse: pods as (namespace, name, device ids), with fields that are not read too."""
    message = b""
    for namespace, name, ids in pods:
        devices = field(1, resource) + b"".join(field(2, device) for device in ids) + field(3, field(1, field(1, 0)))
        container = field(1, "main") + field(2, devices) + field(3, varint(7)) + field(9, 5)
        message += field(1, field(1, name) + field(2, namespace) + field(3, container))
    return message
