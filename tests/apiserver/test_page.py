"""`kubectl carbon ui` on the real API server, by an account that has view in one namespace alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.test_ui import opened
from tests.conftest import Cluster
from tests.e2e.conftest import CHART, budget, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE, OTHER = "page-team", "page-other"
STATUS = {
    "state": "Warning", "used": "4.1kg", "usedMicrograms": 4_100_000_000, "percentUsed": 82, "remaining": "900g",
    "forecast": "5.3kg", "coverage": 98, "measured": 40, "dataThrough": "2026-11-24T11:59:00Z",
    "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
}  # fmt: skip


@pytest.fixture(scope="module")
def team(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a team's account; the API server has no server behind it."""
    kubectl = cluster.kubectl
    command = ("helm", "template", "carbonbudget", CHART, "-n", SPACE, "--kube-version", "1.34")
    roles = cluster.run(*command, "--set", "certificates.mode=Provided", "--show-only=templates/rbac.yaml").stdout
    role = next(
        one for one in yaml.safe_load_all(roles)
        if one["kind"] == "ClusterRole" and one["metadata"]["name"] == "carbonbudget-view"
    )  # fmt: skip
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps(role))
        for name in (SPACE, OTHER):
            kubectl("create", "namespace", name)
            kubectl("apply", "-f", "-", stdin=json.dumps(budget(name, f"of-{name}", limit="5kg", period="Month")))
            kubectl("-n", name, "patch", "carbonbudget", f"of-{name}", "--subresource=status", "--type=merge", "-p",
                    json.dumps({"status": STATUS}))  # fmt: skip
        kubectl("-n", SPACE, "create", "serviceaccount", "reader")
        kubectl("-n", SPACE, "create", "rolebinding", "r", "--clusterrole=view", f"--serviceaccount={SPACE}:reader")
        wait_for(
            "the role",
            lambda: "yes" in kubectl("-n", SPACE, "auth", "can-i", "list", "carbonbudgets",
                                     f"--as=system:serviceaccount:{SPACE}:reader", check=False).stdout,
            30,
        )  # fmt: skip
        config: dict[str, Any] = json.loads(kubectl("config", "view", "--raw", "-o", "json").stdout)
        config["users"] = [
            {"name": "u", "user": {"token": kubectl("-n", SPACE, "create", "token", "reader").stdout.strip()}}
        ]
        context = {"cluster": config["clusters"][0]["name"], "user": "u", "namespace": SPACE}
        config |= {"contexts": [{"name": "x", "context": context}], "current-context": "x"}
        path = tmp_path_factory.mktemp("page") / "kubeconfig"
        path.write_text(json.dumps(config))
        yield path
    finally:
        for name in (SPACE, OTHER):
            kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        kubectl("delete", "clusterrole", "carbonbudget-view", "--ignore-not-found")


def test_with_view_alone_the_budgets_are_there_and_the_other_pages_name_the_missing_right(team: Path) -> None:
    with opened(team) as browser:
        budgets = browser.get("/budgets").text
        assert f"of-{SPACE}" in budgets
        assert f"of-{OTHER}" not in budgets
        assert f"You are system:serviceaccount:{SPACE}:reader" in budgets
        assert "the right to list carbonbudgets in all namespaces is missing" in budgets
        one = browser.get(f"/budgets/{SPACE}/of-{SPACE}").text
        for part in ("4.1kg", "5.3kg", "82 %", "In plain words", "burn-up", "serviceaccounts/token"):
            assert part in one
        for path in ("/emissions", "/grid"):
            answer = browser.get(path)
            assert answer.status_code == 403
            assert "The right to create serviceaccounts/token is missing" in answer.text
        other = browser.get(f"/budgets/{OTHER}/of-{OTHER}")
        assert other.status_code == 403
        assert "4.1kg" not in other.text
