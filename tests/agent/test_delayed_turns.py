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
            turns.accepted()
            names.remove(name)
    return tried


def test_the_first_round_is_due_at_once_and_the_next_ones_each_hour() -> None:
    turns, names = DelayedTurns(100.0), ["a", "b"]
    assert a_round(turns, 100.0, names, {"a", "b"}) == ["a", "b"]
    assert a_round(turns, 100.0 + HOUR - 1, names, {"a", "b"}) == []
    assert a_round(turns, 100.0 + HOUR, names, {"a", "b"}) == ["a", "b"]


def test_a_round_in_turn_ends_after_twenty_failures_and_the_next_one_in_turn_goes_on_there() -> None:
    turns, names = DelayedTurns(0.0), [f"{number:02}" for number in range(50)]
    refused = set(names)
    rounds = [a_round(turns, number * HOUR, names, refused) for number in range(5)]
    assert [len(one) for one in rounds] == [20] * 5
    assert rounds[::2] == [names[:20], names[20:40], names[40:] + names[:10]]


def test_a_round_between_spreads_its_tries_over_all_so_that_what_is_accepted_is_found_behind_what_is_not() -> None:
    """The reported case: a broken meter's three days before the reports that the server accepts now."""
    names = [f"{number:05}" for number in range(5_000)]
    refused, turns = set(names[:4_320]), DelayedTurns(0.0)
    assert a_round(turns, 0.0, names, refused) == names[:20]
    found = a_round(turns, HOUR, names, refused)
    assert len([name for name in found if name not in refused]) > 300


def test_while_the_server_takes_none_no_round_is_used_up_but_a_report_that_it_cannot_take_is_left_behind() -> None:
    turns, names = DelayedTurns(0.0), ["a", "b", "c"]

    def following() -> str | None:
        return turns.next(1.0, lambda: names)

    assert following() == "a"
    turns.not_now()
    assert following() == "a"
    turns.accepted()
    assert following() == "b"
    turns.not_now()
    assert following() == "b"
    turns.not_now()  # others were accepted meanwhile: it is this one
    assert following() == "c"


@given(st.sets(st.integers(0, 400)), st.sets(st.integers(0, 400)))
def test_all_that_is_accepted_leaves_within_a_turn_of_what_is_not(present: set[int], bad: set[int]) -> None:
    names = [f"{number:03}" for number in present]
    refused = {f"{number:03}" for number in bad}
    turns = DelayedTurns(0.0)
    for number in range(2 * (len(refused) // 20 + 1)):
        tried = a_round(turns, number * HOUR, names, refused)
        assert sum(name in refused for name in tried) <= 20
        assert len(tried) == len(set(tried))
    assert set(names) <= refused
