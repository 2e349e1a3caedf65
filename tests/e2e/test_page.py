"""`kubectl carbon ui` against the installed chart: every page by the user's kubeconfig, through the proxy."""

from __future__ import annotations

import re

import pytest
from tests.cli.test_ui import opened
from tests.e2e.conftest import Release, budget, deployment, wait_for

pytestmark = pytest.mark.cluster


def test_every_page_is_shown_by_the_users_kubeconfig_and_budgets_also_while_the_operator_is_down(
    release: Release, space: str
) -> None:
    release.apply(budget(space, "monthly", limit="5kg", period="Month"), deployment("work", space, {"app": "work"}))
    wait_for("a verdict", lambda: release.budget(space, "monthly").get("state"), 120)
    with opened(release.cluster.kubeconfig) as browser:
        wait_for("its namespace", lambda: space in browser.get("/emissions?window=today&step=hour").text, 120)
        question = f"/emissions?window=today&step=hour&by=workload&filter=namespace%3D{space}"
        rows = wait_for("its workload", lambda: re.findall(r'<th scope="row">([^<]+)</th>', browser.get(question).text))
        assert any("work" in row for row in rows), rows
        assert "chart bars" in browser.get(question).text
        again = browser.get("/emissions?window=yesterday&step=all")
        tag = {"If-None-Match": again.headers["etag"]}
        assert browser.get("/emissions?window=yesterday&step=all", headers=tag).status_code == 304
        csv = browser.get("/emissions.csv?window=today&step=hour").text
        assert csv.startswith("start,end,namespace")
        assert "g CO2e per kWh" in browser.get("/grid?window=24h").text
        data = browser.get("/data?window=24h").text
        assert "Reports" in data
        one = browser.get(f"/budgets/{space}/monthly").text
        assert "In plain words" in one
        assert "chart burn-up" in one
        assert "The curve between start and now is not shown" not in one
        release.scale(0)
        try:
            budgets = browser.get("/budgets")
            assert budgets.status_code == 200
            assert f"/budgets/{space}/monthly" in budgets.text
            assert "The curve between start and now is not shown" in browser.get(f"/budgets/{space}/monthly").text
            away = browser.get("/emissions")
            assert away.status_code == 503
            assert "does not answer just now" in re.sub(r"<[^>]*>", " ", away.text)
        finally:
            release.scale(None)
