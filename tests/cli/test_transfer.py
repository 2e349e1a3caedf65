"""`kubectl carbon transfer` against a small API server: what it writes, what it waits for, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.api_server import Asked, Said, api_server, status
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli import transfer as command
from carbonbudget_operator.cli.kubectl import app

ARGS = ("transfer", "5kg", "--from", "monthly", "--to", "team-b/weekly")
APPLIED = {"state": "Applied", "message": "5kg went from the limit of team-a/monthly to the limit of team-b/weekly"}
WAITS = {"message": "waits at most 5 minutes: CarbonBudget team-b/weekly has no figures yet"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_POLL_SECONDS", 0.01)


class Cluster:
    """Creates a transfer, and shows one status after another."""

    def __init__(self, *statuses: dict[str, str] | Said) -> None:
        self.statuses = list(statuses)
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Said:
        self.asked.append(asked)
        if asked.method == "POST":
            metadata = asked.body["metadata"] | {"name": f"{asked.body['metadata']['generateName']}x7k2p"}
            return Said(asked.body | {"metadata": metadata}, 201)
        one = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return one if isinstance(one, Said) else Said({"metadata": {"name": "monthly-x7k2p"}, "status": one})


def run(tmp_path: Path, answer: Callable[[Asked], Said], *args: str) -> Result:
    with api_server(answer, tmp_path, namespace="team-a") as path:
        return CliRunner().invoke(app, [*ARGS, *args, "--kubeconfig", str(path)])


def test_it_writes_the_object_waits_for_the_decision_and_prints_it(tmp_path: Path) -> None:
    cluster = Cluster({}, WAITS, WAITS, APPLIED)
    done = run(tmp_path, cluster, "--reason", "training moved")
    assert (done.exit_code, done.stdout) == (0, f"applied: {APPLIED['message']}\n")
    assert done.stderr.splitlines() == [
        "created carbontransfer team-a/monthly-x7k2p; waiting for its decision",
        WAITS["message"],
    ]
    made = cluster.asked[0]
    assert made.path == "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbontransfers"
    assert made.body["metadata"] == {"generateName": "monthly-", "namespace": "team-a"}
    assert made.body["spec"] == {
        "source": "monthly",
        "to": {"namespace": "team-b", "name": "weekly"},
        "amount": "5kg",
        "reason": "training moved",
    }


def test_without_a_namespace_the_receiver_is_in_the_same_one(tmp_path: Path) -> None:
    cluster = Cluster(APPLIED)
    run(tmp_path, cluster, "--to", "weekly", "-n", "team-c")
    assert cluster.asked[0].body["spec"]["to"] == {"namespace": "team-c", "name": "weekly"}
    assert cluster.asked[0].body["metadata"]["namespace"] == "team-c"


def test_a_refused_one_ends_with_1_and_the_reason(tmp_path: Path) -> None:
    said = "neither limit was changed: team-a/monthly has 1kg left in this period, which is less than 5kg"
    done = run(tmp_path, Cluster({"state": "Refused", "message": said}))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith(f"refused: {said}\n")


def test_one_that_is_not_decided_in_time_says_what_it_waits_for_and_where_to_look(tmp_path: Path) -> None:
    done = run(tmp_path, Cluster(WAITS), "--wait", "1s")
    assert done.exit_code == 1
    assert f"not decided within 1s ({WAITS['message']}): it still may be." in done.stderr
    assert "`kubectl -n team-a get carbontransfer monthly-x7k2p`" in done.stderr


def test_a_moments_failure_while_it_waits_is_no_end(tmp_path: Path) -> None:
    done = run(tmp_path, Cluster(status(503, "ServiceUnavailable", "not now"), APPLIED))
    assert (done.exit_code, done.stdout) == (0, f"applied: {APPLIED['message']}\n")


def test_one_that_is_deleted_meanwhile_is_reported(tmp_path: Path) -> None:
    done = run(tmp_path, Cluster(status(404, "NotFound", "not found")))
    assert done.exit_code == 1
    assert "carbontransfer team-a/monthly-x7k2p was deleted before it was decided" in done.stderr


def test_a_missing_right_is_said_as_the_policy_says_it(tmp_path: Path) -> None:
    policy = "a transfer needs the verb update on both budgets, and you may not update carbonbudgets/weekly"
    done = run(tmp_path, lambda _: status(403, "Forbidden", policy))
    assert (done.exit_code, done.output) == (1, f"not created, a right is missing: {policy}\n")


def test_a_dry_run_creates_nothing_and_waits_for_nothing(tmp_path: Path) -> None:
    cluster = Cluster(APPLIED)
    done = run(tmp_path, cluster, "--dry-run")
    assert done.output == (
        "5kg from team-a/monthly to team-b/weekly: names and rights are in order; nothing was created\n"
    )
    asked = [("dryRun=All" in asked.query, asked.method) for asked in cluster.asked]
    assert asked == [(True, "POST"), (False, "GET"), (False, "GET")]


@pytest.mark.parametrize("missing", ["team-a/carbonbudgets/monthly", "team-b/carbonbudgets/weekly"])
def test_a_dry_run_names_a_budget_that_does_not_exist(tmp_path: Path, missing: str) -> None:
    def answer(asked: Asked) -> Said:
        return status(404, "NotFound", "not found") if asked.path.endswith(missing) else Cluster(APPLIED)(asked)

    done = run(tmp_path, answer, "--dry-run")
    namespace, _, name = missing.split("/")
    assert (done.exit_code, done.output) == (1, f"there is no CarbonBudget {namespace}/{name}\n")


def test_a_dry_run_of_someone_who_may_not_get_budgets_goes_by_the_rights_alone(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Said:
        return status(403, "Forbidden", "no") if asked.method == "GET" else Cluster(APPLIED)(asked)

    assert run(tmp_path, answer, "--dry-run").exit_code == 0


def test_with_wait_0s_it_returns_at_once(tmp_path: Path) -> None:
    cluster = Cluster(APPLIED)
    done = run(tmp_path, cluster, "--wait", "0s")
    assert done.output == "created carbontransfer team-a/monthly-x7k2p; not waited for its decision\n"
    assert len(cluster.asked) == 1


@pytest.mark.parametrize(("state", "code"), [("Applied", 0), ("Refused", 1)])
def test_json_has_the_name_and_the_decision(tmp_path: Path, state: str, code: int) -> None:
    done = run(tmp_path, Cluster({"state": state, "message": "m"}), "-o", "json")
    assert done.exit_code == code
    assert json.loads(done.stdout) == {
        "namespace": "team-a", "name": "monthly-x7k2p", "state": state, "message": "m",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["5"], "the amount '5' must be a number with a unit"),
        (["0kg"], "the amount must be more than zero"),
        (["9999999999t"], "has too many digits"),
        (["5kg", "--from", "A_"], "--from must be the name of a CarbonBudget"),
        (["5kg", "--reason", "a\nb"], "--reason must be one line"),
    ],
)
def test_what_is_wrong_in_every_cluster_is_said_without_credentials(args: list[str], said: str) -> None:
    nowhere = ["--kubeconfig", "/nonexistent"]
    done = CliRunner().invoke(app, ["transfer", "--from", "monthly", "--to", "weekly", *nowhere, *args])
    assert (done.exit_code, said in " ".join(done.output.split())) == (2, True), done.output
