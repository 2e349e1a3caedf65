"""A label of a run or a model that counts for no pod is said to whoever creates the work, budget or none."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.admission.given import NOW, Bench, a_budget, a_review, an_object
from tests.admission.test_process import Process

from carbonbudget_operator.admission.admission_decision import MAX_LENGTH, AdmissionDecision, Mode
from carbonbudget_operator.admission.review_parser import parse_review
from carbonbudget_operator.cli.dry_run_answer import CheckVerdict, interpret_answer
from carbonbudget_operator.kube.client import ApiResponse
from carbonbudget_operator.run_labels import MODEL, RUN, STAGE, STAGES

OWN = {RUN: "exp-1", MODEL: "chat"}


def decided(bench: Bench, kind: str, own: dict[str, str], pods: dict[str, str], **more: object) -> AdmissionDecision:
    metadata = {"labels": own} | more
    found = an_object(kind, pods, metadata=metadata)
    review = parse_review(a_review(kind, found))
    return bench.handler.with_label_warnings(review, bench.handler.decide(review, NOW))


async def test_the_webhook_answers_with_the_warning() -> None:
    review = a_review("Job", an_object("Job", {}, metadata={"labels": OWN}))
    async with TestClient(TestServer(Process(Bench()).app)) as client:
        answer = await (await client.post("/validate", json=review)).json()
    (warning,) = answer["response"]["warnings"]
    assert warning.startswith("label carbonbudget.dev/run (and model) is on the Job alone")


@pytest.mark.parametrize("budgets", [[], [a_budget(state="WithinBudget")]])
def test_a_label_on_the_job_alone_is_warned_of_with_the_place_where_it_counts(budgets: list[dict[str, object]]) -> None:
    decision = decided(Bench(*budgets), "Job", OWN, {"app": "x"})
    assert decision.warnings == [
        "label carbonbudget.dev/run (and model) is on the Job alone and counts for no pod: "
        "write it to spec.template.metadata.labels"
    ]
    assert decision.outcome == "warned"


def test_a_label_on_the_template_is_right_and_wins_without_a_word() -> None:
    bench = Bench()
    assert decided(bench, "Job", OWN, OWN).warnings == ()
    assert decided(bench, "Job", {RUN: "job-says"}, {RUN: "template-says"}).warnings == ()
    assert decided(bench, "Job", {}, OWN).warnings == ()
    assert decided(bench, "Pod", {}, OWN).warnings == ()
    (said,) = decided(bench, "Job", OWN, {RUN: "exp-1"}).warnings
    assert said.startswith("label carbonbudget.dev/model is on the Job alone")


def test_kinds_of_the_settings_are_named_with_the_path_of_their_template() -> None:
    (said,) = decided(Bench(), "TrainJob", {RUN: "x"}, {}).warnings
    assert said.endswith("write it to spec.worker.template.metadata.labels")
    assert decided(Bench(), "Deployment", {MODEL: "x"}, {}).warnings != ()


def test_an_unknown_stage_is_named_with_those_that_there_are() -> None:
    (said,) = decided(Bench(), "Job", {}, {STAGE: "train\u202e" + "x" * 500}).warnings
    assert said.endswith("is no stage; the stages are " + ", ".join(STAGES))
    assert "\u202e" not in said
    assert len(said) <= MAX_LENGTH
    for stage in STAGES:
        assert decided(Bench(), "Job", {}, {STAGE: stage}).warnings == ()


def test_nobody_is_told_of_what_a_controller_makes_nor_in_mode_observe_nor_beside_a_refusal() -> None:
    owner = [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "n", "uid": "u", "controller": True}]
    assert decided(Bench(), "Job", OWN, {}, ownerReferences=owner).warnings == ()
    observing: Mode = "Observe"
    assert decided(Bench(mode=observing), "Job", OWN, {}).warnings == ()
    refused = decided(Bench(a_budget(until=NOW + 3600)), "Job", OWN, {})
    assert refused.refusal
    assert refused.warnings == ()


def test_it_comes_after_the_sentences_of_budgets() -> None:
    said = decided(Bench(a_budget()), "Job", OWN, {}).warnings
    assert [sentence.split()[0] for sentence in said] == ["carbon", "label"]


def test_check_counts_it_as_a_warning_of_ours() -> None:
    (said,) = decided(Bench(), "Job", OWN, {}).warnings
    answer = ApiResponse(201, "Created", (f'299 - "{said}"',), '{"kind": "Job"}')
    outcome = interpret_answer(answer, "Job")
    assert (outcome.verdict, outcome.carbon, outcome.other) == (CheckVerdict.WARNED, (said,), ())
