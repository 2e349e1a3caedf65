"""The emissions report of a time range: figures by GHG Protocol row, owner and namespace, with coverage and quality.

`inventory` has the rows of the GHG Protocol by name: Scope 2 by direct factors, market-based, upstream of electricity,
embodied hardware (`ghg_inventory.py`). `total`, `ownership` and `namespaces` have the same figures by owner and
namespace, location-based by `basis`, as budgets count them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.ghg_inventory import OWNERSHIP, InventoryAmounts, inventory_rows
from carbonbudget_operator.answers.location_factors import LocationFactors
from carbonbudget_operator.answers.report_costs import ReportCosts
from carbonbudget_operator.answers.report_coverage import Coverage, coverage
from carbonbudget_operator.answers.required_labels import RequiredLabels
from carbonbudget_operator.answers.time_ranges import covered_range, covers
from carbonbudget_operator.carbon_price import prices_of
from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.fact_reader import SILENT_SECONDS, data_through, hours_with_facts, node_spans
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.node_coverage import expectations, listed_from, without_agent
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.unreadable_rows import valid_in_database
from carbonbudget_operator.ledger.valued_rows import (
    DIRECT_UG,
    DIRECT_UJ,
    EMBODIED_HIGH_UG,
    EMBODIED_LOW_UG,
    EMBODIED_UG,
    ENERGY_UJ,
    FACILITY_UJ,
    LOCATION_UG,
    MARKET_UG,
    MARKET_UJ,
    METERED_UJ,
    STOOD_IN_DIRECT_UG,
    STOOD_IN_UG,
    STOOD_IN_UPSTREAM_UG,
    UNSPLIT_UG,
    UPSTREAM_UG,
    UPSTREAM_UJ,
    ValuedUnit,
    rows_within,
)
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valuation.derivation import changes
from carbonbudget_operator.valued_hours.unit_calendar import unit_end
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_OF_AMOUNTS: Final = tuple(its.name for its in fields(InventoryAmounts))


@dataclass(slots=True)
class _Figures:
    it_uj: int = 0
    facility_uj: int = 0
    metered_uj: int = 0
    location_ug: int = 0
    market_ug: int = 0
    embodied_ug: int = 0
    embodied_low_ug: int = 0
    embodied_high_ug: int = 0
    direct_ug: int = 0
    upstream_ug: int = 0
    unsplit_ug: int = 0
    stood_in_ug: int = 0
    stood_in_direct_ug: int = 0
    stood_in_upstream_ug: int = 0
    direct_uj: int = 0
    upstream_uj: int = 0
    market_uj: int = 0

    def amounts(self) -> InventoryAmounts:
        """The amounts for the rows of the GHG Protocol."""
        return InventoryAmounts(**{name: getattr(self, name) for name in _OF_AMOUNTS})

    def to_json(self) -> dict[str, object]:
        """Integers, with decimal strings beside them."""
        return {
            "it_energy_uj": self.it_uj,
            "it_energy_kwh": kilowatt_hours(self.it_uj),
            "facility_energy_kwh": kilowatt_hours(self.facility_uj),
            "location_ug": self.location_ug,
            "location_g": grams(self.location_ug),
            "market_ug": self.market_ug,
            "market_g": grams(self.market_ug),
            "embodied_ug": self.embodied_ug,
            "embodied_g": grams(self.embodied_ug),
            "embodied_low_g": grams(self.embodied_low_ug),
            "embodied_high_g": grams(self.embodied_high_ug),
            "direct_ug": self.direct_ug,
            "direct_g": grams(self.direct_ug),
            "upstream_ug": self.upstream_ug,
            "upstream_g": grams(self.upstream_ug),
            "unsplit_ug": self.unsplit_ug,
            "unsplit_g": grams(self.unsplit_ug),
            "stood_in_ug": self.stood_in_ug,
            "stood_in_g": grams(self.stood_in_ug),
            "measured_percent": self.metered_uj * 100 // self.it_uj if self.it_uj else 0,
        }


@dataclass(slots=True)
class _Method:
    """Energy by measurement method; the energy of a model has a range."""

    measured_uj: int = 0
    low_uj: int = 0
    high_uj: int = 0


@dataclass(slots=True)
class _Sums:
    total: _Figures = field(default_factory=_Figures)
    ownership: dict[str, _Figures] = field(default_factory=dict)
    namespaces: dict[str, _Figures] = field(default_factory=dict)
    methods: dict[tuple[str, str], _Method] = field(default_factory=dict)
    factors: set[str] = field(default_factory=set)
    reported_ms: int = 0
    numbers: LocationFactors = field(default_factory=LocationFactors)


class EmissionsReporter:
    """Makes the report of one span, one valued unit after the other.

    Each unit is read in a transaction of its own. One transaction over all of them could take minutes, and for so long
    PostgreSQL could remove no dead rows and SQLite could not shorten its write-ahead log. A unit's figures are read
    together, so energy, emissions and coverage of an hour always agree. A late node report may be in the report's later
    hours and not in its earlier ones; `data_through` is read first, so what it promises is in the report.

    `data_through`: after `run`, the UTC second up to which every node that still reports has reported.
    `changed_meanwhile`: whether an hour of the span was changed while it was read, by a report or a revised intensity.
    """

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self._settings = settings
        self._book = ValuedReader(engine, settings)
        self._sums = _Sums()
        self._labels = RequiredLabels(settings.reports.required_labels)
        self._costs = ReportCosts(prices_of(settings.carbon))
        self.changed_meanwhile = False

    def run(self, start: int, end: int, now: int) -> Iterator[tuple[int, int]]:
        """Read and value; yields how many units of how many are done. Then `result` has the report.

        It covers the whole hours that hold [start, end); `start` is below `end`.
        """
        self._asked, self._now = (start, end), now
        self._start, self._end = start, end = covered_range(start, end)
        with snapshot(self._book.engine) as connection:
            self.data_through = data_through(node_spans(connection, self._settings.cluster))
            units = self._book.units(connection, start, end)
            revisions = hours_with_facts(connection, start, end)
        ends = [min(end, unit_end(at, level)) for level, at in units]
        # Each part also holds the time before its unit that had no facts yet.
        parts = self._costs.parts([start, *ends[:-1], end])
        for done, part in enumerate(parts):
            yield done, len(parts)
            with snapshot(self._book.engine) as connection:
                self._read(connection, *part)
        with snapshot(self._book.engine) as connection:
            self._expected = expectations(connection, self._settings.cluster)
            self._listed_from = listed_from(connection, self._settings.cluster)
            self._without_agent = without_agent(connection, self._settings.cluster, start, end)
            self.changed_meanwhile = hours_with_facts(connection, start, end) != revisions

    def _read(self, connection: sa.Connection, start: int, end: int) -> None:
        """Add [start, end). Its units are looked up again: upkeep may have replaced them meanwhile."""
        for key, (_, is_stored) in self._book.units(connection, start, end).items():
            unit = self._book.read(connection, key, is_stored)
            self._add(unit)
            self._sums.numbers.add(self._book.applied(connection, key, unit))
        self._add_methods(connection, start, end)

    def result(self) -> dict[str, object]:
        """The report, the same to the last digit for the same facts, figures and settings."""
        sums, carbon = self._sums, self._settings.carbon
        policy = self._settings.allocation.at(self._end - 1)  # the one in force at the span's end
        changed = [{"from": since, "settings": its} for since, its in changes(self._settings, self._start, self._end)]
        return {
            "cluster": self._settings.cluster,
            "from": self._asked[0],
            "to": self._asked[1],
            "covers": covers((self._start, self._end)),
            "basis": carbon.at(self._start).basis,
            "policy": policy.model_dump(mode="json"),
            **({"settings_changes": changed} if changed else {}),  # not there where there are none, as below
            "total": sums.total.to_json(),
            "inventory": [
                row.to_json()
                for row in inventory_rows({name: figures.amounts() for name, figures in sums.ownership.items()})
            ],
            "ownership": {name: figures.to_json() for name, figures in sorted(sums.ownership.items())},
            "namespaces": {name: figures.to_json() for name, figures in sorted(sums.namespaces.items())},
            "energy": [
                {
                    "domain": domain,
                    "method": method,
                    "kwh": kilowatt_hours(found.measured_uj),
                    "low_kwh": kilowatt_hours(found.low_uj),
                    "high_kwh": kilowatt_hours(found.high_uj),
                }
                for (domain, method), found in sorted(sums.methods.items())
            ],
            **self._coverage().to_json(),
            "nodes_without_reports": self._silent(),
            # Not there where there are none: reports that earlier versions closed have no such key.
            **({"nodes_without_agent": self._without_agent} if self._without_agent else {}),
            **({"cost": cost} if (cost := self._costs.to_json(self._start, self._end)) else {}),
            **({"labels": self._labels.to_json()} if self._labels.keys else {}),
            "factors": sorted(sums.factors),
            "location_factors": sums.numbers.to_json(),
            **({"without_numbers_uj": unknown} if (unknown := sums.total.it_uj - sums.numbers.energy_uj) else {}),
        }

    def label_values(self) -> dict[str, dict[str, dict[str, int]]]:
        """After `run`, the sums of all values of the required labels, as `RequiredLabels.all_values` has them."""
        return self._labels.all_values()

    def _add(self, unit: ValuedUnit) -> None:
        sums = self._sums
        for slice_start, slice_end, ms in unit.reported:
            overlap = min(slice_end, self._end) - max(slice_start, self._start)
            if overlap > 0:
                sums.reported_ms += ms * overlap // (slice_end - slice_start)
        for row in rows_within(unit.rows, self._start, self._end):
            for figures in (
                sums.total,
                sums.ownership.setdefault(OWNERSHIP[row.scope], _Figures()),
                sums.namespaces.setdefault(row.namespace, _Figures()),
            ):
                figures.it_uj += sum(row.figures[ENERGY_UJ])
                figures.facility_uj += row.figures[FACILITY_UJ]
                figures.metered_uj += row.figures[METERED_UJ]
                figures.location_ug += sum(row.figures[LOCATION_UG])
                figures.market_ug += sum(row.figures[MARKET_UG])
                figures.embodied_ug += row.figures[EMBODIED_UG]
                figures.embodied_low_ug += row.figures[EMBODIED_LOW_UG]
                figures.embodied_high_ug += row.figures[EMBODIED_HIGH_UG]
                figures.direct_ug += row.figures[DIRECT_UG]
                figures.upstream_ug += row.figures[UPSTREAM_UG]
                figures.unsplit_ug += row.figures[UNSPLIT_UG]
                figures.stood_in_ug += row.figures[STOOD_IN_UG]
                figures.stood_in_direct_ug += row.figures[STOOD_IN_DIRECT_UG]
                figures.stood_in_upstream_ug += row.figures[STOOD_IN_UPSTREAM_UG]
                figures.direct_uj += row.figures[DIRECT_UJ]
                figures.upstream_uj += row.figures[UPSTREAM_UJ]
                figures.market_uj += row.figures[MARKET_UJ]
            self._costs.add(
                row.start, OWNERSHIP[row.scope], row.namespace, sum(row.figures[ENERGY_UJ]),
                sum(row.figures[LOCATION_UG]), sum(row.figures[MARKET_UG]), row.figures[EMBODIED_UG],
            )  # fmt: skip
            sums.factors |= row.factors
            self._labels.add(row)

    def _add_methods(self, connection: sa.Connection, start: int, end: int) -> None:
        """Add the energy by method of the slices that start in [start, end), which are whole hours.

        The database adds up each hour, which fits its integers; a year of 5,000 nodes are 88 million rows.
        """
        fact, node = schema.node_fact.c, schema.node
        domain = sa.case((fact.domain.startswith("gpu:", autoescape=True), "gpu"), else_=fact.domain)
        hour = fact.start - fact.start % HOUR
        dialect = connection.dialect
        sums = (
            sa.func.sum(fact.measured_uj),
            *(
                # 0 means that no upper end was given; above 2.5 MWh in an hour it is impossible.
                sa.func.sum(
                    sa.case(
                        (sa.and_(limit > 0, valid_in_database(dialect, limit, 2**53)), limit), else_=fact.measured_uj
                    )
                )
                for limit in (fact.low_uj, fact.high_uj)
            ),
        )
        rows = connection.execute(
            sa.select(domain, fact.method, *sums)
            .join(node, node.c.id == fact.node_id)
            .where(node.c.cluster == self._settings.cluster)
            .where(fact.start >= start, fact.start < end, valid_in_database(dialect, fact.measured_uj))
            .group_by(hour, domain, fact.method)
            .execution_options(yield_per=10_000)
        )
        for name, method, measured_uj, low_uj, high_uj in rows:
            found = self._sums.methods.setdefault((name, method), _Method())
            found.measured_uj += int(measured_uj)
            found.low_uj += int(low_uj)
            found.high_uj += int(high_uj)

    def _coverage(self) -> Coverage:
        """Share of the node-time that was reported, over the nodes that should report.

        All of a period that is over counts, also where reports stopped before its end.
        """
        until = self._end
        if self._now < self._end:  # reports that may still arrive are not missing yet
            until = min(self._end, max(self.data_through, self._now - SILENT_SECONDS))
        return coverage(self._expected, self._sums.reported_ms, self._start, until, self._listed_from)

    @property
    def has_data(self) -> bool:
        """Whether any node reported anything of that time."""
        return self._sums.reported_ms > 0

    def _silent(self) -> list[str]:
        """Nodes of that time that have never reported."""
        return sorted({
            item.name
            for item in self._expected
            if item.silent and item.start < self._end and (item.end is None or item.end > self._start)
        })  # fmt: skip
