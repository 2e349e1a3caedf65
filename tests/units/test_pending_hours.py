"""Which hours are asked for next."""

from __future__ import annotations

from carbonbudget_operator.units.pending_hours import NOT_IN_STORE, AttemptedHour, PendingHours

HOUR = 3600
NOW = 1_000 * HOUR


def pending(**namespaces: int) -> PendingHours:
    """Each namespace with so many counters of three hours each; a counter's id begins with its place."""
    made = PendingHours()
    for place, (namespace, counters) in enumerate(namespaces.items()):
        for n in range(counters):
            made.put(100 * place + n, namespace, NOW - 3 * HOUR, NOW, (), {})
    return made


def test_the_newest_hours_come_first_and_namespaces_take_turns() -> None:
    due = pending(many=50, one=1).due(NOW, 1000)
    assert due[:2] == [(0, NOW - HOUR), (100, NOW - HOUR)]
    assert [place for place, (key, _) in enumerate(due) if key == 100] == [1, 3, 5]
    assert len(due) == 3 * 51


def test_turns_go_on_after_the_namespace_that_was_last() -> None:
    made, order = pending(a=9, b=9, c=1), []
    last = ""
    for _ in range(3):
        ((key, _),) = made.due(NOW, 1, last)
        last = "abc"[key // 100]
        order.append(last)
    assert order == ["a", "b", "c"]
    assert [key for key, _ in made.due(NOW, 2, "c")] == [0, 100]


def test_known_hours_are_not_asked_for_and_the_next_ones_become_due() -> None:
    made = PendingHours()
    made.put(1, "a", NOW - 3 * HOUR, NOW, {NOW - 2 * HOUR}, {})
    assert [hour for _, hour in made.due(NOW, 9)] == [NOW - HOUR, NOW - 3 * HOUR]
    made.known(1, NOW - HOUR)
    made.move(NOW - 2 * HOUR, NOW + HOUR)
    assert [hour for _, hour in made.due(NOW, 9)] == [NOW]
    assert made.counts() == (1, 0, 0)


def test_an_hour_that_failed_waits_and_comes_after_those_that_were_never_asked_for() -> None:
    made = pending(a=1)
    made.failed(0, NOW - HOUR, AttemptedHour(NOW, 1))
    assert [hour for _, hour in made.due(NOW + 299, 9)] == [NOW - 2 * HOUR, NOW - 3 * HOUR]
    assert [hour for _, hour in made.due(NOW + 300, 9)] == [NOW - 2 * HOUR, NOW - 3 * HOUR, NOW - HOUR]
    assert (made.attempts(0, NOW - HOUR), made.attempts(0, NOW - 2 * HOUR)) == (1, 0)
    assert made.counts() == (2, 1, 0)


def test_the_pause_doubles_up_to_six_hours() -> None:
    pauses = [AttemptedHour(0, attempts).not_before for attempts in (1, 2, 3, 8, 1000)]
    assert pauses == [300, 600, 1200, 6 * HOUR, 6 * HOUR]


def test_an_hour_that_is_not_in_the_store_is_asked_for_once_a_day_and_counts_as_missing() -> None:
    made = pending(a=1)
    made.failed(0, NOW - HOUR, AttemptedHour(NOW, NOT_IN_STORE))
    assert made.counts() == (2, 0, 1)
    assert (0, NOW - HOUR) not in made.due(NOW + 24 * HOUR - 1, 9)
    assert (0, NOW - HOUR) in made.due(NOW + 24 * HOUR, 9)


def test_counters_that_are_gone_are_forgotten() -> None:
    made = pending(a=2)
    made.keep({1})
    assert (made.first_of(0), made.first_of(1)) == (None, NOW - 3 * HOUR)
    assert {key for key, _ in made.due(NOW, 9)} == {1}
    made.failed(0, NOW, AttemptedHour(NOW, 1))
    made.known(0, NOW)
    assert made.attempts(0, NOW) == 0
