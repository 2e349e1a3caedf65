"""Clusters of node slices, and what the tests of their valuation compare."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import strategies as st

from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodGroup, PodGroupFacts
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    ValuedRow,
)
from carbonbudget_operator.market_settings import ContractSettings, MarketRate, MarketSettings
from carbonbudget_operator.settings import CarbonSettings

HOUR = 1_764_000_000
HOUR_MS = 3_600_000
AMOUNT = st.integers(0, 10**13)
GROUPS = [
    PodGroup(namespace, workload, {"team": team} if team else {})
    for namespace in ("a", "b", "kube-system")
    for workload in ("Job/x", "Job/y")
    for team in ("", "red", "blue")
]


REGIONS = [("europe-west4", "gce://p/z/i"), ("us-east-1", "aws:///z/i"), ("", ""), ("nowhere", "")]
SHARED = st.dictionaries(
    st.sampled_from(["kube-system", "b"]),
    st.one_of(st.sampled_from(["proportional", "even", "separate"]), st.just({"a": 3, "b": 1})),
)


POLICIES = st.builds(AllocationPolicy, st.sampled_from(IdleRule), st.sampled_from(OverheadRule), SHARED)
CONTRACT = ContractSettings(
    name="wind", certificate="GO-1", zone="NL", start=dt.date(2025, 11, 1), end=dt.date(2025, 12, 1), kwh=7200
)


RATE = MarketRate(g_per_kwh=Decimal(100), source="bill", year=2025)
CARBONS = st.sampled_from(
    [
        CarbonSettings(),
        CarbonSettings(
            market=MarketSettings(
                contracts=[CONTRACT], supplier=MarketRate(g_per_kwh=Decimal("123.4"), source="bill", year=2025)
            )
        ),
        CarbonSettings(zone="NL", pue=1.2, market=MarketSettings(contracts=[CONTRACT])),
        CarbonSettings(market=MarketSettings(attested_providers=["aws", "gcp"])),
        CarbonSettings(
            basis="direct",
            ownership="owned",
            market=MarketSettings(
                contracts=[CONTRACT, CONTRACT.model_copy(update={"zone": "US", "certificate": "REC-1"})]
            ),
        ),
    ]
)


@st.composite
def clusters(draw: st.DrawFn) -> list[NodeSlice]:
    """Some nodes in an hour, one or two slices each."""
    found = []
    for index in range(draw(st.integers(1, 4))):
        region, provider = draw(st.sampled_from(REGIONS))
        node = NodeFacts(index, f"n{index}", provider, region, "", "", 64_000, 64, draw(st.integers(0, 4)))
        for start in draw(st.sampled_from([(HOUR,), (HOUR, HOUR + 900)])):
            names = draw(st.sampled_from([["cpu"], ["cpu", "gpu:x"]]))
            energies = st.dictionaries(st.sampled_from(names), AMOUNT)
            groups = tuple(
                PodGroupFacts(
                    GROUPS[at], draw(st.integers(1, 3)), draw(energies), draw(energies), draw(AMOUNT), draw(AMOUNT),
                    draw(st.integers(0, 2 * HOUR_MS)),
                )
                for at in draw(st.lists(st.integers(0, len(GROUPS) - 1), max_size=5, unique=True))
            )  # fmt: skip
            domains = {}
            for name in names:
                idle, system, unseen = draw(AMOUNT), draw(AMOUNT), draw(AMOUNT)
                total = sum(g.energy_uj.get(name, 0) + g.idle_uj.get(name, 0) for g in groups) + idle + system + unseen
                metered = draw(st.sampled_from([0, total, total // 3]))
                domains[name] = DomainFacts(total, idle, system, unseen, metered, draw(st.integers(0, HOUR_MS)))
            found.append(NodeSlice(node, start, start + 900, domains, groups))
    return found


def totals(rows: list[ValuedRow]) -> list[int]:
    return [sum(row.figures[column] for row in rows) for column in range(COLUMNS)]


GROUPINGS = st.lists(
    st.sampled_from(["namespace", "workload", "node", "label:team", "label:none"]), min_size=1, max_size=3, unique=True
)


FILTERS = st.lists(
    st.sampled_from(
        [("namespace", "a"), ("workload", "Job/x"), ("label:team", "red"), ("node", "n0"), ("namespace", "-")]
    ),
    max_size=2,
)


def by_group(rows: list[ValuedRow]) -> dict[object, tuple[list[int], frozenset[str]]]:
    """Every figure of every group, and its factors."""
    found: dict[object, tuple[list[int], frozenset[str]]] = {}
    for row in rows:
        key = (row.start, row.scope, row.namespace, row.workload, str(row.labels))
        figures, factors = found.get(key, ([0] * COLUMNS, frozenset()))
        found[key] = ([a + b for a, b in zip(figures, row.figures, strict=True)], factors | row.factors)
    return {key: value for key, value in found.items() if any(value[0])}


def a_node(
    energy_kwh: int, region: str, provider: str, gpus: int = 0, groups: tuple[PodGroupFacts, ...] = ()
) -> NodeSlice:
    """One node in one hour, all of it idle."""
    energy_uj = energy_kwh * UJ_PER_KWH
    node = NodeFacts(1, "n", provider, region, "", "", 64_000, 64, gpus)
    return NodeSlice(node, HOUR, HOUR + 3600, {"cpu": DomainFacts(energy_uj, energy_uj, 0, 0, 0, HOUR_MS)}, groups)


def grams(rows: list[ValuedRow], part: slice) -> float:
    return sum(sum(row.figures[part]) for row in rows) / 1e6
