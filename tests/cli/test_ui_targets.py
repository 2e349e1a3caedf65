"""Targets in `kubectl carbon ui`: the objects themselves, with the user's own rights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.api_server import Asked, Said, api_server, status
from tests.cli.test_ui import away, cluster, opened

TARGETS = "/apis/carbonbudget.dev/v1alpha1/carbontargets"


def a_target(name: str, namespace: str | None = "team-a") -> dict[str, Any]:
    kind = "CarbonTarget" if namespace else "ClusterCarbonTarget"
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": {
            "unit": {"name": "token", "per": 1_000_000, "source": {"preset": "vLLMOutputTokens"}},
            "baseline": {"value": "42g"}, "target": {"reduction": 20, "by": "2027-03-01T00:00:00Z"},
        },
        "status": {
            "state": "Behind", "message": "37.2g CO2e per 1,000,000 token", "change": "-11.4",
            "baseline": {"perUnit": "42g", "perUnitMicrograms": 42_000_000, "hash": "x",
                         "frozenAt": "2026-09-01T00:00:00Z"},
            "expectedNow": {"perUnit": "36.9g", "perUnitMicrograms": 36_900_000, "reduction": "12.1"},
            "current": {
                "start": "2026-11-17T00:00:00Z", "end": "2026-11-24T00:00:00Z", "perUnit": "37.2g",
                "perUnitMicrograms": 37_200_000, "units": "1000000", "emissions": "37.2g",
                "emissionsMicrograms": 37_200_000, "energyMicrojoules": 1,
            },
        },
    }  # fmt: skip


def with_targets(everywhere: bool = True, installed: bool = True) -> Callable[[Asked], Said]:
    budgets = cluster(away)

    def answer(asked: Asked) -> Said:
        if not asked.path.startswith("/apis/carbonbudget.dev/") or "targets" not in asked.path or not installed:
            return budgets(asked)
        if asked.path == TARGETS and not everywhere:
            return status(403, "Forbidden", "carbontargets is forbidden at the cluster scope")
        if asked.path.endswith("/carbontargets"):
            found = [a_target("chat")] + ([a_target("images", "team-b")] if everywhere else [])
            return Said({"metadata": {}, "items": [*found, {"metadata": {"name": "odd", "namespace": "team-a"}}]})
        if asked.path.endswith("/carbontargets/chat"):
            return Said(a_target("chat"))
        if asked.path.endswith("/clustercarbontargets"):
            return Said({"metadata": {}, "items": [a_target("company", None)]})
        return status(404, "NotFound", f"{asked.path} was not found")

    return answer


def test_targets_are_shown_by_view_rights_while_the_server_is_away(tmp_path: Path) -> None:
    with api_server(with_targets(), tmp_path, "team-a") as path, opened(path) as browser:
        page = browser.get("/targets")
        assert page.status_code == 200
        for name in ("chat", "images", "company"):
            assert f">{name}</a>" in page.text
        assert "CarbonTarget odd is not understood." in page.text
        one = browser.get("/targets/team-a/chat").text
        assert "37.2g" in one
        assert "target-path" in one
        assert "preset vLLMOutputTokens" in one
        missing = browser.get("/targets/team-a/none")
        assert (missing.status_code, "There is no CarbonTarget none in namespace team-a." in missing.text) == (
            404,
            True,
        )


def test_targets_of_one_namespace_are_shown_where_all_may_not_be_listed(tmp_path: Path) -> None:
    with api_server(with_targets(everywhere=False), tmp_path, "team-a") as path, opened(path) as browser:
        page = browser.get("/targets").text
        assert ">chat</a>" in page
        assert ">images</a>" not in page
        assert "the right to list carbontargets in all namespaces is missing" in page


def test_a_cluster_whose_chart_has_no_targets_yet_says_so(tmp_path: Path) -> None:
    with api_server(with_targets(installed=False), tmp_path, "team-a") as path, opened(path) as browser:
        page = browser.get("/targets")
        assert page.status_code == 200
        assert "This cluster has no carbontargets: upgrade the chart and its CRDs." in page.text
        assert browser.get("/budgets").status_code == 200
