"""The energy that nodes reported in a window, by domain and method, and what share of their time they reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.answers.window_parser import Range
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.fact_reader import NodeSpan, data_through, node_spans, read_nodes
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.node_coverage import ExpectedNodeTime, covered_by_hour, expectations, expected_ms
from carbonbudget_operator.ledger.unreadable_rows import MAX_COUNT, valid_in_database
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_PART: Final = 2**32  # numbers are added up in two parts: the sums fit into 64 bits, whichever database adds


@dataclass(frozen=True, slots=True)
class MethodEnergy:
    """Microjoules of one domain of a node by one method; method `model` is estimated, the others are measured."""

    domain: str
    method: str
    energy_uj: int


@dataclass(frozen=True, slots=True)
class ReportingNode:
    """One node: where it stands, from when to when it ever reported (UTC seconds), and its energy in the window.

    A node without a report has none of these, and a coverage of 0. `coverage_percent` is None where no report was
    expected of it.
    """

    name: str
    zone: str
    region: str
    instance_type: str
    first_report: int | None
    last_report: int | None
    coverage_percent: int | None
    energy: tuple[MethodEnergy, ...]

    @property
    def measured_percent(self) -> int:
        """Share of the energy that a meter measured, rounded down; 0 without energy."""
        whole = sum(one.energy_uj for one in self.energy)
        metered = sum(one.energy_uj for one in self.energy if one.method != "model")
        return metered * 100 // whole if whole else 0


@dataclass(frozen=True, slots=True)
class NodePage:
    """Some of the nodes in order of name; `last` is the name of the last one where there are more."""

    data_through: int
    covers: Range
    nodes: list[ReportingNode]
    last: str | None


def node_energy(reader: ValuedReader, window: Range, after: str | None, limit: int) -> NodePage:
    """The nodes that reported, or should have, in the whole hours that hold the window: `limit` after that name."""
    start, end = covers = covered_range(*window)
    places = reader.terms.at(end - 1).places
    with snapshot(reader.engine) as connection:
        facts = {node.name: node for node in read_nodes(connection, reader.cluster).values()}
        spans = {span.node_id: span for span in node_spans(connection, reader.cluster)}
        through = data_through(list(spans.values()))
        expected = _by_name(expectations(connection, reader.cluster))
        until = max(start, min(end, through))
        wanted_ms = {name: expected_ms(its, start, until) for name, its in expected.items()}
        reporting = {
            name for name, node in facts.items() if node.id in spans and _touches(spans[node.id], start, end)
        }  # fmt: skip
        present = sorted(reporting | {name for name, ms in wanted_ms.items() if ms})
        shown = [name for name in present if after is None or name > after][: limit + 1]
        page = shown[:limit]
        ids = [facts[name].id for name in page if name in facts]
        energies, reported_ms = _energies(connection, ids, start, end), _reported_ms(connection, ids, start, end)
    found = []
    for name in page:
        node = facts.get(name)
        wanted = wanted_ms.get(name, 0)
        if node is None:
            found.append(ReportingNode(name, "", "", "", None, None, 0 if wanted else None, ()))
            continue
        place, span = places.of(node, end - 1), spans.get(node.id)
        coverage = min(100, reported_ms.get(node.id, 0) * 100 // wanted) if wanted else None
        found.append(
            ReportingNode(
                name, place.grid_zone or place.zone, node.region, node.instance_type,
                span.first_start if span else None, span.last_end if span else None, coverage,
                tuple(energies.get(node.id, ())),
            )
        )  # fmt: skip
    return NodePage(through, covers, found, page[-1] if len(shown) > len(page) else None)


def _touches(span: NodeSpan, start: int, end: int) -> bool:
    return span.first_start < end and span.last_end > start


def _by_name(expected: Iterable[ExpectedNodeTime]) -> Mapping[str, list[ExpectedNodeTime]]:
    found: dict[str, list[ExpectedNodeTime]] = {}
    for one in expected:
        found.setdefault(one.name, []).append(one)
    return found


def _of(ids: list[int], start: int, end: int) -> list[sa.ColumnElement[bool]]:
    c = schema.node_fact.c
    return [c.start >= start, c.start < end, c.node_id.in_(ids)]


def _energies(connection: sa.Connection, ids: list[int], start: int, end: int) -> Mapping[int, list[MethodEnergy]]:
    """By id of the node, in order of domain and method."""
    c, found = schema.node_fact.c, dict[int, list[MethodEnergy]]()
    high: sa.ColumnElement[Any] = sa.func.sum(c.measured_uj // _PART)
    low: sa.ColumnElement[Any] = sa.func.sum(c.measured_uj % _PART)
    valid = valid_in_database(connection.dialect, c.measured_uj, MAX_COUNT)
    query = (
        sa.select(c.node_id, c.domain, c.method, high, low)
        .where(*_of(ids, start, end), valid)
        .group_by(c.node_id, c.domain, c.method)
    )
    for node_id, domain, method, upper, lower in connection.execute(query):
        found.setdefault(node_id, []).append(MethodEnergy(domain, method, int(upper) * _PART + int(lower)))
    return {node_id: sorted(its, key=lambda one: (one.domain, one.method)) for node_id, its in found.items()}


def _reported_ms(connection: sa.Connection, ids: list[int], start: int, end: int) -> Mapping[int, int]:
    """By id of the node: milliseconds that have all of its energy."""
    hours = covered_by_hour(connection.dialect, *_of(ids, start, end))
    rows = connection.execute(sa.select(hours.c.node_id, sa.func.sum(hours.c.ms)).group_by(hours.c.node_id))
    return {node_id: int(ms) for node_id, ms in rows}
