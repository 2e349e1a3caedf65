"""The HTTP proxy on the way to an API server, by the environment variables that kubectl reads.

The rules are those of Go's golang.org/x/net/http/httpproxy: NO_PROXY names hosts, domains with all their subdomains,
addresses and networks, each with an optional port. The machine itself is never asked through a proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def environment_proxy(url: str, environment: Mapping[str, str]) -> str:
    """The proxy's URL for a request to `url`; empty for none. Raises ValueError for an invalid `url`."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
    proxy = _value(environment, f"{parts.scheme}_proxy")
    if not proxy or _is_own(host):
        return ""
    entries = [one.strip().lower() for one in _value(environment, "no_proxy").split(",")]
    if any(_names(entry, host, port) for entry in entries if entry):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _value(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name, "")


def _is_own(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY is meant for a host."""
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isdecimal() and (":" not in name or name.endswith("]")):  # else an IPv6 address
        if int(its_port) != port:
            return False
        entry = name
    entry = entry.removeprefix("[").removesuffix("]")
    if address is not None:
        return _address(entry) == address
    if entry.startswith(("*.", ".")):
        return host.endswith(entry.removeprefix("*"))
    return host == entry or host.endswith(f".{entry}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
