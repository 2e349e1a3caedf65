"""A transfer from `kubectl carbon transfer` to its status, on a real API server: user, policy, controller's rights."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, Cluster
from tests.controller.transfer_world import KG, Ledger
from tests.e2e.conftest import CHART, budget, wait_for
from tests.examples.readme import EXAMPLES, shown_commands
from typer.testing import CliRunner, Result

from carbonbudget_operator.budgets.period import Calendar, Period, period_at, time_zone
from carbonbudget_operator.budgets.transfers import BudgetFigures
from carbonbudget_operator.cli.kubectl import app
from carbonbudget_operator.controller.transfer_loop import TransferLoop
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE, ACCOUNT, USER = "decided", "carbonbudget-controller", "ada"
NAMES = ("carbonbudget-transfers", "carbonbudget-transfer-status", "carbonbudget-editor")


class Decided:
    """A controller that runs, with budgets `a` (6 of 10 kg left) and `b`, and the user who may update both."""

    def __init__(self, cluster: Cluster, credentials: Credentials, period: Period) -> None:
        self.cluster, self.ledger = cluster, Ledger()
        self._credentials, self.period = credentials, period
        self.figures = {
            f"{SPACE}/a": BudgetFigures(period, 10 * KG, 4 * KG),
            f"{SPACE}/b": BudgetFigures(period, 10 * KG, 10 * KG),
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        client = KubeClient.connect(self._credentials)
        loop = TransferLoop(client, self.ledger, lambda: self.figures)
        tasks = [asyncio.create_task(loop.run()), asyncio.create_task(loop.transfers.follow(client))]
        await asyncio.to_thread(self._stop.wait)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await client.close()

    def __enter__(self) -> Decided:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def read(self, *what: str) -> Any:
        """What kubectl gets."""
        return self.cluster.get("-n", SPACE, *what)

    def transfer(self, *args: str, user: str = USER) -> Result:
        config = str(self.cluster.kubeconfig)
        whole = ["transfer", *args, "-n", SPACE, "--kubeconfig", config, "--as", user]
        return CliRunner().invoke(app, whole)


@pytest.fixture(scope="module")
def decided(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    kubectl = cluster.kubectl
    made = []
    kubectl("create", "namespace", SPACE)
    try:
        rendered = cluster.run(
            "helm", "template", "carbonbudget", CHART, "-n", SPACE, "--kube-version", "1.34",
            *(f"--show-only=templates/{name}.yaml" for name in ("rbac", "controller", "transfer-policy")),
            "--set", "certificates.mode=Provided",
        ).stdout  # fmt: skip
        for document in yaml.safe_load_all(rendered):
            name = document["metadata"]["name"]
            if (name in NAMES or name.startswith(ACCOUNT)) and document["kind"] != "Deployment":
                made.append((document["kind"], name))
                kubectl("apply", "-f", "-", stdin=json.dumps(document))
        kubectl("-n", SPACE, "create", "rolebinding", USER, "--clusterrole=carbonbudget-editor", f"--user={USER}")
        for name in "ab":
            kubectl("apply", "-f", "-", stdin=json.dumps(budget(SPACE, name, limit="10kg", period="Month")))
        token = kubectl("-n", SPACE, "create", "token", ACCOUNT).stdout.strip()
        config = json.loads(kubectl("config", "view", "--raw", "-o", "json").stdout)["clusters"][0]["cluster"]
        ca = Path(tmp_path_factory.mktemp("decided")) / "ca.crt"
        ca.write_bytes(base64.b64decode(config["certificate-authority-data"]))
        body: Any = cluster.get("-n", SPACE, "carbonbudget", "a")
        created = body["metadata"]["creationTimestamp"]
        now = int(dt.datetime.fromisoformat(created).timestamp())
        period = period_at(Calendar.MONTH, time_zone("UTC"), now)
        with Decided(cluster, Credentials(config["server"], lambda: token, str(ca)), period) as running:
            elsewhere = ("1kg", "--from", "a", "--to", "elsewhere/b", "--dry-run")
            wait_for("the policy", lambda: "may not update" in running.transfer(*elsewhere).output, 30)
            yield running
    finally:
        for kind, name in made:
            kubectl("-n", SPACE, "delete", kind, name, "--ignore-not-found")
        kubectl("delete", "namespace", SPACE, "--wait=false")


def test_a_transfer_is_applied_and_the_object_and_its_events_show_it(decided: Decided) -> None:
    done = decided.transfer("5kg", "--from", "a", "--to", f"{SPACE}/b", "--reason", "training moved", "--wait", "60s")
    applied = f"applied: 5kg went from the limit of {SPACE}/a to the limit of {SPACE}/b\n"
    assert (done.exit_code, done.stdout) == (0, applied)
    assert (decided.ledger.change(f"{SPACE}/a"), decided.ledger.change(f"{SPACE}/b")) == (-5 * KG, 5 * KG)
    (made,) = decided.read("carbontransfers")["items"]
    assert made["status"]["state"] == "Applied"
    assert made["spec"]["reason"] == "training moved"
    table = decided.cluster.kubectl("-n", SPACE, "get", "ctr").stdout.splitlines()
    assert table[0].split() == ["NAME", "FROM", "TO", "NAMESPACE", "TO", "AMOUNT", "STATE", "AGE"]
    assert table[1].split()[1:6] == ["a", SPACE, "b", "5kg", "Applied"]

    def reasons() -> set[tuple[str, str]]:
        events = decided.read("events")["items"]
        return {(event["involvedObject"]["kind"], event["reason"]) for event in events}

    expected = {("CarbonTransfer", "TransferApplied"), ("CarbonBudget", "TransferApplied")}
    wait_for("the events", lambda: expected <= reasons(), 30)


def test_more_than_is_left_is_refused_with_what_is_left(decided: Decided) -> None:
    done = decided.transfer("7kg", "--from", "a", "--to", "b", "--wait", "60s")
    assert done.exit_code == 1
    assert "refused: neither limit was changed: decided/a has " in done.stderr
    assert "which is less than 7kg" in done.stderr


def test_a_dry_run_says_that_names_and_rights_are_in_order_and_creates_nothing(decided: Decided) -> None:
    before = len(decided.read("carbontransfers")["items"])
    done = decided.transfer("1kg", "--from", "a", "--to", "b", "--dry-run")
    assert done.output == "1kg from decided/a to decided/b: names and rights are in order; nothing was created\n"
    assert len(decided.read("carbontransfers")["items"]) == before


def test_a_missing_right_on_the_other_side_is_one_sentence(decided: Decided) -> None:
    done = decided.transfer("1kg", "--from", "a", "--to", "elsewhere/b")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "not created, a right is missing:" in done.stderr
    assert "you may not update carbonbudgets/b in namespace elsewhere" in done.stderr


def _words(text: str) -> list[str]:
    """The words of an output. What the API server generates in names, and ages, are the same for all."""
    text = re.sub(r"training-[a-z0-9]{5}", "training-NAME", text)
    return re.sub(r"(?<=\s)\d+m?s(?=\s*$)", "AGE", text.strip(), flags=re.MULTILINE).split()


def test_the_commands_of_the_example_print_what_it_shows(decided: Decided) -> None:
    decided.figures |= {
        f"{SPACE}/training": BudgetFigures(decided.period, 20 * KG, 4 * KG),
        f"{SPACE}/serving": BudgetFigures(decided.period, 10 * KG, 10 * KG),
    }
    decided.cluster.kubectl("-n", SPACE, "delete", "carbontransfers", "--all")
    for command in shown_commands(EXAMPLES / "27-transfer" / "README.md"):
        program, *args = shlex.split(command.line)
        assert program == "kubectl"
        if args[0] == "carbon":
            done = decided.transfer(*(word for word in args[2:] if word not in ("-n", "team-a")))
            printed = done.stderr + done.stdout  # in the order of a terminal
        else:
            args = [str(ROOT / word) if word.startswith("examples/") else word for word in args]
            ran = decided.cluster.kubectl("-n", SPACE, *args)
            printed = ran.stdout + ran.stderr
        shown, found = _words(command.output), _words(printed.replace(SPACE, "team-a"))
        if args[0] == "get":  # in the order of generated names
            shown, found = sorted(shown), sorted(found)
        assert found == shown, command.line
