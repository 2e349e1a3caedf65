"""The order in which delayed reports are tried: each has its turn, and what fails is tried little."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_agent.delayed_turns import DelayedTurns

HOUR = 3_600.0


def a_round(turns: DelayedTurns, now: float, names: list[str], refused: set[str]) -> list[str]:
    """What is tried at `now`; what is accepted leaves `names`."""
    tried = []
    while (name := turns.next(now, lambda: sorted(names))) is not None:
        tried.append(name)
        if name in refused:
            turns.failed()
        else:
            names.remove(name)
    return tried


def test_the_first_round_is_due_at_once_and_the_next_ones_each_hour() -> None:
    turns, names = DelayedTurns(100.0), ["a", "b"]
    assert a_round(turns, 100.0, names, {"a", "b"}) == ["a", "b"]
    assert a_round(turns, 100.0 + HOUR - 1, names, {"a", "b"}) == []
    assert a_round(turns, 100.0 + HOUR, names, {"a", "b"}) == ["a", "b"]


def test_a_round_ends_after_twenty_failures_and_the_next_one_goes_on_there() -> None:
    turns, names = DelayedTurns(0.0), [f"{number:02}" for number in range(50)]
    refused = set(names)
    assert a_round(turns, 0.0, names, refused) == names[:20]
    assert a_round(turns, HOUR, names, refused) == names[20:40]
    assert a_round(turns, 2 * HOUR, names, refused) == names[40:] + names[:10]


@given(st.sets(st.integers(0, 400)), st.sets(st.integers(0, 400)))
def test_all_that_is_accepted_leaves_within_a_turn_of_what_is_not(present: set[int], bad: set[int]) -> None:
    names = [f"{number:03}" for number in present]
    refused = {f"{number:03}" for number in bad}
    turns = DelayedTurns(0.0)
    for number in range(len(refused) // 20 + 1):
        tried = a_round(turns, number * HOUR, names, refused)
        assert sum(name in refused for name in tried) <= 20
        assert len(tried) == len(set(tried))
    assert set(names) <= refused
