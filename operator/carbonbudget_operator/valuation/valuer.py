"""Makes valued rows: the facts of an hour, allocated and converted to emissions once, for all later sums.

A row is a pod group, not a pod: questions name namespaces and labels, and pods that agree in all of these are one row.
Every answer is a sum of these rows, so it does not depend on how a question groups or filters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.allocation.policy import AllocationPolicy
from carbonbudget_operator.allocation.shared_namespaces import share_namespaces
from carbonbudget_operator.allocation.slice_allocation import (
    IDLE_ROW,
    SYSTEM_ROW,
    UNSEEN_ROW,
    allocate,
    reserve,
)
from carbonbudget_operator.carbon.basis_split import DIRECT, BasisSplit, split_by_basis
from carbonbudget_operator.carbon.emissions_formula import emissions_ug
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityHours
from carbonbudget_operator.carbon.market import apply_contracts
from carbonbudget_operator.ledger.applied_factors import AppliedFactors
from carbonbudget_operator.ledger.facts import NodeSlice, PodGroup, PodGroupFacts
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    DIRECT_UG,
    DIRECT_UJ,
    EMBODIED_HIGH_UG,
    EMBODIED_LOW_UG,
    EMBODIED_UG,
    ENERGY_UJ,
    FACILITY_UJ,
    MARKET_UJ,
    METERED_UJ,
    STOOD_IN_DIRECT_UG,
    STOOD_IN_UG,
    STOOD_IN_UPSTREAM_UG,
    UNSPLIT_UG,
    UPSTREAM_UG,
    UPSTREAM_UJ,
    ValuedRow,
)
from carbonbudget_operator.valuation.gpu_embodied import gpu_count, share_gpus
from carbonbudget_operator.valuation.node_factors import Place, Places

# What another namespace is charged of a shared one is its overhead.
_TO_OVERHEAD: Final = (2, 2, 2, 3, 6, 6, 6, 9, 9, 9, *range(10, COLUMNS))
_SPECIAL: Final = {name: PodGroup(name, "", {}) for name in (IDLE_ROW, SYSTEM_ROW, UNSEEN_ROW)}
_NOBODY: Final = PodGroupFacts(_SPECIAL[IDLE_ROW])
_NOTHING: Final[frozenset[str]] = frozenset()


_Key = tuple[str, str, PodGroup, int]  # node, scope, group, start


@dataclass(frozen=True, slots=True)
class _Market:
    """A node slice's domain on the market: its micrograms, or None where the location's figure stands in for all of it.

    `stood_in_ug`: for which part of them it does, where contracts cover the rest. `stood_in_uj`: for how much of the
    facility's energy, in either case.
    """

    emissions_ug: int | None
    factors: frozenset[str]
    stood_in_uj: int
    stood_in_ug: int = 0


_Placed = tuple[NodeSlice, Place, dict[str, _Market]]


class Valuer:
    """Allocates by one policy and values by the configured places."""

    def __init__(self, places: Places, policy: AllocationPolicy) -> None:
        self._places, self._policy = places, policy

    @property
    def places(self) -> Places:
        """Where nodes stand."""
        return self._places

    def value(
        self, slices: Sequence[NodeSlice], by_node: bool = False, hours: IntensityHours | None = None
    ) -> list[ValuedRow]:
        """All rows of an hour's node slices; `by_node`: the rows of each node are separate."""
        places = [self._places.of(slice_.node, slice_.start, hours) for slice_ in slices]
        by_start: dict[int, list[_Placed]] = {}
        for placed in zip(slices, places, self._market(slices, places), strict=True):
            by_start.setdefault(placed[0].start, []).append(placed)
        return [row for _, found in sorted(by_start.items()) for row in self._value(found, by_node)]

    def applied(self, slices: Sequence[NodeSlice], hours: IntensityHours | None = None) -> list[AppliedFactors]:
        """The numbers by which an hour's node slices are valued, each with the energy that it was applied to, in order.

        Their emissions add up to the location-based emissions of the rows.
        """
        sums: dict[tuple[int, str], AppliedFactors] = {}
        for slice_ in slices:
            place = self._places.of(slice_.node, slice_.start, hours)
            direct, whole, hour = place.bases.direct_mg, place.bases.lifecycle_mg, slice_.start - slice_.start % HOUR
            other = None if None in (direct, whole) else whole if place.basis == DIRECT else direct
            numbers = (place.basis, place.mg_per_kwh, other, place.pue_permille)
            for domain in slice_.domains.values():
                if domain.measured_uj:
                    ug = emissions_ug(domain.measured_uj, place.pue_permille, place.mg_per_kwh)
                    previous = sums.get((hour, place.why))
                    energy_uj, before_ug, values = (0, 0, 0) if previous is None else previous.sums
                    sums[hour, place.why] = AppliedFactors(
                        hour, place.why, *numbers, energy_uj + domain.measured_uj, before_ug + ug, values + 1,
                        place.grid_zone or place.zone,
                    )  # fmt: skip
        return [one for _, one in sorted(sums.items())]

    def _value(self, slices: Sequence[_Placed], by_node: bool) -> list[ValuedRow]:
        sums: dict[_Key, ValuedRow] = {}
        for slice_, place, markets in slices:
            self._add_slice(sums, slice_, place, markets, slice_.node.name if by_node else "")
        emptied = self._share(sums) if any(rule != "separate" for rule in self._policy.shared.values()) else set()
        return [row for (_, scope, group, _), row in sums.items() if (scope, group) not in emptied]

    def _share(self, sums: dict[_Key, ValuedRow]) -> set[tuple[str, PodGroup]]:
        """Divide shared namespaces among the whole cluster; returns the groups that are empty now.

        Each group is charged as a whole, and its part is divided among its nodes and the parts of its hour. So a group
        is charged the same whether these are separate rows or not.
        """
        groups: dict[tuple[str, PodGroup], list[ValuedRow]] = {}
        for (_, scope, group, _), total in sums.items():
            groups.setdefault((scope, group), []).append(total)
        previous = [
            [sum(column) for column in zip(*(t.figures for t in found), strict=True)] for found in groups.values()
        ]
        figures = [list(row) for row in previous]
        indexes = share_namespaces(
            [group.namespace for _, group in groups], figures, lambda row: sum(row[ENERGY_UJ]), _TO_OVERHEAD,
            self._policy,
        )  # fmt: skip
        emptied = {key for index, key in enumerate(groups) if index in indexes}
        factors = frozenset().union(*(total.factors for key in emptied for total in groups[key]))
        for (key, found), before, after in zip(groups.items(), previous, figures, strict=True):
            if key in emptied or before == after:
                continue
            weights = [sum(total.figures[ENERGY_UJ]) for total in found]
            weights = weights if any(weights) else [1] * len(weights)
            for column, (old, new) in enumerate(zip(before, after, strict=True)):
                if new > old:
                    for total, part in zip(found, share_list(new - old, weights), strict=True):
                        total.figures[column] += part
            for total in found:
                total.factors |= factors
        return emptied

    def _market(self, slices: Sequence[NodeSlice], places: Sequence[Place]) -> list[dict[str, _Market]]:
        """By node slice and domain. Contracts cover nodes of their zone alike, each at the share of its energy.

        They cover electricity that the company buys itself, and nothing that an attested claim covers already.
        They are drawn for the whole hour and shared out over its slices, so that no figure depends on where budgets
        begin; an hour that is open has all that it will be delivered, so that its figures only grow.
        """
        if not slices:
            return []
        start = slices[0].start - slices[0].start % HOUR
        entries = [(at, name, domain.measured_uj) for at, s in enumerate(slices) for name, domain in s.domains.items()]
        left = [measured_uj * places[at].pue_permille // 1000 for at, _, measured_uj in entries]
        covered_ug, used = [0] * len(entries), [_NOTHING] * len(entries)
        for zone in self._places.contract_zones:
            inside = [i for i, (at, _, _) in enumerate(entries) if zone in places[at].market_zones and left[i]]
            energies = [left[i] for i in inside]
            drawn = apply_contracts(self._places.contracts, zone, sum(energies), start, start + HOUR)
            if not drawn.covered_uj:
                continue
            parts = zip(
                inside, share_list(drawn.covered_uj, energies), share_list(drawn.emissions_ug, energies), strict=True
            )
            for i, part_uj, part_ug in parts:
                left[i] -= part_uj
                covered_ug[i] += part_ug
                used[i] |= frozenset(drawn.instruments)
        found: list[dict[str, _Market]] = [{} for _ in slices]
        for (at, name, _), left_uj, part_ug, instruments in zip(entries, left, covered_ug, used, strict=True):
            rest = places[at].market
            if not instruments and rest.stands_in:
                found[at][name] = _Market(None, rest.factors, left_uj)
                continue
            left_ug = emissions_ug(left_uj, 1000, rest.mg_per_kwh)
            found[at][name] = _Market(
                part_ug + left_ug,
                instruments | rest.factors if left_uj or not instruments else instruments,
                *((left_uj, left_ug) if rest.stands_in else (0, 0)),
            )
        return found

    def _add_slice(
        self,
        sums: dict[_Key, ValuedRow],
        slice_: NodeSlice,
        place: Place,
        markets: Mapping[str, _Market],
        node: str,
    ) -> None:
        scope, pue_permille = self._places.scope(slice_.node), place.pue_permille
        keys = [_key(node, scope, facts, slice_) for facts in slice_.groups]
        ends = [facts.part[1] if facts.part else slice_.end for facts in slice_.groups]
        factors = place.factors.union(*(market.factors for market in markets.values()))
        factors |= {f"embodied: {self._places.hardware(slice_.node, gpu_count(slice_)).why}"}
        totals = (
            [_figures(sums, key, end, factors) for key, end in zip(keys, ends, strict=True)] if slice_.domains else []
        )
        count = len(keys)
        for shares in allocate(slice_, self._policy):
            domain = slice_.domains[shares.domain]
            energies = shares.energies_uj
            location = (
                share_list(emissions_ug(domain.measured_uj, place.pue_permille, place.mg_per_kwh), energies)
                if domain.measured_uj
                else [0] * len(energies)
            )
            on_market = markets[shares.domain]
            market_ug = on_market.emissions_ug
            market = location if market_ug is None else share_list(market_ug, energies)
            metered = _metered(energies, domain.metered_uj, domain.measured_uj)
            facility = (
                share_list(domain.measured_uj * pue_permille // 1000, energies) if domain.measured_uj else energies
            )
            parts = split_by_basis(location, energies, pue_permille, place.basis, place.bases)
            stood_in_ug = on_market.stood_in_ug
            # By the grams and not by the energies: so no row's part is more than the row.
            stood_in = location if market_ug is None else share_list(stood_in_ug, market) if stood_in_ug else ()
            columns = (
                (DIRECT_UG, parts.direct),
                (UPSTREAM_UG, parts.upstream),
                (UNSPLIT_UG, parts.unsplit),
                (STOOD_IN_UG, stood_in),
                *_of_inventory(place, on_market, facility, stood_in, parts),
            )
            split_into = [(column, cells) for column, cells in columns if cells]
            for index, total in enumerate(totals):
                a, b, c = index, count + index, 2 * count + index  # dynamic, idle, overhead; no energy, no grams
                total[0] += energies[a]
                total[1] += energies[b]
                total[2] += energies[c]
                total[METERED_UJ] += metered[a] + metered[b] + metered[c]
                total[4] += location[a]
                total[5] += location[b]
                total[6] += location[c]
                total[7] += market[a]
                total[8] += market[b]
                total[9] += market[c]
                total[FACILITY_UJ] += facility[a] + facility[b] + facility[c]
                for part, cells in split_into:
                    total[part] += cells[a] + cells[b] + cells[c]
            for at, name, column in (
                (3 * count, IDLE_ROW, 1), (3 * count + 1, SYSTEM_ROW, 2), (3 * count + 2, UNSEEN_ROW, 0),
            ):  # fmt: skip
                if energies[at]:
                    total = _figures(sums, (node, scope, _SPECIAL[name], slice_.start), slice_.end, factors)
                    total[column] += energies[at]
                    total[METERED_UJ] += metered[at]
                    total[4 + column] += location[at]
                    total[7 + column] += market[at]
                    total[FACILITY_UJ] += facility[at]
                    for part, cells in split_into:
                        total[part] += cells[at]
        self._add_embodied(sums, slice_, node, factors)

    def _add_embodied(self, sums: dict[_Key, ValuedRow], slice_: NodeSlice, node: str, factors: frozenset[str]) -> None:
        """Add embodied emissions: servers by CPU reserved or used, GPUs by use; the rest is charged to nobody."""
        duration_ms, facts, scope = slice_.duration_ms, slice_.groups, self._places.scope(slice_.node)
        hardware = self._places.hardware(slice_.node, gpu_count(slice_))
        server_ug = hardware.server.emissions_ug(duration_ms, slice_.start)
        gpus_ug = 0 if hardware.gpus is None else hardware.gpus.emissions_ug(duration_ms, slice_.start)
        cores = [group.reserved for group in facts]
        parts = (
            (hardware.server, reserve(server_ug, cores, slice_.node.cpu_millicores * duration_ms)),
            (hardware.gpus, share_gpus(gpus_ug, slice_)),
        )
        for device, (shares, nobody) in parts:
            for group, part in zip((*facts, _NOBODY), (*shares, nobody), strict=True):
                if part and device is not None:
                    end = group.part[1] if group.part else slice_.end
                    figures = _figures(sums, _key(node, scope, group, slice_), end, factors)
                    low, high = device.range_ug(part)
                    figures[EMBODIED_UG] += part
                    figures[EMBODIED_LOW_UG] += low
                    figures[EMBODIED_HIGH_UG] += high


def _of_inventory(
    place: Place, market: _Market, facility: Sequence[int], stood_in: Sequence[int], parts: BasisSplit
) -> Iterator[tuple[int, Sequence[int]]]:
    """The columns that the rows of an inventory need beside the others, by the cells of a domain; all 0: left out.

    `facility` is the facility's energy in microjoules. `stood_in` are the micrograms for which no market factor is
    known, and `parts` those by location.
    """
    known, covered_uj = place.bases, sum(facility) - market.stood_in_uj
    if known.direct_mg is None:
        if covered_uj:
            yield MARKET_UJ, share_list(covered_uj, facility) if market.stood_in_uj else facility
        return
    yield DIRECT_UJ, facility
    yield MARKET_UJ, facility  # where no market factor is known, the direct one of the location is
    if known.lifecycle_mg is not None:
        yield UPSTREAM_UJ, facility
    if not stood_in:
        return
    split = parts
    if market.emissions_ug is not None:
        split = split_by_basis(stood_in, [market.stood_in_uj], 1000, place.basis, known)
    yield STOOD_IN_DIRECT_UG, split.direct
    if place.basis != DIRECT:  # with direct factors, what is upstream is no part of what stands in
        yield STOOD_IN_UPSTREAM_UG, split.upstream


def _key(node: str, scope: str, facts: PodGroupFacts, slice_: NodeSlice) -> _Key:
    return node, scope, facts.group, facts.part[0] if facts.part else slice_.start


def _metered(energies: list[int], metered_uj: int, measured_uj: int) -> list[int]:
    if not metered_uj:
        return [0] * len(energies)
    return energies if metered_uj == measured_uj else share_list(metered_uj, energies)


def _figures(sums: dict[_Key, ValuedRow], key: _Key, end: int, factors: frozenset[str]) -> list[int]:
    """The figures of the key's row, to be added to. The row is made where it is missing."""
    row = sums.get(key)
    if row is None:
        node, scope, group, start = key
        row = sums[key] = ValuedRow(
            start, end, node, scope, group.namespace, group.workload, group.labels, [0] * COLUMNS, factors
        )
        return row.figures
    if end > row.end:
        row.end = end
    if factors is not row.factors and not factors <= row.factors:
        row.factors |= factors
    return row.figures
