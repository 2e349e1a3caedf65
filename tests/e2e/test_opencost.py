"""OpenCost's proxy in the cluster: nothing without a right, and with one the figures of that namespace alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.conftest import SYSTEM, Manifest, Release, deployment, wait_for

pytestmark = pytest.mark.cluster

PROXY = f"/api/v1/namespaces/{SYSTEM}/services/carbonbudget-opencost:http-ui/proxy"
QUESTION = "window=24h&aggregate=namespace&includeIdle=true"


def ask(release: Release, path: str = "/allocation") -> dict[str, Any]:
    """The answer over the Service, as Headlamp's plugin asks: through the API server's proxy, without a token."""
    done = release.cluster.kubectl("get", "--raw", f"{PROXY}{path}?{QUESTION}", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"refused": done.stderr}


def rights(namespace: str) -> list[Manifest]:
    """What everybody who reaches the proxy may read, as in examples/17-opencost."""
    role, api = "carbonbudget-figures", "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["carbonbudget.dev"], "resources": ["carbonbudgets"], "verbs": ["get"]}
    subject = {"kind": "ServiceAccount", "namespace": SYSTEM, "name": "carbonbudget-opencost"}
    place = {"name": role, "namespace": namespace}
    return [
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": place, "rules": [rule]},
        {
            "apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": place, "subjects": [subject],
            "roleRef": {"apiGroup": api, "kind": "Role", "name": role},
        },
    ]  # fmt: skip


def test_a_client_without_a_token_gets_the_figures_of_the_namespaces_that_the_account_may_read(
    release: Release, space: str
) -> None:
    release.cluster.kubectl("-n", SYSTEM, "rollout", "status", "deploy/carbonbudget-opencost", "--timeout=180s")
    release.apply(deployment("work", space, {"app": "work"}), *rights(space))

    def allocated() -> dict[str, Any] | None:
        (found,) = ask(release).get("data") or [{}]
        return found if space in found else None

    found = wait_for("its namespace", allocated, 120)
    assert set(found) == {space}  # neither another namespace nor __idle__
    figures = found[space]
    assert figures["carbonKilograms"] > 0
    assert figures["carbonKilograms"] == pytest.approx(figures["carbonbudget"]["locationG"] / 1000)
    assert ask(release, "/model/allocation/summary")["status"] == "success"
    for path in ("/api/v1/emissions", "/metrics", "/v1/report"):
        assert "refused" in ask(release, path)
