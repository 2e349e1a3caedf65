"""The workloads in a target's status: what enforcement annotates."""

from __future__ import annotations

from tests.controller.target_bench import TargetBench
from tests.controller.target_statuses import frozen

from carbonbudget_operator.enforcement.flagged_targets import parse_target, targets_annotations


def answer(targets: TargetBench, *workloads: str) -> None:
    """What the server answers from now on, as "NAMESPACE KIND/NAME", the largest first."""
    targets.server.workloads = [(name, workload) for name, _, workload in (one.partition(" ") for one in workloads)]


async def test_ten_workloads_are_asked_for_and_are_in_the_status_by_name(targets: TargetBench) -> None:
    answer(targets, "team-a Deployment/web", "team-a CronJob/nightly")
    body = await frozen(targets)
    assert {query.wishes.workloads for queries in targets.server.asked for query in queries} == {10}
    assert body["status"]["topWorkloads"] == [
        {"kind": "CronJob", "name": "nightly"}, {"kind": "Deployment", "name": "web"},
    ]  # fmt: skip


async def test_a_target_of_the_cluster_names_their_namespaces(targets: TargetBench) -> None:
    answer(targets, "team-b Job/train", "team-a Deployment/web")
    body = targets.add_cluster_wide("all")
    await targets.evaluate("2026-11-02")
    assert body["status"]["topWorkloads"] == [
        {"kind": "Deployment", "name": "web", "namespace": "team-a"},
        {"kind": "Job", "name": "train", "namespace": "team-b"},
    ]


async def test_another_order_is_no_reason_to_write_and_another_workload_is(targets: TargetBench) -> None:
    answer(targets, "team-a Deployment/web", "team-a Deployment/api")
    body = await frozen(targets)
    await targets.evaluate("2026-11-02T01:00")
    answer(targets, "team-a Deployment/api", "team-a Deployment/web")
    assert [call for call in await targets.evaluate("2026-11-02T02:00") if call[0] == "PATCH"] == []
    answer(targets, "team-a Deployment/api", "team-a Deployment/new")
    await targets.evaluate("2026-11-02T03:00")
    assert [one["name"] for one in body["status"]["topWorkloads"]] == ["api", "new"]
    answer(targets)
    await targets.evaluate("2026-11-02T04:00")
    assert "topWorkloads" not in body["status"]


async def test_they_and_the_state_stay_while_the_server_does_not_answer(targets: TargetBench) -> None:
    answer(targets, "team-a Deployment/web")
    body = await frozen(targets)
    await targets.evaluate("2026-11-03")
    flagged = targets_annotations([parse_target(body)])
    assert list(flagged.values()) == [f"team-a/chatbot {body['status']['state']}"]
    targets.server.up = False
    await targets.evaluate("2026-11-03T01:00")
    assert targets_annotations([parse_target(body)]) == flagged


async def test_a_target_that_cannot_be_evaluated_flags_nothing(targets: TargetBench) -> None:
    answer(targets, "team-a Deployment/web")
    body = await frozen(targets)
    await targets.evaluate("2026-11-03")
    assert targets_annotations([parse_target(body)])
    targets.edit(body, baseline={"start": "2026-11-02T00:30:00Z", "end": "2026-11-03T00:00:00Z"})
    await targets.evaluate("2026-11-03T01:00")
    assert targets_annotations([parse_target(body)]) == {}


async def test_a_name_in_an_owner_reference_cannot_control_a_terminal(targets: TargetBench) -> None:
    answer(targets, "team-a Deployment/\x1b[2Jweb")
    body = await frozen(targets)
    assert "\x1b" not in body["status"]["topWorkloads"][0]["name"]
