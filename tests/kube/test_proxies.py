"""Which proxy is on the way to an API server: kubectl's rules, and none in a pod."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.answers_from_server import ApiServerTransport
from carbonbudget_operator.cli.kubeconfig_gateway import KubeconfigGateway
from carbonbudget_operator.kube import credentials as module
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials, find_credentials
from carbonbudget_operator.kube.environment_proxy import environment_proxy
from carbonbudget_operator.web.gateway import PageCaller

PROXY = "http://proxy.example:3128"
API = "https://api.cluster.example:6443"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        (API, {}, ""),
        (API, {"HTTPS_PROXY": PROXY}, PROXY),
        (API, {"https_proxy": PROXY}, PROXY),
        (API, {"https_proxy": "proxy.example:3128"}, PROXY),
        (API, {"HTTP_PROXY": PROXY}, ""),
        ("http://api.cluster.example", {"HTTP_PROXY": PROXY}, PROXY),
        (API, {"HTTPS_PROXY": ""}, ""),
        ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, ""),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, ""),
        ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, ""),
    ],
)
def test_the_proxy_is_that_of_the_url_s_scheme_and_never_for_this_machine(
    url: str, environment: dict[str, str], proxy: str
) -> None:
    assert environment_proxy(url, environment) == proxy


@pytest.mark.parametrize(
    ("url", "entry", "is_direct"),
    [
        (API, "*", True),
        (API, "cluster.example", True),
        (API, ".cluster.example", True),
        (API, "*.cluster.example", True),
        (API, "api.cluster.example", True),
        (API, ".api.cluster.example", False),
        (API, "ter.example", False),
        (API, "API.Cluster.Example", True),
        (API, "other.example, cluster.example:6443", True),
        (API, "cluster.example:443", False),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "11.0.0.0/8", False),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "10.1.2.3:443", True),
        ("https://10.1.2.3", "2.3", False),
        ("https://10.1.2.3", "no/network", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "fd00::1", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "fd00::2", False),
        (API, "", False),
    ],
)
def test_no_proxy_names_hosts_domains_addresses_and_networks(url: str, entry: str, is_direct: bool) -> None:
    assert environment_proxy(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": entry}) == ("" if is_direct else PROXY)


def by_kubeconfig(directory: Path, **cluster: object) -> Credentials:
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": API, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    (directory / "kubeconfig").write_text(json.dumps(config))
    return find_credentials(str(directory / "kubeconfig"))


def test_a_kubeconfig_s_own_proxy_comes_before_the_environment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "")
    assert by_kubeconfig(tmp_path).proxy == PROXY
    assert by_kubeconfig(tmp_path, **{"proxy-url": "http://own:1"}).proxy == "http://own:1"
    monkeypatch.setenv("NO_PROXY", "cluster.example")
    assert by_kubeconfig(tmp_path).proxy == ""
    with pytest.raises(ValueError, match="the kubeconfig's proxy-url is socks5: only http and https work"):
        by_kubeconfig(tmp_path, **{"proxy-url": "socks5://own:1"})


def test_a_pod_s_credentials_have_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text("t")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    found = find_credentials()
    assert (found.url, found.proxy) == ("https://[fd00::1]:443", "")


@asynccontextmanager
async def proxy(body: bytes = b"{}") -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that answers every request itself, and what it was asked for."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0])
        size = str(len(body)).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + size + b"\r\n\r\n" + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_requests_go_by_the_proxy_of_the_credentials() -> None:
    async with proxy() as (url, asked):
        client = KubeClient.connect(Credentials("http://api.example", lambda: "", proxy=url))
        try:
            assert await client.request("GET", ApiPath("", "v1", "pods")) == {}
        finally:
            await client.close()
    assert asked == [b"GET http://api.example/api/v1/pods HTTP/1.1"]


async def test_the_environment_s_proxy_is_not_used_without_those_of_the_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxy() as (other, by_proxy), proxy() as (api, asked):
        monkeypatch.setenv("HTTP_PROXY", other)
        monkeypatch.setenv("http_proxy", other)
        client = KubeClient.connect(Credentials(api, lambda: ""))
        try:
            await client.request("GET", ApiPath("", "v1", "pods"))
        finally:
            await client.close()
    assert (asked, by_proxy) == ([b"GET /api/v1/pods HTTP/1.1"], [])


async def test_questions_through_the_api_server_go_by_the_proxy_of_the_credentials_and_by_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = b'{"status": {"token": "t"}}'
    async with proxy() as (other, by_environment), proxy(token) as (own, asked):
        monkeypatch.setenv("HTTP_PROXY", other)
        monkeypatch.setenv("http_proxy", other)
        who = Credentials("http://api.example", lambda: "", proxy=own)
        assert await asyncio.to_thread(ApiServerTransport(who, "system", 30).token_of, "reader") == "t"
        gateway = KubeconfigGateway(who, "system", 30, ("system", "reader"))
        try:
            assert (await gateway.get("/api/v1/whoami", [], PageCaller("", ""))).status == 200
        finally:
            await gateway.close()
    assert by_environment == []
    account = b"POST http://api.example/api/v1/namespaces/system/serviceaccounts/reader/token HTTP/1.1"
    assert asked[:2] == [account, account]
    assert asked[2].startswith(b"GET http://api.example/api/v1/namespaces/system/services/")
