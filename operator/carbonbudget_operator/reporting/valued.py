"""Valued rows: an hour's facts, allocated and valued once, then summed by anybody.

Groups are kept, not pods: budgets ask by namespace and labels, and pods that agree in all that can be asked
for are one row. Every figure of a query is a sum of these rows, so it cannot depend on how the query groups
or filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from carbonbudget_agent.exact import share_list
from carbonbudget_operator.allocation.allocate import IDLE_ROW, SYSTEM_ROW, UNSEEN_ROW, Shares, allocate, reserve
from carbonbudget_operator.allocation.policy import Policy
from carbonbudget_operator.allocation.shared import share_namespaces
from carbonbudget_operator.carbon.intensity.hours import Hours
from carbonbudget_operator.carbon.value import emissions_ug
from carbonbudget_operator.ledger.facts import Group, NodeSlice
from carbonbudget_operator.ledger.valued import COLUMNS, EMBODIED_UG, ENERGY_UJ, FACILITY_UJ, METERED_UJ, ValuedRow
from carbonbudget_operator.reporting.places import Place, Places

# What another namespace bears of a shared one is its overhead.
_TO_OVERHEAD: Final = (2, 2, 2, 3, 6, 6, 6, 9, 9, 9, 10, 11)
_SPECIAL: Final = {name: Group(name, "", {}) for name in (IDLE_ROW, SYSTEM_ROW, UNSEEN_ROW)}


_Key = tuple[str, str, Group]  # node, scope, group


@dataclass(slots=True)
class _Sum:
    end: int
    figures: list[int]
    factors: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Market:
    """A node slice's domain on the market: its micrograms, or None where the location's figure stands in."""

    emissions_ug: int | None
    factors: frozenset[str]


class Valuer:
    """Allocates by one policy and values by the configured places."""

    def __init__(self, places: Places, policy: Policy) -> None:
        self._places, self._policy = places, policy

    def value(self, slices: Sequence[NodeSlice], by_node: bool = False, hours: Hours | None = None) -> list[ValuedRow]:
        """All rows of an hour's node slices; `by_node` keeps each node's apart."""
        by_start: dict[int, list[NodeSlice]] = {}
        for slice_ in slices:
            by_start.setdefault(slice_.start, []).append(slice_)
        return [row for start, found in sorted(by_start.items()) for row in self._value(start, found, by_node, hours)]

    def _value(self, start: int, slices: Sequence[NodeSlice], by_node: bool, hours: Hours | None) -> list[ValuedRow]:
        sums: dict[_Key, _Sum] = {}
        places = [self._places.of(slice_.node, start, hours) for slice_ in slices]
        market = self._market(start, slices, places)
        for slice_, place, markets in zip(slices, places, market, strict=True):
            self._add_slice(sums, slice_, place, markets, slice_.node.name if by_node else "")
        rows = list(sums.items())
        emptied = share_namespaces(
            [group.namespace for (_, _, group), _ in rows],
            [total.figures for _, total in rows],
            lambda figures: sum(figures[ENERGY_UJ]),
            _TO_OVERHEAD,
            self._policy,
        )
        return [
            ValuedRow(
                start,
                total.end,
                node,
                scope,
                group.namespace,
                group.workload,
                group.labels,
                total.figures,
                total.factors,
            )
            for index, ((node, scope, group), total) in enumerate(rows)
            if index not in emptied
        ]

    def _market(self, start: int, slices: Sequence[NodeSlice], places: Sequence[Place]) -> list[dict[str, _Market]]:
        """By node slice and domain. Contracts cover a zone's nodes alike, each at the share of its energy."""
        entries = [(at, name, domain.measured_uj) for at, s in enumerate(slices) for name, domain in s.domains.items()]
        found: list[dict[str, _Market]] = [{} for _ in slices]
        zones: dict[str, list[tuple[int, str, int]]] = {}
        for at, name, measured_uj in entries:
            facility_uj = measured_uj * places[at].pue_permille // 1000
            zones.setdefault(places[at].zone, []).append((at, name, facility_uj))
        for zone, members in zones.items():
            end = max(slices[at].end for at, _, _ in members)
            energies = [facility_uj for _, _, facility_uj in members]
            drawn = self._places.draw(zone, sum(energies), start, end)
            covered = share_list(drawn.covered_uj, energies) if drawn.covered_uj else [0] * len(members)
            covered_ug = share_list(drawn.emissions_ug, energies) if drawn.emissions_ug else [0] * len(members)
            for (at, name, facility_uj), part_uj, part_ug in zip(members, covered, covered_ug, strict=True):
                rest = places[at].market
                if not drawn.covered_uj and rest.stands_in:
                    found[at][name] = _Market(None, rest.factors)
                    continue
                total_ug = part_ug + emissions_ug(facility_uj - part_uj, 1000, rest.mg_per_kwh)
                used = frozenset(drawn.instruments) | (rest.factors if facility_uj > part_uj else frozenset())
                found[at][name] = _Market(total_ug, used)
        return found

    def _add_slice(
        self,
        sums: dict[_Key, _Sum],
        slice_: NodeSlice,
        place: Place,
        markets: Mapping[str, _Market],
        node: str,
    ) -> None:
        scope, pue_permille = self._places.scope(slice_.node), place.pue_permille
        keys = [(node, scope, facts.group) for facts in slice_.groups]
        factors = place.factors.union(*(market.factors for market in markets.values()))
        factors |= {f"embodied: {self._places.hardware(slice_.node).why}"}
        for shares in allocate(slice_, self._policy):
            domain = slice_.domains[shares.domain]
            energies = _flat(shares)
            location = (
                share_list(emissions_ug(domain.measured_uj, place.pue_permille, place.mg_per_kwh), energies)
                if domain.measured_uj
                else [0] * len(energies)
            )
            market_ug = markets[shares.domain].emissions_ug
            market = location if market_ug is None else _share(market_ug, energies)
            metered = _metered(energies, domain.metered_uj, domain.measured_uj)
            facility = (
                share_list(domain.measured_uj * pue_permille // 1000, energies) if domain.measured_uj else energies
            )
            count = len(keys)
            for index, key in enumerate(keys):
                total = _sum(sums, key, slice_.end, factors)
                for column, at in enumerate((index, count + index, 2 * count + index)):
                    if energies[at]:
                        total[column] += energies[at]
                        total[METERED_UJ] += metered[at]
                        total[4 + column] += location[at]
                        total[7 + column] += market[at]
                        total[FACILITY_UJ] += facility[at]
            for at, name, column in (
                (3 * count, IDLE_ROW, 1), (3 * count + 1, SYSTEM_ROW, 2), (3 * count + 2, UNSEEN_ROW, 0),
            ):  # fmt: skip
                if energies[at]:
                    total = _sum(sums, (node, scope, _SPECIAL[name]), slice_.end, factors)
                    total[column] += energies[at]
                    total[METERED_UJ] += metered[at]
                    total[4 + column] += location[at]
                    total[7 + column] += market[at]
                    total[FACILITY_UJ] += facility[at]
        self._add_embodied(sums, slice_, node, factors)

    def _add_embodied(self, sums: dict[_Key, _Sum], slice_: NodeSlice, node: str, factors: frozenset[str]) -> None:
        """Servers by CPU reserved or used, GPUs by GPUs requested; what nobody reserves is nobody's."""
        duration_ms, facts, scope = slice_.duration_ms, slice_.groups, self._places.scope(slice_.node)
        hardware = self._places.hardware(slice_.node)
        parts = (
            (hardware.server, [f.reserved for f in facts], slice_.node.cpu_millicores * duration_ms),
            (hardware.gpus, [f.gpu_reserved_ms for f in facts], slice_.node.gpus * duration_ms),
        )
        for device, reserved, capacity in parts:
            total_ug = 0 if device is None else device.emissions_ug(duration_ms, slice_.start)
            shares, nobody = reserve(total_ug, reserved, capacity)
            for group, part in zip(facts, shares, strict=True):
                if part:
                    _sum(sums, (node, scope, group.group), slice_.end, factors)[EMBODIED_UG] += part
            if nobody:
                _sum(sums, (node, scope, _SPECIAL[IDLE_ROW]), slice_.end, factors)[EMBODIED_UG] += nobody


def _flat(shares: Shares) -> list[int]:
    return [
        *shares.dynamic_uj, *shares.idle_uj, *shares.overhead_uj,
        shares.nobody_idle_uj, shares.nobody_overhead_uj, shares.unseen_uj,
    ]  # fmt: skip


def _share(total: int, weights: list[int]) -> list[int]:
    return share_list(total, weights) if total else [0] * len(weights)


def _metered(energies: list[int], metered_uj: int, measured_uj: int) -> list[int]:
    if not metered_uj:
        return [0] * len(energies)
    return energies if metered_uj == measured_uj else share_list(metered_uj, energies)


def _sum(sums: dict[_Key, _Sum], key: _Key, end: int, factors: frozenset[str]) -> list[int]:
    total = sums.get(key)
    if total is None:
        total = sums[key] = _Sum(end, [0] * COLUMNS, factors)
        return total.figures
    if end > total.end:
        total.end = end
    if factors is not total.factors and not factors <= total.factors:
        total.factors |= factors
    return total.figures


def within(rows: Iterable[ValuedRow], start: int, end: int) -> Iterable[ValuedRow]:
    """The rows of [start, end); of one that straddles a boundary its share in whole units."""
    for row in rows:
        overlap = min(row.end, end) - max(row.start, start)
        length = row.end - row.start
        if overlap == length:
            yield row
        elif overlap > 0:
            figures = [figure * overlap // length for figure in row.figures]
            yield replace(row, start=max(row.start, start), end=min(row.end, end), figures=figures)
