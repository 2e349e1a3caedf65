"""Allocation: under every policy the rows of a domain add up to what was measured, to the microjoule."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.allocation.allocate import Component, allocate
from carbonbudget_operator.allocation.policy import Idle, Overhead, Policy
from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodFacts

HOUR_MS = 3_600_000
AMOUNT = st.integers(0, 10**12)
POLICIES = st.builds(Policy, st.sampled_from(Idle), st.sampled_from(Overhead))


def a_pod(uid: str, energy_uj: int = 0, request_millicores: int = 0, cpu_us: int = 0, namespace: str = "a") -> PodFacts:
    return PodFacts(
        uid, namespace, uid, f"Pod/{uid}", {}, {"cpu": energy_uj}, {}, cpu_us, request_millicores * HOUR_MS, HOUR_MS
    )


def a_slice(pods: list[PodFacts], idle: int = 0, system: int = 0, unseen: int = 0, millicores: int = 2000) -> NodeSlice:
    own = sum(pod.energy_uj["cpu"] for pod in pods)
    domain = DomainFacts(own + idle + system + unseen, idle, system, unseen, 0, HOUR_MS)
    node = NodeFacts(1, "node-1", "", "", "", "", millicores)
    return NodeSlice(node, 0, 3600, {"cpu": domain}, tuple(pods))


@st.composite
def slices(draw: st.DrawFn) -> NodeSlice:
    names = draw(st.lists(st.sampled_from(["cpu", "dram", "gpu:x"]), min_size=1, unique=True))
    energies = st.dictionaries(st.sampled_from(names), AMOUNT)
    uids = draw(st.lists(st.text("abc", min_size=1, max_size=3), max_size=8, unique=True))
    pods = tuple(
        PodFacts(
            uid, draw(st.sampled_from("ab")), uid, f"Pod/{uid}", {}, draw(energies), draw(energies),
            draw(AMOUNT), draw(AMOUNT), 1,
        )
        for uid in uids
    )  # fmt: skip
    domains = {}
    for name in names:
        idle, system, unseen = draw(AMOUNT), draw(AMOUNT), draw(AMOUNT)
        own = sum(pod.energy_uj.get(name, 0) + pod.idle_uj.get(name, 0) for pod in pods)
        domains[name] = DomainFacts(
            own + idle + system + unseen, idle, system, unseen, 0, draw(st.integers(0, HOUR_MS))
        )
    return NodeSlice(NodeFacts(1, "n", "", "", "", "", draw(st.integers(0, 10**6))), 0, 3600, domains, pods)


@given(slices(), POLICIES)
def test_the_rows_of_a_domain_add_up_to_what_was_measured(slice_: NodeSlice, policy: Policy) -> None:
    totals: Counter[str] = Counter()
    for row in allocate(slice_, policy):
        assert row.energy_uj > 0
        totals[row.domain] += row.energy_uj
    assert {name: totals[name] for name in slice_.domains} == {
        name: domain.measured_uj for name, domain in slice_.domains.items()
    }


@given(slices(), POLICIES)
def test_own_energy_is_never_anybody_elses(slice_: NodeSlice, policy: Policy) -> None:
    dynamic = Counter({r.pod.uid: 0 for r in allocate(slice_, policy) if r.pod})
    for row in allocate(slice_, policy):
        if row.pod and row.component is Component.DYNAMIC:
            dynamic[row.pod.uid] += row.energy_uj
    for pod in slice_.pods:
        own = sum(uj for name, uj in pod.energy_uj.items() if name in slice_.domains)
        assert dynamic.get(pod.uid, 0) == own


def shares(slice_: NodeSlice, policy: Policy, component: Component) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for row in allocate(slice_, policy):
        if row.component is component:
            totals[row.pod.uid if row.pod else row.special] += row.energy_uj
    return dict(totals)


def test_idle_goes_by_what_is_reserved_or_used_and_the_rest_is_nobodys() -> None:
    pods = [a_pod("reserves", request_millicores=500), a_pod("uses", cpu_us=1000 * HOUR_MS)]
    assert shares(a_slice(pods, idle=2000), Policy(), Component.IDLE) == {
        "reserves": 500,
        "uses": 1000,
        "__idle__": 500,
    }


def test_above_capacity_idle_is_normalised() -> None:
    pods = [a_pod("a", request_millicores=3000), a_pod("b", request_millicores=1000)]
    assert shares(a_slice(pods, idle=2000), Policy(), Component.IDLE) == {"a": 1500, "b": 500}


def test_overhead_goes_by_own_energy_on_that_node() -> None:
    pods = [a_pod("a", energy_uj=30), a_pod("b", energy_uj=10), a_pod("idle")]
    assert shares(a_slice(pods, system=100), Policy(), Component.OVERHEAD) == {"a": 75, "b": 25}


def test_overhead_that_nobody_works_for_is_the_systems() -> None:
    assert shares(a_slice([a_pod("a")], system=100), Policy(), Component.OVERHEAD) == {"__system__": 100}


def test_unseen_energy_is_always_its_own_row() -> None:
    assert shares(a_slice([a_pod("a")], unseen=7), Policy(), Component.DYNAMIC) == {"__unseen__": 7}


@pytest.mark.parametrize(
    ("policy", "component", "expected"),
    [
        (Policy(idle=Idle.BY_USAGE), Component.IDLE, {"a": 90, "b": 30}),
        (Policy(idle=Idle.EVEN), Component.IDLE, {"a": 60, "b": 30, "c": 30}),
        (Policy(idle=Idle.SEPARATE), Component.IDLE, {"__idle__": 120}),
        (Policy(overhead=Overhead.EVEN), Component.OVERHEAD, {"a": 30, "b": 15, "c": 15}),
        (Policy(overhead=Overhead.SEPARATE), Component.OVERHEAD, {"__system__": 60}),
    ],
    ids=["byUsage", "even idle", "separate idle", "even overhead", "separate overhead"],
)
def test_the_other_policies(policy: Policy, component: Component, expected: dict[str, int]) -> None:
    pods = [a_pod("a", energy_uj=30), a_pod("b", energy_uj=10, namespace="b"), a_pod("c", namespace="b")]
    assert shares(a_slice(pods, idle=120, system=60), policy, component) == expected
