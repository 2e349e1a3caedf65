"""Two machines with one node name are noticed; a reboot, an outbox sent late, a restarted server are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.ledger.reports import HOUR, a_report

from carbonbudget_agent.report import NodeReport
from carbonbudget_operator.ingest import boots as module
from carbonbudget_operator.ingest.boots import Boots
from carbonbudget_operator.ingest.refusal import Refusal


def window(boot: str, minute: int) -> NodeReport:
    return replace(a_report(HOUR + 60 * minute), boot_id=boot)


def test_of_two_machines_with_one_name_the_newer_ones_reports_are_taken() -> None:
    boots = Boots()
    for minute in range(10):
        boots.check(window("a", minute))
        if minute >= 4:
            boots.check(window("b", minute))
        if minute == 6:
            break
    with pytest.raises(Refusal, match="reports from two machines") as refusal:
        boots.check(window("a", 7))
    assert (refusal.value.status, refusal.value.kind) == (409, "duplicate_node")
    boots.check(window("b", 7))
    boots.check(replace(window("a", 7), node="node-2"))  # another node may have it


def test_a_reboot_is_no_second_machine_and_what_waited_for_it_is_taken() -> None:
    boots = Boots()
    for minute in range(5):
        boots.check(window("a", minute))
    for minute in range(6, 20):
        boots.check(window("b", minute))
    boots.check(window("a", 5))  # closed before the reboot, sent after it
    boots.check(window("a", 3))


def test_a_server_that_just_started_takes_an_old_boots_windows_after_the_new_ones() -> None:
    boots = Boots()
    boots.check(window("b", 100))
    for minute in range(100):
        boots.check(window("a", minute))


def test_two_machines_that_a_server_sees_at_once_are_told_apart_too() -> None:
    boots = Boots()
    refused = set()
    for minute in range(10):
        for boot in ("a", "b"):
            try:
                boots.check(window(boot, minute))
            except Refusal:
                refused.add(boot)
    assert refused == {"a"}


def test_memory_is_bounded_by_node() -> None:
    boots = Boots()
    for index in range(1_000):
        boots.check(window(f"boot-{index}", index))
    assert len(boots._nodes["node-1"]) <= 5


def test_nodes_that_are_long_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_NODES", 10)
    known = Boots()
    for node in range(25):
        known.check(a_report(node=f"n{node}"))
    assert len(known._nodes) <= 10
