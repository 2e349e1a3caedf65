"""Direct and upstream parts of emissions: they add up to the life cycle, row by row, whatever the rows are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.carbon.basis_split import AccountingBases, BasisSplit, split_by_basis
from carbonbudget_operator.carbon.emissions_formula import emissions_ug

ENERGIES = st.lists(st.integers(0, 10**13), min_size=1, max_size=8).filter(any)
INTENSITY = st.integers(0, 2_000_000)
PUE = st.integers(1000, 3000)


def located(energies_uj: list[int], pue_permille: int, mg: int) -> list[int]:
    return share_list(emissions_ug(sum(energies_uj), pue_permille, mg), energies_uj)


@given(ENERGIES, PUE, INTENSITY, INTENSITY)
def test_direct_and_upstream_are_the_life_cycle_of_each_row_where_both_are_known(
    energies_uj: list[int], pue_permille: int, one: int, other: int
) -> None:
    direct_mg, whole_mg = sorted((one, other))
    location = located(energies_uj, pue_permille, whole_mg)
    found = split_by_basis(
        location, energies_uj, pue_permille, "lifecycle", AccountingBases.of("lifecycle", whole_mg, direct_mg)
    )
    assert [a + b for a, b in zip(found.direct, found.upstream, strict=True)] == location
    assert min((*found.direct, *found.upstream)) >= 0
    assert sum(found.direct) == emissions_ug(sum(energies_uj), pue_permille, direct_mg)
    assert not found.unsplit


@given(ENERGIES, PUE, INTENSITY, INTENSITY)
def test_both_bases_give_the_same_totals_whichever_of_them_is_reported(
    energies_uj: list[int], pue_permille: int, one: int, other: int
) -> None:
    direct_mg, whole_mg = sorted((one, other))
    location = located(energies_uj, pue_permille, direct_mg)
    by_direct = split_by_basis(
        location, energies_uj, pue_permille, "direct", AccountingBases.of("direct", direct_mg, whole_mg)
    )
    assert list(by_direct.direct) == location
    assert min(by_direct.upstream) >= 0
    assert sum(location) + sum(by_direct.upstream) == emissions_ug(sum(energies_uj), pue_permille, whole_mg)


@given(ENERGIES, PUE, INTENSITY)
def test_where_one_basis_is_known_nothing_is_guessed_of_the_other(
    energies_uj: list[int], pue_permille: int, mg: int
) -> None:
    location = located(energies_uj, pue_permille, mg)
    whole = split_by_basis(location, energies_uj, pue_permille, "lifecycle", AccountingBases.of("lifecycle", mg))
    assert whole == BasisSplit(unsplit=location)
    assert split_by_basis(
        location, energies_uj, pue_permille, "direct", AccountingBases.of("direct", mg)
    ) == BasisSplit(direct=location)


def test_a_life_cycle_that_stands_in_for_a_direct_factor_is_not_called_direct() -> None:
    assert split_by_basis([5], [9], 1000, "lifecycle", AccountingBases.of("lifecycle", 458_290)).direct == ()


def test_a_pair_that_cannot_be_is_none() -> None:
    assert AccountingBases.of("lifecycle", 300_000, 300_001) == AccountingBases(None, 300_000)
    assert AccountingBases.of("direct", 300_001, 300_000) == AccountingBases(300_001, None)
    assert AccountingBases.of("lifecycle", 300_000, 300_000) == AccountingBases(300_000, 300_000)
