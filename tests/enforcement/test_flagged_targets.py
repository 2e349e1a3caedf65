"""Which targets a workload is annotated with, and in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.enforcement.worlds import NOW, Body, target_body

from carbonbudget_operator.enforcement.flagged_targets import (
    FlaggingTarget,
    parse_target,
    targets_annotations,
    workloads_flagged_since,
)
from carbonbudget_operator.enforcement.workload_annotations import WorkloadKey, workload_annotations

WEB = WorkloadKey("team-a", "Deployment", "web")
STATES = ("Violated", "Behind", "OnTrack", "Achieved", "NoData", "")
KEYS = tuple(
    WorkloadKey(namespace, kind, name)
    for namespace in ("team-a", "team-b")
    for kind in ("Deployment", "Job", "CronJob")
    for name in ("web", "api")
)

names = st.text(alphabet="abc-.", min_size=1, max_size=317)
targets_of = st.lists(
    st.builds(
        FlaggingTarget,
        names,
        st.sampled_from(STATES),
        st.lists(st.sampled_from(KEYS), max_size=10).map(tuple),
        st.integers(min_value=0, max_value=9),
    ),
    max_size=12,
)


def told(*bodies: Body) -> dict[WorkloadKey, str]:
    return targets_annotations(parse_target(body) for body in bodies)


@given(targets_of)
def test_a_workload_has_the_annotation_if_and_only_if_a_target_that_names_it_is_behind_or_violated(
    targets: list[FlaggingTarget],
) -> None:
    flagged = {key for one in targets if one.state in ("Behind", "Violated") for key in one.workloads}
    assert targets_annotations(targets).keys() == flagged
    made = workload_annotations([], targets_annotations(targets))
    assert {key for key, texts in made.items() if texts.patch()["carbonbudget.dev/targets"]} == flagged


@given(targets_of)
def test_the_text_is_bounded_names_the_worst_first_and_counts_the_others(targets: list[FlaggingTarget]) -> None:
    for key, text in targets_annotations(targets).items():
        its = [one for one in targets if one.flags and key in one.workloads]
        parts = text.split(", ")
        shown = [part for part in parts if not part.endswith(" more")]
        more = int(parts[-1].removesuffix(" more")) if len(parts) > len(shown) else 0
        assert len(text) <= 280  # of a Job's annotation 300 characters are stored
        assert 1 <= len(shown) <= 5
        assert len(shown) + more == len(its)
        states = [part.rsplit(" ", 1)[1] for part in shown]
        worst = sorted((one.state for one in its), reverse=True)  # Violated, then Behind
        assert states == worst[: len(states)]


@given(targets_of)
def test_the_text_does_not_depend_on_the_order_of_the_targets(targets: list[FlaggingTarget]) -> None:
    assert targets_annotations(targets) == targets_annotations(reversed(targets))


def test_several_targets_are_listed_the_violated_first_and_after_five_they_are_counted() -> None:
    behind = [target_body(f"t{n}", state="Behind") for n in range(6)]
    cluster = target_body("all", "", workloads=["Deployment/web@team-a"])
    assert told(target_body()) == {WEB: "team-a/chat Violated"}
    assert told(*behind[:2], cluster) == {WEB: "all Violated, team-a/t0 Behind, team-a/t1 Behind"}
    assert told(*behind, cluster)[WEB] == (
        "all Violated, team-a/t0 Behind, team-a/t1 Behind, team-a/t2 Behind, team-a/t3 Behind, 2 more"
    )


def test_a_long_name_is_cut_and_is_shown_all_the_same() -> None:
    assert told(target_body("y" * 253)) == {WEB: f"team-a/{'y' * 193}... Violated"}
    both = told(target_body("x" * 253), target_body("y" * 253))
    assert both == {WEB: f"team-a/{'x' * 193}... Violated, 1 more"}


def test_a_namespaces_own_target_flags_in_its_namespace_alone() -> None:
    assert told(target_body(workloads=["Deployment/web@team-b"])) == {WEB: "team-a/chat Violated"}


def test_workloads_of_other_kinds_are_not_written_to() -> None:
    assert told(target_body(workloads=["RayJob/web", "Pod/web", "ReplicaSet/web", "/web", "web"])) == {}


@pytest.mark.parametrize(
    "status",
    [
        None, "x", {"state": 7, "topWorkloads": [{"kind": "Deployment", "name": "web"}]}, {"state": "Violated"},
        {"state": "Violated", "topWorkloads": {"kind": "Deployment"}}, {"state": "Violated", "topWorkloads": ["x", 7]},
        {"state": "Violated", "topWorkloads": [{"kind": ["Deployment"], "name": {"a": 1}}], "conditions": "x"},
    ],
)  # fmt: skip
def test_a_status_that_cannot_be_read_flags_nothing(status: object) -> None:
    assert told({"metadata": {"name": "chat", "namespace": "team-a"}, "status": status}) == {}


def test_after_a_restart_the_workloads_of_targets_that_got_better_lately_are_looked_at() -> None:
    def since(**more: object) -> set[WorkloadKey]:
        return workloads_flagged_since([parse_target(target_body(**more))], NOW - 10)  # type: ignore[arg-type] # as it is

    assert since(changed=NOW - 1000) == {WEB}  # it flags now
    assert since(state="OnTrack", changed=NOW - 10) == {WEB}
    assert since(state="OnTrack", changed=NOW - 11) == set()
