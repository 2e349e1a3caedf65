"""The one division that every conservation law rests on."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_core.exact_division import share_out

WEIGHTS = st.dictionaries(st.text(max_size=3), st.integers(0, 2**62), min_size=1, max_size=30)


@given(st.integers(0, 2**70), WEIGHTS.filter(lambda weights: any(weights.values())))
def test_the_parts_add_up_to_the_total(total: int, weights: dict[str, int]) -> None:
    assert sum(share_out(total, weights).values()) == total


@given(st.integers(0, 2**70), WEIGHTS.filter(lambda weights: any(weights.values())))
def test_each_part_is_within_one_unit_of_its_true_share_and_never_negative(total: int, weights: dict[str, int]) -> None:
    weight_sum = sum(weights.values())
    for key, part in share_out(total, weights).items():
        assert part in (total * weights[key] // weight_sum, -(-total * weights[key] // weight_sum))


@given(st.integers(0, 2**70), WEIGHTS.filter(lambda weights: any(weights.values())))
def test_more_weight_never_gets_less(total: int, weights: dict[str, int]) -> None:
    parts = share_out(total, weights)
    # Equal weights may differ by the one unit that cannot be divided; more weight wins that unit.
    by_weight = sorted(weights, key=lambda key: weights[key])
    for lighter, heavier in pairwise(by_weight):
        if weights[lighter] < weights[heavier]:
            assert parts[lighter] <= parts[heavier]


@given(st.integers(0, 2**70), WEIGHTS.filter(lambda weights: any(weights.values())), st.randoms())
def test_the_order_of_keys_does_not_matter(total: int, weights: dict[str, int], random: object) -> None:
    keys = list(weights)
    random.shuffle(keys)  # type: ignore[attr-defined] # hypothesis gives a random.Random
    assert share_out(total, {key: weights[key] for key in keys}) == share_out(total, weights)


def test_ties_go_to_the_smaller_key() -> None:
    assert share_out(10, {"c": 1, "a": 1, "b": 1}) == {"c": 3, "a": 4, "b": 3}


def test_an_energy_that_nobody_used_is_refused_rather_than_guessed() -> None:
    with pytest.raises(ValueError, match="nothing to share 5 by"):
        share_out(5, {"a": 0})


def test_nothing_shared_among_nobody_is_nothing() -> None:
    assert share_out(0, {}) == {}


@pytest.mark.parametrize(("total", "weights"), [(-1, {"a": 1}), (1, {"a": -1, "b": 3})])
def test_negative_numbers_are_refused(total: int, weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        share_out(total, weights)
