"""`carbonbudget gate --target` with a kubeconfig or a read token: who gets a ClusterCarbonTarget's figure.

Real commands, a real API server with the chart's accounts and roles, its proxy, and a real server. The target's status
is written by hand.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.apiserver.test_reports_from_outside import COMMAND, SPACE, Outside, bind, settled
from tests.apiserver.test_reports_from_outside import nobody as nobody
from tests.apiserver.test_reports_from_outside import outside as outside
from tests.conftest import Cluster
from tests.e2e.conftest import wait_for
from tests.server.target_objects import a_target, a_target_status

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

FLEET = ("gate", "--target", "fleet")


@pytest.fixture(scope="module")
def fleet(cluster: Cluster, outside: Outside) -> Iterator[None]:
    """A ClusterCarbonTarget that is on its way."""
    hour = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0).isoformat()
    status = a_target_status(
        state="OnTrack", dataThrough=hour,
        expectedNow={"perUnit": "45g", "perUnitMicrograms": 45_000_000, "reduction": "10.0"},
    )  # fmt: skip
    for condition in status["conditions"]:
        condition.setdefault("lastTransitionTime", hour)
    target = a_target("", "fleet", status=status)
    target |= {"apiVersion": "carbonbudget.dev/v1alpha1", "kind": "ClusterCarbonTarget"}
    target["metadata"] = {"name": "fleet"}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(target))
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "clustercarbontarget", "fleet", "--subresource=status", "--type=merge", "-p", patch)
    yield
    cluster.kubectl("delete", "clustercarbontarget", "fleet")


def passed(done: subprocess.CompletedProcess[str]) -> str | None:
    if done.returncode:
        done = subprocess.CompletedProcess(done.args, done.returncode, "", done.stdout)  # a gate prints all on stdout
    return settled(done)


@pytest.mark.usefixtures("fleet")
def test_with_the_role_for_reports_a_person_gets_the_figure_and_without_it_the_roles_name(
    cluster: Cluster, outside: Outside, nobody: Path
) -> None:
    done = outside.run(nobody, *FLEET)
    assert (done.returncode, done.stdout.count("\n")) == (5, 1), done
    assert "the right to create serviceaccounts/token is missing, role carbonbudget-reports in" in done.stdout
    bind(cluster, "carbonbudget-reports", f"--serviceaccount={SPACE}:lead")
    said = wait_for("the right", lambda: passed(outside.run(nobody, *FLEET)), 60)
    assert said == "passed: target fleet is OnTrack: 42.5g per 1,000,000 tokens, and 45g are expected by now\n"
    missing = outside.run(nobody, "gate", "--target", "never")
    sentence = "there is no ClusterCarbonTarget never; one of a namespace is NAMESPACE/never"
    assert (missing.returncode, missing.stdout) == (5, f"unanswerable: {sentence}\n")


@pytest.mark.usefixtures("fleet")
def test_an_account_of_ones_own_is_told_which_right_it_lacks(cluster: Cluster, outside: Outside, nobody: Path) -> None:
    own = (*FLEET, "--service-account", f"{SPACE}/lead")
    bind(cluster, "carbonbudget-api", f"--serviceaccount={SPACE}:lead")
    right = ("--verb=create", "--resource=serviceaccounts/token", "--resource-name=lead")
    cluster.kubectl("-n", SPACE, "create", "role", "own-token", *right)
    cluster.kubectl(
        "-n", SPACE, "create", "rolebinding", "own-token", "--role=own-token", f"--serviceaccount={SPACE}:lead"
    )
    account = f"system:serviceaccount:{SPACE}:lead"
    sentence = f"ClusterCarbonTarget fleet is not shown: {account} may not get clustercarbonbudgets"
    wait_for("the rights", lambda: sentence in outside.run(nobody, *own).stdout, 60)
    hidden = outside.run(nobody, "gate", "--target", "never", "--service-account", f"{SPACE}/lead").stdout
    assert hidden == f"unanswerable: {sentence}\n".replace("fleet", "never")  # whether there is one is not told


@pytest.mark.usefixtures("fleet")
def test_a_read_token_for_all_namespaces_gets_the_figure_and_one_for_a_namespace_the_reason(
    cluster: Cluster, outside: Outside, nobody: Path
) -> None:
    """By the documented way: the role carbonbudget-sharing, and the server's URL."""
    bind(cluster, "carbonbudget-sharing", f"--serviceaccount={SPACE}:lead")
    listen = yaml.safe_load((outside.directory / "config.yaml").read_text())["server"]["listen"]
    for namespaces, code, sentence in (
        ("*", 0, "passed: target fleet is OnTrack"),
        ("team-a", 5, "ClusterCarbonTarget fleet is not shown: the read token is not for all namespaces"),
    ):
        wanted = ("token", "create", "--namespaces", namespaces, "--expires", "1d")
        made = wait_for("the binding", lambda wanted=wanted: settled(outside.run(nobody, *wanted)), 60)
        (outside.directory / "read-token").write_text(made)
        url = ("--server-url", f"https://localhost:{listen.rpartition(':')[2]}")
        files = ("--server-ca", str(outside.directory / "ca.crt"))
        token = ("--server-token-file", str(outside.directory / "read-token"))
        done = subprocess.run((COMMAND, *FLEET, *url, *files, *token), capture_output=True, text=True, check=False)
        assert (done.returncode, sentence in done.stdout) == (code, True), done
