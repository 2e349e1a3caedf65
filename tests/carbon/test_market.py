"""Contracts: drawn by the hour, the cleanest first, never more than they deliver."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.carbon.market import EnergyContract, apply_contracts
from carbonbudget_operator.energy_units import UJ_PER_KWH

CONTRACTS = st.lists(
    st.builds(
        EnergyContract, st.sampled_from("abc"), st.just("id"), st.sampled_from(["DE", "FR"]), st.integers(0, 5000),
        st.integers(5001, 20_000), st.integers(1, 10**6), st.integers(0, 900_000),
    ),
    max_size=5,
)  # fmt: skip


@given(CONTRACTS, st.integers(0, 10**15), st.integers(0, 20_000), st.integers(1, 3600))
def test_no_contract_covers_more_than_it_delivers_nor_all_more_than_was_drawn(
    contracts: list[EnergyContract], facility_uj: int, start: int, length: int
) -> None:
    drawn = apply_contracts(contracts, "DE", facility_uj, start, start + length)
    delivered = sum(c.delivered_uj(start, start + length) for c in contracts if c.zone == "DE")
    assert drawn.covered_uj == min(facility_uj, delivered)


@given(CONTRACTS)
def test_over_its_whole_time_a_contract_delivers_what_was_bought(contracts: list[EnergyContract]) -> None:
    for contract in contracts:
        assert contract.delivered_uj(contract.start, contract.end) == contract.kwh * UJ_PER_KWH
        assert contract.delivered_uj(contract.end, contract.end + 3600) == 0


def test_the_cleanest_contract_is_drawn_first() -> None:
    dirty = EnergyContract("gas", "c", "DE", 0, 3600, 10, 400_000)
    clean = EnergyContract("wind", "c", "DE", 0, 3600, 10, 0)
    drawn = apply_contracts([dirty, clean], "DE", 15 * UJ_PER_KWH, 0, 3600)
    assert (drawn.covered_uj, drawn.emissions_ug) == (15 * UJ_PER_KWH, 5 * 400 * 10**6)
    assert drawn.instruments == ("wind (c), 0 g/kWh", "gas (c), 400 g/kWh")
