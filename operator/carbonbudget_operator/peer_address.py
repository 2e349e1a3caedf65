"""The address of a connection's other side, written in one way whatever socket accepted it.

A socket of both families shows an IPv4 client as `::ffff:192.0.2.1`. Limits, logs and comparisons need `192.0.2.1`:
otherwise one client would count as two, and all IPv4 clients together would be of one IPv6 network.
"""

from __future__ import annotations

from typing import Final

_MAPPED: Final = "::ffff:"


def address_of(peername: object) -> str:
    """The client's address in a socket's peer name, or in an ASGI scope's `client`; empty if it has none."""
    host = str(peername[0]) if isinstance(peername, tuple) and peername else ""
    return host.removeprefix(_MAPPED) if "." in host else host
