"""A pod with many labels counts in the budgets that select it, as the admission policy sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.cluster.test_pods import UIDS, a_pod, listed
from tests.ingest.test_report_verifier import END, Cluster
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_agent.pods.pod_info import parse_pod
from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.cluster.large_label_sets import LargeLabelSets
from carbonbudget_operator.cluster.pods import PodIndex
from carbonbudget_operator.ingest.report_verifier import ReportVerifier
from carbonbudget_operator.ledger.booking import Booker, BookingResult, CheckedReport
from carbonbudget_operator.ledger.selected_labels import SelectedLabels
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

PADDED = {f"a{n:02d}": "" for n in range(64)} | {"project": "x"}
SELECTED = LabelSelector(match_labels={"project": "x"})


def reported(labels: dict[str, str]) -> NodeReport:
    """As an agent sends it, which keeps 64 labels."""
    pod = parse_pod({"metadata": {"uid": UIDS[1], "namespace": "team-a", "name": "pod-1", "labels": labels}})
    report = a_report(pods={UIDS[1]: 300})
    return replace(report, pods=(replace(report.pods[0], name="pod-1", labels=pod.labels),))


def used_uj(engine: sa.Engine) -> int:
    query = BudgetQuery(id="b", namespaces=["team-a"], start=HOUR, end=HOUR + 3_600, selector=SELECTED)
    (answer,) = BudgetUseQueries(ValuedReader(engine, Settings(carbon=CarbonSettings(zone="WORLD", pue=1.0)))).budgets(
        [query]
    )
    return answer.energy_uj


@pytest.mark.parametrize("labels", [{"project": "x"}, PADDED, {f"a{n:04d}": "v" * 63 for n in range(2_000)} | PADDED])
def test_no_number_of_labels_hides_a_pod_from_its_budget(engine: sa.Engine, labels: dict[str, str]) -> None:
    booker = Booker(engine)
    booker.selected_labels.learn(["team-a"], "project", ["x"])
    pods = PodIndex(None, CollectorRegistry(), selected=booker.selected_labels.keys)  # type: ignore[arg-type] # asks nobody
    listed(pods, a_pod(1, labels=labels))
    nodes = Cluster()
    verify = ReportVerifier(nodes, pods, CollectorRegistry()).verify
    report = verify(reported(labels), END)
    assert len(report.pods[0].labels) == min(64, len(labels))
    assert book(booker, report) == [BookingResult.STORED]
    assert used_uj(engine) > 0


def test_no_server_behind_a_ledger_hides_a_pod_from_a_budget_that_another_one_was_asked_for(engine: sa.Engine) -> None:
    """The controller's question comes to one server, and the node's report to one that has just started."""
    asked, other = LedgerWriter(engine), LedgerWriter(engine)
    asked.select_labels([(["team-a"], "project", ["x"])], END)
    other.load_selected_labels(END)
    pods = PodIndex(None, CollectorRegistry(), selected=other.selected_labels.keys)  # type: ignore[arg-type] # asks nobody
    listed(pods, a_pod(1, labels=PADDED))
    report = ReportVerifier(Cluster(), pods, CollectorRegistry()).verify(reported(PADDED), END)
    assert book(other._booker, report) == [BookingResult.STORED]
    assert used_uj(engine) > 0
    asked.close()
    other.close()


def test_a_budget_that_selects_by_64_labels_hides_a_pod_from_no_other_budget(engine: sa.Engine) -> None:
    booker = Booker(engine)
    booker.selected_labels.learn(["team-a", "other"], "project", ["x"])
    for name in PADDED.keys() - {"project"}:
        booker.selected_labels.learn(["team-a"], name, [""])
    pods = PodIndex(None, CollectorRegistry(), selected=booker.selected_labels.keys)  # type: ignore[arg-type] # asks nobody
    listed(pods, a_pod(1, labels=PADDED))
    report = ReportVerifier(Cluster(), pods, CollectorRegistry()).verify(reported(PADDED), END)
    assert report.pods[0].labels == PADDED
    assert booker.book([CheckedReport(report, b"8 bytes.")]) == [
        BookingResult.STORED
    ]  # no agent sends so many: it is not on the wire
    assert used_uj(engine) > 0


def test_the_budgets_of_one_namespace_push_out_no_key_of_a_budget_over_several() -> None:
    selected = SelectedLabels()
    selected.learn(["team-a", "team-b"], "project", ["x"])
    selected.learn(["*"], "model", ["m"])
    for number in range(300):
        selected.learn(["team-a"], f"k{number}")
    assert {"project", "model", "k299"} <= selected.keys("team-a")
    assert selected.names("team-a", "project", "x")
    assert selected.keys("team-b") == {"project", "model"}
    assert selected.keys("team-c") == {"model"}


def test_labels_beyond_the_bound_of_all_are_cut_to_those_that_are_selected() -> None:
    many = LargeLabelSets(lambda namespace: {"project"}, max_bytes=120_000)
    for number in range(100):
        many.store(bytes([number]), "team-a", PADDED)
    for number in range(100):
        assert many.of(bytes([number]), "team-a", {"a00": ""})["project"] == "x"
    assert many.used <= 120_000 + 100 * 565
    for number in range(100):
        many.drop(bytes([number]))
    assert many.used == 0


@pytest.mark.parametrize("what", ["names", "values"])
def test_a_namespace_that_fills_its_bound_of_labels_stays_in_its_budget(engine: sa.Engine, what: str) -> None:
    """What differs for each pod is made one, but not what a budget names."""
    booker = Booker(engine, max_label_values=2)
    booker.selected_labels.learn(["team-a"], "project", ["x"])
    bound = booker.ids.label_bound
    for number in range(1_200):
        labels = {f"n{number}": "v"} if what == "names" else {"project": f"v{number}"}
        bound.bound("team-a", labels, HOUR // 86_400)
    assert bound.collapsed > 0
    assert book(booker, reported({"project": "x"})) == [BookingResult.STORED]
    assert used_uj(engine) > 0
