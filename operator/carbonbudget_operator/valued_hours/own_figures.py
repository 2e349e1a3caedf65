"""Finds up to when hours are valued by their zones' own intensities, where sources on the network publish these.

A figure comes hours after its hour; until then an earlier one stands in. A budget must count what the first figure
changes, and must set aside what a revised one changes. So it has to know which of the two a change can be.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from carbonbudget_operator.budgets.settled_use import FIGURES_WAIT_S
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityHours
from carbonbudget_operator.intensity_settings import StaticSourceSettings
from carbonbudget_operator.ledger.fact_reader import NodeSpan, hours_with_facts, node_spans, read_nodes
from carbonbudget_operator.ledger.facts import NodeFacts
from carbonbudget_operator.ledger.intensity_store import polls
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valuation.valuation_terms import ValuationTerms
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_Extents = dict[str, tuple[int, int]]  # by zone: from when to when nodes in it have reported


def figures_through(connection: sa.Connection, reader: ValuedReader, through: int) -> int | None:
    """The whole hour before which every zone with nodes has figures of its own; None without sources on the network.

    UTC seconds, `through` at most. Only the hours that may still wait for a figure are looked at (`FIGURES_WAIT_S`).
    """
    end = through - through % HOUR
    start = max(0, end - FIGURES_WAIT_S)
    terms = reader.terms.within(start, max(end, start + 1))
    if not any(_asks(its) for its in terms):
        return None
    spans = [span for span in node_spans(connection, reader.cluster) if span.last_end > start]
    nodes = read_nodes(connection, reader.cluster, since=start)
    answered_at = {key: poll.good_at for key, poll in polls(connection).items()}
    sealed = sealed_hours(connection, reader.cluster, start, end)
    known: dict[int, tuple[IntensityHours | None, _Extents]] = {}  # by the terms' identity: they are the reader's own
    for hour in hours_with_facts(connection, start, end):
        its = reader.terms.at(hour)
        if hour in sealed or not _asks(its):  # a sealed hour is not valued again
            continue
        if id(its) not in known:
            known[id(its)] = reader.grid(connection, hour, start, end), _extents(its, nodes, spans)
        hours, extents = known[id(its)]
        here = [zone for zone, (first, last) in extents.items() if first < hour + HOUR and last > hour]
        if hours is not None and not all(hours.has_own(zone, hour, answered_at) for zone in here):
            return hour
    return end


def _asks(terms: ValuationTerms) -> bool:
    """Whether any of the sources is on the network: a figure that the settings state is there before its hour."""
    return any(not isinstance(source, StaticSourceSettings) for source in terms.carbon.intensity.sources)


def _extents(terms: ValuationTerms, nodes: dict[int, NodeFacts], spans: Iterable[NodeSpan]) -> _Extents:
    found: _Extents = {}
    for span in spans:
        node = nodes.get(span.node_id)
        zone = terms.places.of(node, span.last_end).grid_zone if node is not None else ""
        if zone:
            first, last = found.get(zone, (span.first_start, span.last_end))
            found[zone] = min(first, span.first_start), max(last, span.last_end)
    return found
