"""Targets that are behind or violated on workloads that run: what the loop writes when, and to which objects."""

from __future__ import annotations

import pytest
from tests.enforcement.loop_bench import JOBS, Bench, annotations
from tests.enforcement.worlds import HOUR, NOW, Body, budget_body, finished, target_body

WEB = "/apis/apps/v1/namespaces/team-a/deployments/web"
TARGETS = "carbonbudget.dev/targets"


async def written(bench: Bench) -> dict[str, str | None]:
    """The annotation `targets` of each object that one round writes to."""
    return {path: patch["metadata"]["annotations"][TARGETS] for path, patch in await bench.annotate()}


@pytest.mark.parametrize("better", ["OnTrack", "Achieved", "NoData", "deleted"])
async def test_a_workload_is_annotated_while_a_target_is_behind_or_violated(bench: Bench, better: str) -> None:
    bench.targets = [target_body(state="Behind")]
    assert await written(bench) == {WEB: "team-a/chat Behind"}
    bench.time[0] += HOUR
    assert await written(bench) == {}, "it is right already"
    bench.targets = [target_body()]
    assert await written(bench) == {WEB: "team-a/chat Violated"}
    bench.time[0] += 599
    bench.targets = [target_body(state=better)] if better != "deleted" else []
    assert await written(bench) == {}, "a workload is written at most every ten minutes"
    bench.time[0] += 1
    assert await written(bench) == {WEB: None}
    bench.time[0] += HOUR
    assert await written(bench) == {}
    assert bench.remembered() == set()


async def test_a_workload_that_a_target_names_no_more_loses_the_annotation(bench: Bench) -> None:
    bench.targets = [target_body(workloads=["Deployment/web", "StatefulSet/db"])]
    assert len(await written(bench)) == 2
    bench.targets = [target_body(workloads=["StatefulSet/db"])]
    bench.time[0] += 600
    assert await written(bench) == {WEB: None}


async def test_budget_and_targets_are_written_together_and_each_is_removed_alone(bench: Bench) -> None:
    use = {"kind": "Deployment", "name": "web", "emissions": "1kg"}
    budget = budget_body(status={"state": "Warning", "topWorkloads": [use]})

    async def said() -> dict[str, Body]:
        bench.time[0] += 600
        return {path: patch["metadata"]["annotations"] for path, patch in await bench.annotate()}

    bench.world.budgets, bench.targets = [budget], [target_body()]
    both = (await said())[WEB]
    assert (both["carbonbudget.dev/state"], both[TARGETS]) == ("Warning", "team-a/chat Violated")
    bench.targets = []
    alone = (await said())[WEB]
    assert (alone["carbonbudget.dev/state"], alone[TARGETS]) == ("Warning", None)
    bench.world.budgets, bench.targets = [budget_body()], [target_body()]
    alone = (await said())[WEB]
    assert (alone["carbonbudget.dev/state"], alone[TARGETS]) == (None, "team-a/chat Violated")


async def test_a_running_job_is_written_if_its_annotation_differs_whoever_wrote_it(bench: Bench) -> None:
    bench.add(annotations={TARGETS: "team-a/chat Violated"})
    bench.add("forged", annotations={TARGETS: "none"})
    bench.targets = [target_body(workloads=["Job/train"])]
    assert await written(bench) == {f"{JOBS}forged": None}, "that of train is right, also after a restart"
    bench.world.jobs["train"]["metadata"]["annotations"][TARGETS] = ""
    assert await written(bench) == {f"{JOBS}train": "team-a/chat Violated"}


async def test_a_text_of_any_length_is_written_to_a_job_once(bench: Bench) -> None:
    """Of a Job's annotation 300 characters are stored: a longer one would look changed for ever."""
    bench.add()
    bench.targets = [target_body(f"{n}{'x' * 250}", state="Behind", workloads=["Job/train"]) for n in range(7)]
    assert list(await written(bench)) == [f"{JOBS}train"]
    bench.restart()
    bench.time[0] += HOUR
    assert await written(bench) == {}


async def test_a_finished_job_does_not_keep_a_state_that_nobody_follows(bench: Bench) -> None:
    done = finished(NOW - 30, NOW - HOUR)
    bench.add(labels={}, status=done, annotations={TARGETS: "team-a/chat Violated"})
    bench.targets = [target_body(workloads=["Job/train"])]
    assert await written(bench) == {f"{JOBS}train": None}
    assert TARGETS not in annotations(bench)
    assert annotations(bench)["carbonbudget.dev/emissions"] == "400g"


async def test_a_target_that_got_better_while_the_controller_restarted_is_taken_back(bench: Bench) -> None:
    bench.targets = [target_body()]
    await bench.annotate()
    bench.restart()
    bench.time[0] += 60
    bench.targets = [
        target_body(state="OnTrack", changed=NOW + 30),
        target_body("old", state="OnTrack", changed=NOW - 2 * HOUR, workloads=["Deployment/old"]),
    ]
    assert await written(bench) == {WEB: None}
    bench.time[0] += HOUR
    assert await written(bench) == {}, "once"


async def test_a_target_that_gets_better_before_its_workload_could_be_written_is_taken_back_too(bench: Bench) -> None:
    bench.world.unwritable, bench.targets = "web", [target_body()]
    assert await written(bench) == {}
    bench.targets, bench.world.unwritable = [target_body(state="OnTrack")], ""
    assert await written(bench) == {WEB: None}


async def test_nothing_is_written_where_budgets_write_nothing(bench: Bench) -> None:
    bench.namespaces["team-off"] = {"carbonbudget.dev/enforcement": "off"}
    bench.add("off", namespace="team-off", labels={}, annotations={TARGETS: "x"})
    everywhere = [f"Deployment/web@{name}" for name in ("kube-system", "team-off", "team-a")]
    bench.targets = [target_body("all", "", workloads=everywhere), target_body("own", "team-off")]
    assert await written(bench) == {WEB: "all Violated"}


async def test_until_the_watches_have_shown_all_targets_no_annotation_is_taken_away(bench: Bench) -> None:
    """Five windows long: a cluster without the kinds of targets has none, and budgets are written all the same."""
    bench.add(annotations={TARGETS: "team-a/chat Violated"})
    bench.add("done", labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.targets = None
    assert await written(bench) == {f"{JOBS}done": None}, "final figures do not wait"
    bench.time[0] += 299
    assert await written(bench) == {}
    bench.time[0] += 1
    assert await written(bench) == {f"{JOBS}train": None}
    bench.targets = [target_body(workloads=["Job/train"])]
    bench.time[0] += 600
    assert await written(bench) == {f"{JOBS}train": "team-a/chat Violated"}


FORGED = ("../../attack-c/deployments/victim", "web/scale", "..", "web%2Fscale", "", "Web", "a" * 254, "web\n")


@pytest.mark.parametrize("name", FORGED)
async def test_a_name_that_no_object_can_have_is_never_written_to(bench: Bench, name: str) -> None:
    """An owner's name in a pod's ownerReferences is free text."""
    bench.targets = [target_body(workloads=[f"Deployment/{name}", "Deployment/web"])]
    assert list(await written(bench)) == [WEB]
    assert bench.metric("failures_total") == 0


async def test_no_more_than_200_workloads_of_targets_are_written_in_a_window(bench: Bench) -> None:
    for n in range(25):
        bench.targets = bench.targets or []
        bench.targets.append(target_body(f"t{n}", workloads=[f"Deployment/d{n}-{m}" for m in range(10)]))
    first, second = await written(bench), await written(bench)
    assert (len(first), len(second)) == (200, 50)
    assert not first.keys() & second.keys()
