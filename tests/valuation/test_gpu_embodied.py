"""Who bears what making a node's GPUs emitted, however the node offers them to pods."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.ledger.facts import DomainFacts, NodeFacts, NodeSlice, PodGroup, PodGroupFacts
from carbonbudget_operator.valuation.gpu_embodied import gpu_count, share_gpus

HOUR_MS = 3_600_000
IDLE_UJ = 180_000_000_000  # 50 W for an hour


def a_group(name: str, requested: int = 0, **held: int) -> PodGroupFacts:
    """`held` is the idle that it bears of each GPU."""
    idle_uj = {f"gpu:{gpu}": uj for gpu, uj in held.items()}
    return PodGroupFacts(PodGroup(name, "", {}), 1, {}, idle_uj, 0, 0, requested * HOUR_MS)


def a_slice(offered: int, free: dict[str, int], *groups: PodGroupFacts) -> NodeSlice:
    """`free` is what each GPU idled for nobody, by its name."""
    gpus = {f"gpu:{gpu}": DomainFacts(10**12, uj, 0, 0, 0, HOUR_MS) for gpu, uj in free.items()}
    cpu = DomainFacts(10**12, 10**12, 0, 0, 0, HOUR_MS)
    return NodeSlice(NodeFacts(1, "n", "", "", "", "", 64_000, 64, offered), 0, 3600, {"cpu": cpu} | gpus, groups)


@pytest.mark.parametrize("offered", [0, 2, 8, 14])
def test_gpus_are_counted_by_their_meters_not_by_the_shares_that_are_offered(offered: int) -> None:
    """Shares of time slicing and MIG devices multiply what a node offers; those of MIG's "mixed" are not in it."""
    assert gpu_count(a_slice(offered, {"x": 0, "y": 0})) == 2


def test_without_a_meter_they_are_those_that_the_node_offers() -> None:
    assert gpu_count(a_slice(4, {})) == 4


def test_whole_gpus_are_their_holders_and_one_that_nobody_holds_is_nobodys() -> None:
    slice_ = a_slice(4, {"w": 0, "x": 0, "y": 0, "z": IDLE_UJ}, a_group("a", 1, w=IDLE_UJ), a_group("b", 2, x=9, y=9))
    assert share_gpus(4_000, slice_) == ([1_000, 2_000], 1_000)


def test_a_time_sliced_gpu_is_its_holders_by_the_shares_they_hold() -> None:
    """One GPU offered four times: of three shares that are taken a pod has two."""
    slice_ = a_slice(4, {"x": 0}, a_group("a", 2, x=IDLE_UJ * 2 // 3), a_group("b", 1, x=IDLE_UJ // 3))
    assert share_gpus(900, slice_) == ([600, 300], 0)


def test_a_mig_device_bears_its_slices_though_it_counts_as_no_requested_gpu() -> None:
    slice_ = a_slice(0, {"x": IDLE_UJ * 2 // 7}, a_group("a", 0, x=IDLE_UJ * 4 // 7), a_group("b", 0, x=IDLE_UJ // 7))
    (four, one), free = share_gpus(7_000, slice_)
    assert (four, one, free) == (4_000, 1_000, 2_000)


def test_half_an_hours_holder_bears_half() -> None:
    assert share_gpus(100, a_slice(1, {"x": IDLE_UJ // 2}, a_group("a", 1, x=IDLE_UJ // 2))) == ([50], 50)


def test_a_gpu_whose_holder_has_no_name_is_nobodys() -> None:
    assert share_gpus(100, a_slice(2, {"x": 0, "y": 0}, a_group("a", 1, x=IDLE_UJ))) == ([50], 50)


@pytest.mark.parametrize("free", [{}, {"x": IDLE_UJ, "y": IDLE_UJ}])
def test_where_it_is_not_known_who_holds_what_they_go_by_requests(free: dict[str, int]) -> None:
    assert share_gpus(100, a_slice(2, free, a_group("a", 1), a_group("b"))) == ([50, 0], 50)


@given(
    st.integers(0, 10**12),
    st.integers(0, 16),
    st.dictionaries(st.sampled_from("xyz"), st.integers(0, 10**13)),
    st.lists(st.tuples(st.integers(0, 8), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 10**13))), max_size=4),
)
def test_however_they_are_held_the_parts_add_up(
    total_ug: int, offered: int, free: dict[str, int], pods: list[tuple[int, dict[str, int]]]
) -> None:
    shares, nobody = share_gpus(total_ug, a_slice(offered, free, *(a_group("a", n, **held) for n, held in pods)))
    assert sum(shares) + nobody == total_ug
    assert min([*shares, nobody]) >= 0
    assert len(shares) == len(pods)
