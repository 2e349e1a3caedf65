"""The energy of nodes by domain and method, and what they reported."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_core.node_report import DomainUse, NodeReport
from carbonbudget_operator.answers.node_energy import MethodEnergy, node_energy
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.node_coverage import store_listed
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

WINDOW = (HOUR, HOUR + 3600)


def a_book(engine: sa.Engine) -> ValuedReader:
    return ValuedReader(engine, Settings())


def with_meter(report: NodeReport, domain: str, method: str, energy_uj: int) -> NodeReport:
    more = DomainUse(domain, method, "wall", 60_000, energy_uj, 0, energy_uj, 0, energy_uj, energy_uj)  # type: ignore[arg-type] # a method
    return replace(report, domains=(*report.domains, more))


def test_energy_is_that_of_the_facts_by_domain_and_method(engine: sa.Engine) -> None:
    first = with_meter(a_report(HOUR, "n1", {"p": 300}), "dram", "rapl", 3_000)
    second = with_meter(a_report(HOUR + 60, "n1", {"p": 300}), "dram", "rapl", 5_000)
    book(Booker(engine), first, second, a_report(HOUR, "n2", {}), a_report(HOUR + 3600, "n1", {"p": 1}))
    page = node_energy(a_book(engine), WINDOW, None, 10)
    assert [node.name for node in page.nodes] == ["n1", "n2"]
    (one, two) = page.nodes
    assert one.energy == (MethodEnergy("cpu", "model", 2_000), MethodEnergy("dram", "rapl", 8_000))
    assert two.energy == (MethodEnergy("cpu", "model", 700),)
    assert (one.measured_percent, two.measured_percent) == (80, 0)
    assert (one.first_report, one.last_report) == (HOUR, HOUR + 3660)


def test_sums_beyond_64_bits_are_exact(engine: sa.Engine) -> None:
    book(Booker(engine), a_report(HOUR, "n1", {}))
    fact = schema.node_fact
    large = 2**63 - 1
    with engine.begin() as connection:
        connection.execute(sa.update(fact).values(measured_uj=large))
        for hour in (3600, 7200):
            connection.execute(
                sa.insert(fact).from_select(
                    [column.name for column in fact.columns],
                    sa.select(*(column + hour if column.name == "start" else column for column in fact.columns)).where(
                        fact.c.start == HOUR
                    ),
                )
            )
    (node,) = node_energy(a_book(engine), (HOUR, HOUR + 3 * 3600), None, 10).nodes
    assert [one.energy_uj for one in node.energy] == [3 * large]


def test_coverage_is_the_nodes_own(engine: sa.Engine) -> None:
    """The first one reports each minute, the second one only in the first quarter, the third one never."""
    store_listed(engine, "default", {"n1": "u1", "n2": "u2", "n3": "u3"}, HOUR - 600)
    reports = [a_report(HOUR + 60 * minute, "n1", {}) for minute in range(60)]
    reports += [a_report(HOUR + 60 * minute, "n2", {}) for minute in range(15)]
    book(Booker(engine), *reports)
    store_listed(engine, "default", {"n1": "u1", "n2": "u2", "n3": "u3"}, HOUR + 3600)
    page = node_energy(a_book(engine), WINDOW, None, 10)
    shares = {node.name: (node.coverage_percent, node.first_report is None) for node in page.nodes}
    assert shares == {"n1": (100, False), "n2": (25, False), "n3": (0, True)}


def test_two_domains_of_one_node_are_not_twice_its_time(engine: sa.Engine) -> None:
    reports = [with_meter(a_report(HOUR + 60 * minute, "n1", {}), "dram", "rapl", 1) for minute in range(0, 60, 2)]
    book(Booker(engine), *reports)
    (node,) = node_energy(a_book(engine), WINDOW, None, 10).nodes
    assert node.coverage_percent == 50  # 30 of the 59 minutes up to the last report


def test_a_node_that_neither_reported_nor_should_have_is_not_there(engine: sa.Engine) -> None:
    book(Booker(engine), a_report(HOUR, "old", {}), a_report(HOUR + 86_400, "new", {}))
    found = node_energy(a_book(engine), (HOUR + 86_400, HOUR + 90_000), None, 10)
    assert [node.name for node in found.nodes] == ["new"]
