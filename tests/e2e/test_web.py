"""The web page in the cluster: two tenants sign in, and nothing that one of them gets contains a name of the other."""

from __future__ import annotations

import html
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from tests.e2e.conftest import SYSTEM, Release, deployment, wait_for

pytestmark = pytest.mark.cluster

_MOST_PAGES = 60
NAMES = ("zebra-quartz", "walnut-copper")  # of the two tenants; no other text contains them


@dataclass(frozen=True)
class WebPage:
    """The page through a forwarded port, with the certificate of carbonbudget's CA."""

    release: Release
    port: int
    trust: ssl.SSLContext

    @contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        """A browser with its own cookies."""
        base = f"https://localhost:{self.port}"
        with httpx.Client(verify=self.trust, base_url=base, trust_env=False, timeout=60) as client:
            client.event_hooks["request"] = [_name_of_the_service]
            yield client

    def sign_in(self, client: httpx.Client, token: str) -> httpx.Response:
        headers = {"Origin": f"https://localhost:{self.port}"}
        return client.post("/signin", data={"token": token, "next": "/"}, headers=headers)


def _name_of_the_service(request: httpx.Request) -> None:
    """The certificate is for the Service's name, and the port is forwarded from localhost."""
    request.extensions = dict(request.extensions) | {"sni_hostname": f"carbonbudget-web.{SYSTEM}.svc"}


@pytest.fixture(scope="module")
def page(release: Release) -> Iterator[WebPage]:
    """The chart with the page."""
    release.helm("--set", "web.enabled=true")
    release.cluster.kubectl("-n", SYSTEM, "rollout", "status", "deploy/carbonbudget-web", "--timeout=180s")
    data: Any = release.cluster.get("-n", SYSTEM, "configmap", "carbonbudget-ca")["data"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["kubectl", "-n", SYSTEM, "port-forward", "service/carbonbudget-web", f"{port}:443"]
    forward = subprocess.Popen(command, env=release.cluster.environment, stdout=subprocess.DEVNULL)
    try:
        wait_for("the forwarded port", lambda: _open(port), seconds=30)
        yield WebPage(release, port, ssl.create_default_context(cadata=data["ca.crt"]))
    finally:
        forward.terminate()
        forward.wait()
        release.helm()


@pytest.fixture(scope="module")
def tenants(release: Release) -> Iterator[tuple[str, str]]:
    """Two namespaces with a running workload and an account `viewer` that may view its own namespace."""
    kubectl = release.cluster.kubectl
    for name in NAMES:
        kubectl("create", "namespace", name)
        release.apply(deployment(f"{name}-train", name, {"app": f"{name}-app"}))
        kubectl("-n", name, "create", "serviceaccount", "viewer")
        kubectl("-n", name, "create", "rolebinding", "viewer", "--clusterrole=view", f"--serviceaccount={name}:viewer")
    yield NAMES
    for name in NAMES:
        kubectl("delete", "namespace", name, "--wait=false")


def _open(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def token(release: Release, namespace: str, audience: str = "carbonbudget-server") -> str:
    return release.cluster.kubectl(
        "-n", namespace, "create", "token", "viewer", f"--audience={audience}"
    ).stdout.strip()


def traffic(client: httpx.Client) -> tuple[list[str], str]:
    """All that a user gets who follows each link from the first page: addresses, and heads and bodies as one text."""
    waiting, seen, texts = ["/"], list[str](), list[str]()
    while waiting and len(seen) < _MOST_PAGES:
        path = waiting.pop(0)
        if path in seen or path.startswith("/static/"):
            continue
        seen.append(path)
        answer = client.get(path)
        texts.append(f"{answer.status_code} {answer.headers!r}\n{answer.text}")
        found = [html.unescape(link) for link in re.findall(r'(?:href|hx-get)="([^"#]+)"', answer.text)]
        found += [answer.headers["Location"]] if "Location" in answer.headers else []
        waiting += [link for link in (urljoin(path, one) for one in found) if not urlsplit(link).netloc]
    return seen, "\n".join(texts)


def test_a_tenant_sees_its_own_names_and_never_another_s(page: WebPage, tenants: tuple[str, str]) -> None:
    for own, other in (tenants, tenants[::-1]):
        with page.browser() as client:
            assert page.sign_in(client, token(page.release, own)).status_code == 303

            def shows(client: httpx.Client = client, own: str = own) -> bool:
                return f"{own}-train" in client.get("/emissions", params={"window": "24h", "by": "workload"}).text

            wait_for(f"the emissions of {own}", shows, seconds=180)
            seen, text = traffic(client)
            assert len(seen) > 5
            for field in ("namespace={}", "workload=Deployment/{}-train"):
                assert refusal(client, field, other) == refusal(client, field, "of-nobody")
        assert own in text
        assert other not in text
        assert "Traceback" not in text


def refusal(client: httpx.Client, field: str, name: str) -> tuple[int, str]:
    """The answer about a name that the user typed into the address, without that name, numbers and the page's tag."""
    answer = client.get("/emissions", params={"filter": field.format(name), "window": "24h"})
    text = re.sub(r"hx-headers='[^']*'", "", answer.text.replace(name, "NAME"))
    return answer.status_code, re.sub(r"\d+", "0", text)


def test_nobody_reads_without_a_token_of_the_right_audience(page: WebPage, tenants: tuple[str, str]) -> None:
    with page.browser() as client:
        assert client.get("/emissions").status_code == 401
        wrong = page.sign_in(client, token(page.release, tenants[0], "https://kubernetes.default.svc.cluster.local"))
        assert (wrong.status_code, "audience carbonbudget-server" in wrong.text) == (401, True)
        assert client.get("/emissions").status_code == 401
        assert client.get("/emissions", headers={"Host": "evil.example"}).status_code == 421
        forged = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
        assert client.get("/emissions", headers=forged).status_code == 401


def test_the_page_s_own_account_may_do_nothing(page: WebPage) -> None:
    cluster, account = page.release.cluster, f"system:serviceaccount:{SYSTEM}:carbonbudget-web"
    for verb, what in (("get", "carbonbudgets.carbonbudget.dev"), ("get", "secrets"), ("get", "pods")):
        done = cluster.kubectl("auth", "can-i", verb, what, "-A", f"--as={account}", check=False)
        assert done.stdout.strip() == "no"
    inside = ("-n", SYSTEM, "exec", "deploy/carbonbudget-web", "--", "python3", "-c")
    there = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))"
    assert cluster.kubectl(*inside, there).stdout.strip() == "False"
