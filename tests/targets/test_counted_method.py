"""Which settings are the method of a target's figure, and how two methods differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.targets.counted_method import (
    KEYS,
    MOST_CHARACTERS,
    OF_ALLOCATION,
    counting,
    method_changes,
    method_of,
    shown_changes,
)

_SETTINGS: dict[str, object] = {
    "allocation.idle": "byRequest", "carbon.pue": 1.58, "carbon.embodied.life_years": 4, "carbon.provider": "",
    "carbon.market.supplier": None, "carbon.intensity": "[], 48 h",
}  # fmt: skip
_VALUES = st.one_of(
    st.none(), st.integers(), st.text(max_size=200), st.dictionaries(st.text(max_size=9), st.integers())
)


def keys(efficiency: bool, *include: str) -> list[str]:
    return [one.partition(" ")[0] for one in counting(method_of(_SETTINGS), efficiency, include)]


def test_contracts_and_what_sources_answer_are_data_and_no_method() -> None:
    assert method_of(_SETTINGS) == (
        'allocation.idle "byRequest"', "carbon.embodied.life_years 4", 'carbon.provider ""', "carbon.pue 1.58",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("efficiency", "include", "expected"),
    [
        (
            False,
            ("Idle", "Embodied"),
            ["allocation.idle", "carbon.embodied.life_years", "carbon.provider", "carbon.pue"],
        ),
        (False, ("Idle",), ["allocation.idle", "carbon.provider", "carbon.pue"]),
        (True, ("Idle", "Embodied"), ["allocation.idle", "carbon.embodied.life_years", "carbon.provider"]),
        (True, ("Idle",), ["allocation.idle"]),
    ],
)
def test_at_the_baselines_grid_no_factor_counts_and_without_embodied_emissions_no_hardware(
    efficiency: bool, include: tuple[str, ...], expected: list[str]
) -> None:
    assert keys(efficiency, *include) == expected


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (("Dynamic",), ["allocation.shared"]),
        (("Dynamic", "Idle"), ["allocation.idle", "allocation.shared"]),
        (("Dynamic", "Overhead"), ["allocation.idle", "allocation.overhead", "allocation.shared"]),
    ],
)
def test_a_rule_of_allocation_counts_where_the_target_counts_what_it_shares_out(
    include: tuple[str, ...], expected: list[str]
) -> None:
    method = method_of(dict.fromkeys(OF_ALLOCATION, "x"))
    assert [one.partition(" ")[0] for one in counting(method, True, include)] == expected


def test_a_change_has_both_values_and_is_named_once_however_many_methods_a_window_has() -> None:
    before, later = ("a 1", "b 2"), ("a 1", "b 3")
    assert method_changes(before, [before, later, ("a 1", "b 4")]) == ["b 2 -> 3"]
    assert method_changes(before, [before]) == []


def test_a_setting_that_an_earlier_version_did_not_have_is_no_change() -> None:
    assert method_changes(("a 1",), [("a 1", "new 7")]) == []
    assert method_changes(("a 1", "old 7"), [("a 1",)]) == []


def test_of_many_changes_three_are_shown() -> None:
    assert shown_changes(["a", "b", "c"]) == "a, b, c"
    assert shown_changes(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@given(st.sampled_from(KEYS), _VALUES, _VALUES)
def test_two_methods_differ_exactly_if_the_values_do_and_fit_a_status(key: str, one: object, other: object) -> None:
    before, after = method_of({key: one}), method_of({key: other})
    assert bool(method_changes(before, [after])) == (before != after) == (one != other)
    assert all(len(text) <= MOST_CHARACTERS for text in (*before, *after))
    frozen = {"perUnit": "1g", "perUnitMicrograms": 1, "frozenAt": "2026-11-01T00:00:00Z", "hash": "x"}
    assert FrozenBaseline.model_validate(frozen | {"method": list(before)}).method == list(before)
