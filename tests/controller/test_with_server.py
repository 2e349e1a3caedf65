"""Controller and server together, on a real ledger: what one asks is what the other answers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.controller.objects import Body, a_body, merge, namespaces, stored
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_evaluation import evaluate_budget
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.prepared_budget import prepare_budget
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

WATT_HOUR_UJ = 3_600_000_000
DAY = 86_400


class Cluster:
    """A ledger, a server's answers from it under some PUE, and a budget of one day."""

    def __init__(self, path: Path) -> None:
        self.engine: sa.Engine = open_ledger(f"sqlite:///{path}/ledger.db")
        make_tables(self.engine)
        self.booker = Booker(self.engine)
        self.body: Body = a_body(
            limit="100g", period="Day", include=["Dynamic"], thresholds=[{"at": 100, "action": "Block"}]
        )

    def report(self, start: int, minutes: int, node: str = "node-1") -> None:
        """One pod of 60 W."""
        pods = {f"pod-{node}": WATT_HOUR_UJ}
        book(self.booker, *(a_report(start + 60 * minute, node, pods) for minute in range(minutes)))

    def evaluate(self, now: int, pue: str = "1.0") -> Body:
        """The status after an evaluation."""
        queries = BudgetUseQueries(
            ValuedReader(self.engine, Settings(carbon=CarbonSettings(zone="WORLD", pue=float(Decimal(pue)))))
        )
        prepared = prepare_budget(stored(self.body), now, namespaces())
        through = prepared.budget_object.status.data_through
        asked = period_queries(prepared, int(through.timestamp()) if through else 0, now)
        wanted: Sequence[BudgetQuery] = asked
        answers = {answer.id: answer for answer in queries.budgets(wanted)}
        made = evaluate_budget(
            prepared,
            period_answers(prepared, asked, answers, queries.data_through()),
            None,
            "",
            now,
            EnforcementTerms(6 * 3600),
        )
        merge(self.body, {"status": made.status})
        return dict(self.body["status"])


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_day_of_new_use_a_revision_late_reports_and_the_next_day(cluster: Cluster) -> None:
    cluster.report(HOUR, 90)
    first = cluster.evaluate(HOUR + 5412)
    used_ug = first["usedMicrograms"]
    assert 40_000_000 < used_ug < 50_000_000  # 90 Wh of the world's grid
    assert first["topWorkloads"][0]["percent"] == first["percentUsed"]
    assert cluster.evaluate(HOUR + 5413)["settled"]["through"] == "2025-11-24T17:00:00Z"

    # Twice the PUE: all of the settled hour is a revision; only what is still open counts twice.
    revised = cluster.evaluate(HOUR + 5414, pue="2.0")
    assert revised["usedMicrograms"] in range(2 * used_ug - 2, 2 * used_ug + 3)
    assert revised["settled"]["revisedMicrograms"] in range(used_ug * 2 // 3 - 2, used_ug * 2 // 3 + 3)
    assert revised["state"] != "Exceeded"

    # Another node was cut off: its hour comes late, and counts.
    cluster.report(HOUR, 90, "node-2")
    late = cluster.evaluate(HOUR + 5415, pue="2.0")
    assert late["usedMicrograms"] in range(4 * used_ug - 4, 4 * used_ug + 5)
    assert late["settled"]["revisedMicrograms"] == revised["settled"]["revisedMicrograms"]
    assert (late["state"], late["enforcement"]["action"]) == ("Exceeded", "Block")
    assert cluster.evaluate(HOUR + 5416, pue="2.0") == late | {"observedAt": "2025-11-24T17:30:16Z"}

    # The next day begins at zero, and the former is kept.
    cluster.report(HOUR + 8 * 3600, 2)
    cluster.report(HOUR + 8 * 3600, 2, "node-2")
    tomorrow = cluster.evaluate(HOUR + 8 * 3600 + 132, pue="2.0")
    assert (tomorrow["history"][0]["used"], tomorrow["history"][0]["limit"]) == (late["used"], "100g")
    assert tomorrow["percentUsed"] < 10
    assert "enforcement" not in tomorrow


def test_a_ledger_that_was_lost_keeps_the_verdict(cluster: Cluster, tmp_path: Path) -> None:
    cluster.report(HOUR, 90)
    cluster.evaluate(HOUR + 5412)
    known = cluster.evaluate(HOUR + 5413)
    (tmp_path / "new").mkdir()
    lost = Cluster(tmp_path / "new")
    lost.body = cluster.body
    lost.report(HOUR + 5400, 1)
    after = lost.evaluate(HOUR + 5472)
    reasons = {condition["type"]: condition["reason"] for condition in after["conditions"]}
    assert reasons["DataComplete"] == "UsedFell"
    assert after["used"] == known["used"]
