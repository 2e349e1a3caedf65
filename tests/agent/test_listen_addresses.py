"""Where the agent listens and asks, with IPv4, IPv6 and both."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from tests.prometheus import free_port

from carbonbudget_agent.exporter import Exporter
from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.options import parse_options
from carbonbudget_agent.work_counters import WorkCounters

HAS_IPV6 = socket.has_dualstack_ipv6()
RUN = ("run", "--dry-run", "--pods-file", "x")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (":9109", ("", 9109)),
        ("127.0.0.1:9109", ("127.0.0.1", 9109)),
        ("[::]:9109", ("::", 9109)),
        ("[::1]:9109", ("::1", 9109)),
        ("", None),
    ],
)
def test_an_address_to_listen_at_may_be_of_each_family_or_left_out(given: str, address: object) -> None:
    assert parse_options([*RUN, "--metrics-listen", given]).metrics_listen == address


@pytest.mark.parametrize(("ip", "host"), [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]")])
def test_the_kubelet_is_asked_at_the_node_s_address_of_each_family(ip: str, host: str) -> None:
    options = parse_options(["run", "--dry-run", "--host-ip", ip, "--kubelet-port", "10250"])
    assert options.kubelet_url == f"https://{host}:10250"


@pytest.mark.parametrize(("url", "port"), [("https://[2001:db8::1]", 443), ("http://[2001:db8::1]", 80)])
def test_an_ipv6_address_without_a_port_is_not_taken_apart(url: str, port: int) -> None:
    connection = Endpoint(url, None, None).connect()
    assert (connection.host, connection.port) == ("2001:db8::1", port)


@pytest.mark.parametrize(
    "asked", ["127.0.0.1", pytest.param("[::1]", marks=pytest.mark.skipif(not HAS_IPV6, reason="no IPv6"))]
)
@pytest.mark.parametrize("host", ["", "::"])
def test_metrics_and_probe_answer_at_addresses_of_both_families(host: str, asked: str) -> None:
    if host and not HAS_IPV6:
        pytest.skip("no IPv6")
    port = free_port()
    stop = Exporter(WorkCounters(), None).serve(host, port)
    try:
        for path in ("healthz", "metrics"):
            with urllib.request.urlopen(f"http://{asked}:{port}/{path}", timeout=30) as answer:
                assert answer.status == 200
    finally:
        stop()  # which ends only if its own connection reaches the listener


def test_with_a_kernel_without_ipv6_the_listener_has_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    port = free_port()
    stop = Exporter(WorkCounters(), None).serve("", port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
            assert answer.status == 200
        with pytest.raises(OSError):  # noqa: PT011 - refused, or no such family
            socket.create_connection(("::1", port), timeout=30).close()
    finally:
        stop()
