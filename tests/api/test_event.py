"""Events as the API server takes them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from carbonbudget_operator.api.kubernetes_event import MAX_MESSAGE, InvolvedObject, event_body

JOB = InvolvedObject("batch/v1", "Job", "train", "team-a", "u1")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def body_of(about: InvolvedObject, message: str = "why") -> dict[str, Any]:
    return event_body(about, "controller", "Warning", "BudgetExceeded", message, 1795460000)


def test_an_event_is_where_its_object_is_and_names_it() -> None:
    body = body_of(JOB)
    assert str(JOB.events_path) == "/api/v1/namespaces/team-a/events"
    assert body["metadata"]["namespace"] == "team-a"
    assert body["involvedObject"] == {
        "apiVersion": "batch/v1", "kind": "Job", "name": "train", "namespace": "team-a", "uid": "u1",
    }  # fmt: skip
    assert (body["type"], body["reason"], body["message"]) == ("Warning", "BudgetExceeded", "why")
    assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-11-23T18:53:20Z"


def test_who_tells_is_named_the_same_way_in_old_and_new_fields() -> None:
    body = body_of(JOB)
    assert body["source"] == {"component": "carbonbudget-controller"}
    assert body["reportingComponent"] == "carbonbudget.dev/controller"


def test_an_event_of_a_cluster_wide_object_is_in_the_default_namespace() -> None:
    about = InvolvedObject("carbonbudget.dev/v1alpha1", "ClusterCarbonBudget", "all", uid="c")
    assert str(about.events_path) == "/api/v1/namespaces/default/events"
    assert body_of(about)["metadata"]["namespace"] == "default"
    assert "namespace" not in body_of(about)["involvedObject"]


@pytest.mark.parametrize("name", ["a", "", "x" * 253, "x" * 199 + "-y", "x" * 198 + ".-" + "y" * 53, "a.b-c"])
def test_its_own_name_is_one_that_the_api_server_takes_whatever_the_objects_is(name: str) -> None:
    about = InvolvedObject("batch/v1", "Job", name, "team-a")
    made = body_of(about)["metadata"]["name"]
    assert _SUBDOMAIN.fullmatch(made), made
    assert len(made) <= 253
    assert made != body_of(about)["metadata"]["name"]


def test_an_object_that_is_not_made_yet_has_neither_name_nor_uid() -> None:
    assert body_of(InvolvedObject("batch/v1", "Job", "", "team-a"))["involvedObject"] == {
        "apiVersion": "batch/v1", "kind": "Job", "namespace": "team-a",
    }  # fmt: skip


def test_a_message_is_cut_where_the_api_server_would_refuse_it() -> None:
    assert len(body_of(JOB, "x" * 5000)["message"]) == MAX_MESSAGE


def test_what_somebody_else_wrote_is_printable_in_an_event() -> None:
    hostile = "\x1b[2Jw\n\u202e"
    body = body_of(InvolvedObject("batch/v1", "Job", hostile, "team-a"), f"refused: {hostile}")
    assert body["message"] == "refused: \\x1b[2Jw\\n\\u202e"
    assert body["involvedObject"]["name"] == "\\x1b[2Jw\\n\\u202e"
