"""Who a run in a tracker is: the pod, by its own token. Outside of a pod nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.trackers.conftest import pod_token

from carbonbudget.mlflow import RunContext
from carbonbudget.tracker_identity import tracker_identity

pytestmark = pytest.mark.usefixtures("nothing_recorded")


def test_the_pods_own_token_says_who_it_is_whatever_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(pod_token())
    environment = {"CARBONBUDGET_TOKEN_FILE": str(tmp_path / "token"), "CARBONBUDGET_NAMESPACE": "team-b"}
    found = tracker_identity({**environment, "CARBONBUDGET_RUN": "exp-42", "CARBONBUDGET_JOB": "train"})
    assert found == {
        "namespace": "team-a", "pod": "train-0", "pod_uid": "1111-2222", "run": "exp-42", "job": "train",
    }  # fmt: skip
    assert tracker_identity({**environment, "CARBONBUDGET_DISABLED": "1"}) == {}


@pytest.mark.parametrize("text", ["", "a.b.c", "e30.e30.e30", "\xff", pod_token(pod=None), pod_token(namespace=7)])
def test_a_token_that_cannot_be_read_gives_no_identity(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_bytes(text.encode("latin-1"))
    assert tracker_identity({"CARBONBUDGET_TOKEN_FILE": str(tmp_path / "token")}) == {}


def test_outside_a_pod_mlflow_gets_no_tags() -> None:
    assert RunContext().in_context() is False
    assert RunContext().tags() == {}
