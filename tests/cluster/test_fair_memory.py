"""Room is shared fairly: only who has more than an equal share gives anything up, and it gives up its own."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.cluster import fair_memory
from carbonbudget_operator.cluster.fair_memory import FairMemory

MOST, EACH = 100, 60
_PUTS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 30), st.booleans(), st.booleans()), max_size=60
)  # fmt: skip


@given(_PUTS, st.sampled_from([0, 1_000]))
def test_no_owner_within_its_share_gives_anything_up_and_the_bounds_hold(
    puts: list[tuple[str, int, bool, bool]], spare: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fair_memory, "_SPARE", spare)
        put_all(puts)


def put_all(puts: list[tuple[str, int, bool, bool]]) -> None:
    room, owned = FairMemory(MOST, EACH), defaultdict[str, dict[bytes, int]](dict)
    for number, (owner, size, first, taken) in enumerate(puts):
        if taken and owned[owner]:
            key = next(iter(owned[owner]))
            room.take(owner, key)
            del owned[owner][key]
        key = bytes([number])
        fitted = room.fits(owner, size)
        room.put(owner, key, size, first)
        owned[owner][key] = size
        while (beyond := room.key_to_remove(owner)) is not None:
            assert not fitted
            (loser,) = [name for name, its in owned.items() if beyond in its]
            has = sum(owned[loser].values())
            owners = [name for name, its in owned.items() if its]
            assert has > EACH or has * len(owners) > MOST
            room.take(loser, beyond)
            del owned[loser][beyond]
        assert room.used == sum(sum(its.values()) for its in owned.values()) <= MOST
        assert all(sum(its.values()) <= EACH for its in owned.values())


def test_what_came_last_goes_before_what_was_there_and_what_is_marked_goes_first() -> None:
    room = FairMemory(30, 30)
    for key in b"abc":
        room.put("owner", bytes([key]), 10, first=key == ord("b"))
    room.put("owner", b"d", 10)
    gone = []
    for _ in range(2):
        beyond = room.key_to_remove("owner")
        assert beyond is not None
        room.take("owner", beyond)
        gone.append(beyond)
        room.put("owner", beyond.upper(), 10)
    assert gone == [b"b", b"B"]
    assert room.used == 40


def test_a_key_that_is_not_there_is_taken_out_without_effect() -> None:
    room = FairMemory(30, 30)
    room.put("owner", b"a", 10)
    room.take("owner", b"b")
    room.take("other", b"a")
    assert room.used == 10
