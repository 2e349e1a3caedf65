"""Allocation: under every policy the parts of a domain add up to what was measured, to the microjoule."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule, PolicyError, parse_shared
from carbonbudget_operator.allocation.shared_namespaces import share_namespaces
from carbonbudget_operator.allocation.slice_allocation import AllocatedEnergy, allocate, reserve
from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodGroup, PodGroupFacts

HOUR_MS = 3_600_000
AMOUNT = st.integers(0, 10**12)
POLICIES = st.builds(AllocationPolicy, st.sampled_from(IdleRule), st.sampled_from(OverheadRule))
GROUPS = {name: PodGroup(name[0], f"Pod/{name}", {}) for name in ("a", "b", "c", "aa", "ab", "ba", "bb", "cc")}


def a_group(
    name: str, energy_uj: int = 0, request_millicores: int = 0, cpu_us: int = 0, namespace: str = "a"
) -> PodGroupFacts:
    """One pod."""
    reserved = max(request_millicores * HOUR_MS, cpu_us)
    return PodGroupFacts(PodGroup(namespace, name, {}), 1, {"cpu": energy_uj}, {}, cpu_us, reserved)


def a_slice(
    groups: list[PodGroupFacts], idle: int = 0, system: int = 0, unseen: int = 0, millicores: int = 2000
) -> NodeSlice:
    own = sum(group.energy_uj["cpu"] for group in groups)
    domain = DomainFacts(own + idle + system + unseen, idle, system, unseen, 0, HOUR_MS)
    node = NodeFacts(1, "node-1", "", "", "", "", millicores)
    return NodeSlice(node, 0, 3600, {"cpu": domain}, tuple(groups))


@st.composite
def slices(draw: st.DrawFn) -> NodeSlice:
    names = draw(st.lists(st.sampled_from(["cpu", "dram", "gpu:x"]), min_size=1, unique=True))
    energies = st.dictionaries(st.sampled_from(names), AMOUNT)
    groups = tuple(
        PodGroupFacts(GROUPS[name], draw(st.integers(1, 9)), draw(energies), draw(energies), draw(AMOUNT), draw(AMOUNT))
        for name in draw(st.lists(st.sampled_from(sorted(GROUPS)), max_size=8, unique=True))
    )
    domains = {}
    for name in names:
        idle, system, unseen = draw(AMOUNT), draw(AMOUNT), draw(AMOUNT)
        own = sum(group.energy_uj.get(name, 0) + group.idle_uj.get(name, 0) for group in groups)
        domains[name] = DomainFacts(
            own + idle + system + unseen, idle, system, unseen, 0, draw(st.integers(0, HOUR_MS))
        )
    return NodeSlice(NodeFacts(1, "n", "", "", "", "", draw(st.integers(0, 10**6))), 0, 3600, domains, groups)


def parts(shares: AllocatedEnergy) -> list[int]:
    return [*shares.dynamic_uj, *shares.idle_uj, *shares.overhead_uj, *shares.unallocated_uj]


@given(slices(), POLICIES)
def test_the_parts_of_a_domain_add_up_to_what_was_measured(slice_: NodeSlice, policy: AllocationPolicy) -> None:
    found = list(allocate(slice_, policy))
    assert {shares.domain: sum(parts(shares)) for shares in found} == {
        name: domain.measured_uj for name, domain in slice_.domains.items()
    }
    assert all(min(parts(shares)) >= 0 for shares in found)
    assert all(parts(shares) == shares.energies_uj for shares in found)


@given(slices(), POLICIES)
def test_own_energy_is_never_anybody_elses(slice_: NodeSlice, policy: AllocationPolicy) -> None:
    for shares in allocate(slice_, policy):
        for group, dynamic_uj, idle_uj in zip(slice_.groups, shares.dynamic_uj, shares.idle_uj, strict=True):
            assert dynamic_uj == group.energy_uj.get(shares.domain, 0)
            assert idle_uj >= group.idle_uj.get(shares.domain, 0)


def idle_of(slice_: NodeSlice, policy: AllocationPolicy) -> dict[str, int]:
    (shares,) = allocate(slice_, policy)
    found = {g.group.workload: uj for g, uj in zip(slice_.groups, shares.idle_uj, strict=True)}
    return {name: uj for name, uj in (found | {"nobody": shares.unallocated_uj[0]}).items() if uj}


def overhead_of(slice_: NodeSlice, policy: AllocationPolicy) -> dict[str, int]:
    (shares,) = allocate(slice_, policy)
    found = {g.group.workload: uj for g, uj in zip(slice_.groups, shares.overhead_uj, strict=True)}
    return {name: uj for name, uj in (found | {"nobody": shares.unallocated_uj[1]}).items() if uj}


def test_idle_goes_by_what_is_reserved_or_used_and_the_rest_is_nobodys() -> None:
    groups = [a_group("reserves", request_millicores=500), a_group("uses", cpu_us=1000 * HOUR_MS)]
    assert idle_of(a_slice(groups, idle=2000), AllocationPolicy()) == {"reserves": 500, "uses": 1000, "nobody": 500}


def test_above_capacity_idle_is_normalised() -> None:
    groups = [a_group("a", request_millicores=3000), a_group("b", request_millicores=1000)]
    assert idle_of(a_slice(groups, idle=2000), AllocationPolicy()) == {"a": 1500, "b": 500}


def test_overhead_goes_by_own_energy_on_that_node() -> None:
    groups = [a_group("a", energy_uj=30), a_group("b", energy_uj=10), a_group("idle")]
    assert overhead_of(a_slice(groups, system=100), AllocationPolicy()) == {"a": 75, "b": 25}


def test_overhead_that_nobody_works_for_is_nobodys() -> None:
    assert overhead_of(a_slice([a_group("a")], system=100), AllocationPolicy()) == {"nobody": 100}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (AllocationPolicy(idle=IdleRule.BY_USAGE), {"a": 90, "b": 30}),
        (AllocationPolicy(idle=IdleRule.EVEN), {"a": 60, "b": 30, "c": 30}),
        (AllocationPolicy(idle=IdleRule.SEPARATE), {"nobody": 120}),
    ],
    ids=lambda value: str(value.idle) if isinstance(value, AllocationPolicy) else "",
)
def test_the_other_policies_of_idle(policy: AllocationPolicy, expected: dict[str, int]) -> None:
    groups = [a_group("a", energy_uj=30), a_group("b", energy_uj=10, namespace="b"), a_group("c", namespace="b")]
    assert idle_of(a_slice(groups, idle=120), policy) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (AllocationPolicy(overhead=OverheadRule.EVEN), {"a": 30, "b": 15, "c": 15}),
        (AllocationPolicy(overhead=OverheadRule.SEPARATE), {"nobody": 60}),
    ],
    ids=lambda value: str(value.overhead) if isinstance(value, AllocationPolicy) else "",
)
def test_the_other_policies_of_overhead(policy: AllocationPolicy, expected: dict[str, int]) -> None:
    groups = [a_group("a", energy_uj=30), a_group("b", energy_uj=10, namespace="b"), a_group("c", namespace="b")]
    assert overhead_of(a_slice(groups, system=60), policy) == expected


@given(AMOUNT, st.lists(AMOUNT, max_size=8), AMOUNT)
def test_a_reserve_is_shared_out_whole_and_nothing_is_nobodys_above_capacity(
    total: int, reserved: list[int], capacity: int
) -> None:
    shares, nobody = reserve(total, reserved, capacity)
    assert sum(shares) + nobody == total
    if any(reserved) and sum(reserved) >= capacity:
        assert nobody == 0


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["kube-system", "mon", "a", "b", "c", "__idle__"]), st.lists(AMOUNT, min_size=3, max_size=3)
    ),
    max_size=10,
)
RULES = st.one_of(
    st.sampled_from(["proportional", "even", "separate"]), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5))
)


@given(ROWS, st.dictionaries(st.sampled_from(["kube-system", "mon", "none"]), RULES))
def test_sharing_a_namespace_out_changes_no_total(rows: list[tuple[str, list[int]]], shared: dict[str, object]) -> None:
    namespaces, figures = [name for name, _ in rows], [list(row) for _, row in rows]
    before = [sum(column) for column in zip(*figures, strict=True)]
    emptied = share_namespaces(namespaces, figures, sum, (1, 1, 2), AllocationPolicy(shared=shared))
    after = [sum(column) for column in zip(*figures, strict=True)]
    assert after[2:] == before[2:]
    assert sum(after[:2]) == sum(before[:2])
    assert all(not any(figures[i]) for i in emptied)
    for (name, row), now in zip(rows, figures, strict=True):
        if name.startswith("__"):
            assert now == row


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("proportional", {"a": 120, "b": 40}),
        ("even", {"a": 110, "b": 50}),
        ({"b": 1, "elsewhere": 9}, {"a": 90, "b": 70}),
        ("separate", {"a": 90, "b": 30, "kube-system": 40}),
        ({"elsewhere": 1}, {"a": 90, "b": 30, "kube-system": 40}),
    ],
    ids=str,
)
def test_a_shared_namespace_is_borne_by_its_rule(rule: object, expected: dict[str, int]) -> None:
    namespaces, figures = ["a", "a", "b", "kube-system"], [[60], [30], [30], [40]]
    share_namespaces(namespaces, figures, sum, (0,), AllocationPolicy(shared={"kube-system": rule}))
    found: Counter[str] = Counter()
    for name, (figure,) in zip(namespaces, figures, strict=True):
        found[name] += figure
    assert {name: figure for name, figure in found.items() if figure} == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kube-system",
        "=even",
        "a=sometimes",
        "a=b:0",
        "a=b:x",
        "a=b:1,",
        "a=a:1",
        "a=b:1000001",
        "a=b:" + "9" * 5_000,
    ],
)
def test_a_rule_that_is_none_is_told(text: str) -> None:
    with pytest.raises(PolicyError, match=r"write NAMESPACE=|must be another namespace"):
        parse_shared(text)


def test_rules_are_read() -> None:
    assert parse_shared("kube-system=proportional") == ("kube-system", "proportional")
    assert parse_shared("mon=team-a:2,team-b:1") == ("mon", {"team-a": 2, "team-b": 1})
