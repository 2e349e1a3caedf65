"""Two machines with one node name are noticed; a reboot, an outbox sent late, a restarted server are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.ledger.reports import HOUR, a_report

from carbonbudget_agent.sender import _CONFLICT, _REFUSED
from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ingest import boot_conflicts as module
from carbonbudget_operator.ingest.boot_conflicts import BootConflicts
from carbonbudget_operator.ingest.refusal import Refusal

NOW = HOUR + 7200


def window(boot: str, minute: int) -> NodeReport:
    return replace(a_report(HOUR + 60 * minute), boot_id=boot)


class Machine:
    """An agent as the server sees it: oldest window first, what is answered 503 is kept and sent again."""

    def __init__(self, boot: str) -> None:
        self.boot, self.waiting, self.taken, self.lost = boot, list[int](), list[int](), list[int]()

    def close_and_send(self, boots: BootConflicts, minute: int, now_minute: int) -> None:
        self.waiting.append(minute)
        while self.waiting:
            try:
                boots.check_and_record(window(self.boot, self.waiting[0]), HOUR + 60 * now_minute)
            except Refusal as refusal:
                if refusal.status not in {_CONFLICT, *_REFUSED}:
                    return
                self.lost.append(self.waiting.pop(0))
            else:
                self.taken.append(self.waiting.pop(0))


def test_of_two_machines_with_one_name_the_newer_ones_reports_are_taken_and_the_others_wait() -> None:
    boots, now = BootConflicts(), HOUR + 480
    for minute in range(7):
        boots.check_and_record(window("a", minute), now)
        if minute >= 4:
            boots.check_and_record(window("b", minute), now)
    with pytest.raises(Refusal, match="reports from two machines") as refusal:
        boots.check_and_record(window("a", 7), now)
    assert (refusal.value.status, refusal.value.kind, refusal.value.retry_after_s) == (503, "duplicate_node", 60)
    assert refusal.value.status not in {_CONFLICT, *_REFUSED}
    boots.check_and_record(window("b", 7), now)
    boots.check_and_record(replace(window("a", 7), node="node-2"), now)  # another node may have it


def test_a_machine_whose_double_is_gone_goes_on_and_no_time_is_counted_twice() -> None:
    boots, one, other = BootConflicts(), Machine("a"), Machine("b")
    for minute in range(200):
        if 10 <= minute < 30:
            other.close_and_send(boots, minute, minute)
        one.close_and_send(boots, minute, minute)
        if minute == 29:
            assert one.waiting == list(range(13, 30))  # kept as long as there are two
            assert one.lost == []
    assert other.taken == list(range(10, 30))
    assert one.lost == list(range(13, 30))  # the other's time
    assert one.taken == [*range(13), *range(30, 200)]


def test_a_reboot_that_mends_a_clock_that_was_ahead_costs_no_window_that_was_not_counted() -> None:
    boots, living = BootConflicts(), Machine("living")
    ahead = list(range(60, 70))  # of the former boot: in the same outbox, refused as of the future until then
    for minute in range(10, 300):
        while ahead and ahead[0] < minute and (not living.waiting or ahead[0] < living.waiting[0]):
            boots.check_and_record(window("ahead", ahead.pop(0)), HOUR + 60 * minute)
        living.close_and_send(boots, minute, minute)
    assert ahead == living.waiting == living.lost == []
    assert living.taken == list(range(10, 300))


def test_a_double_that_comes_back_is_noticed_again_and_what_was_counted_between_stays_counted() -> None:
    boots, one, other = BootConflicts(), Machine("a"), Machine("b")
    for minute in range(200):
        if 10 <= minute < 30 or 100 <= minute < 120:
            other.close_and_send(boots, minute, minute)
        one.close_and_send(boots, minute, minute)
    assert other.taken == [*range(10, 30), *range(100, 120)]
    assert len(set(one.taken) & set(other.taken)) <= 6  # the first windows of each: a boot may end as another begins
    assert one.lost == [*range(13, 30), *range(103, 120)]


def test_a_reboot_is_no_second_machine_and_what_waited_for_it_is_taken() -> None:
    boots = BootConflicts()
    for minute in range(5):
        boots.check_and_record(window("a", minute), NOW)
    for minute in range(6, 20):
        boots.check_and_record(window("b", minute), NOW)
    boots.check_and_record(window("a", 5), NOW)  # closed before the reboot, sent after it
    boots.check_and_record(window("a", 3), NOW)


def test_a_server_that_just_started_takes_an_old_boots_windows_after_the_new_ones() -> None:
    boots = BootConflicts()
    boots.check_and_record(window("b", 100), NOW)
    for minute in range(100):
        boots.check_and_record(window("a", minute), NOW)


def test_two_machines_that_a_server_sees_at_once_are_told_apart_too() -> None:
    boots = BootConflicts()
    refused = set()
    for minute in range(10):
        for boot in ("a", "b"):
            try:
                boots.check_and_record(window(boot, minute), NOW)
            except Refusal:
                refused.add(boot)
    assert refused == {"a"}


def test_memory_is_bounded_by_node() -> None:
    boots = BootConflicts()
    for index in range(1_000):
        boots.check_and_record(window(f"boot-{index}", index), NOW)
    assert len(boots._nodes["node-1"]) <= 5


def test_nodes_that_are_long_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_NODES", 10)
    known = BootConflicts()
    for node in range(25):
        known.check_and_record(a_report(node=f"n{node}"), NOW)
    assert len(known._nodes) <= 10
