"""The month of docs/a-teams-month.md: warned, forecast, refused, suspended, raised, resumed, and begun anew."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.e2e.conftest import Release, wait_for
from tests.e2e.month import Month, a_month
from tests.e2e.story import at

from carbonbudget_operator.kube.client import KubeClient

pytestmark = pytest.mark.cluster

PAGE = ROOT / "docs" / "a-teams-month.md"
HEAD = """# A team's month

What a budget does over a month, from its first use to warning, refusal, suspension, a raised limit and the next month.
Commands and answers are real ones, of a real API server with the policies of the chart; the clock and the nodes'
reports are simulated (AGE, of the real clock, is left out). `tests/e2e/test_month.py` plays it, and fails if this page
differs. kubectl's context is of the namespace `team-a`.

The team's namespace runs an API of 4 to 10 W. From the 8th on it trains a model at 160 W. The cluster stands in
Germany; its PUE is 1.3.
"""
BUDGET = """\
apiVersion: carbonbudget.dev/v1alpha1
kind: CarbonBudget
metadata:
  name: monthly
spec:
  limit: 20kg
  period: Month
  timeZone: Europe/Berlin
  contact: "#team-a"
"""
TRAIN = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: train
  labels:
    carbonbudget.dev/suspendable: "true"   # it starts from its last checkpoint
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: train
          image: registry.example/team-a/train:1
          resources: {requests: {cpu: "8"}}
"""
EVAL = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: eval
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: eval
          image: registry.example/team-a/eval:1
          resources: {requests: {cpu: "2"}}
"""
ACTING = [{"at": 80, "action": "Warn"}, {"at": 100, "action": "Block"}, {"at": 110, "action": "Suspend"}]
COLUMNS = "custom-columns=NAME:.metadata.name,SUSPENDED:.spec.suspend"
BY = ",BY:.metadata.annotations.carbonbudget\\.dev/suspended-by"


async def play(month: Month, release: Release) -> None:
    """The story; each step asserts what it shows."""
    get = ("get", "carbonbudgets")
    month.say("A budget that only warns, with a guessed limit.")
    month.kubectl("apply", "-f", month.file("budget.yaml", BUDGET))
    await month.until(at(2, 9))
    assert " WithinBudget" in month.kubectl(*get)

    await month.until(at(8, 9))
    month.say("Now it acts: it refuses at 100 % and suspends at 110 %. A training Job begins that has checkpoints.")
    patch = json.dumps({"spec": {"thresholds": ACTING}})
    month.kubectl("patch", "carbonbudget", "monthly", "--type=merge", "-p", patch)
    month.kubectl("create", "-f", month.file("train.yaml", TRAIN))
    month.training = "train"

    await month.until_status(state="Warning")
    assert "exhaustedAt" in month.status
    month.say("The forecast is over the limit: a warning, long before anything is used up.")
    month.kubectl(*get)
    fields = "{.status.forecast} {.status.exhaustedAt} {.status.breakdown}"
    month.kubectl("get", "carbonbudget", "monthly", "-o", f"jsonpath={fields}")

    await month.until_status(action="Warn")
    month.say(
        "80 % are used. Whoever creates a Job reads this as a warning (of the webhook, which has the real clock)."
    )
    said = month.kubectl("get", "carbonbudget", "monthly", "-o", "jsonpath={.status.message}")
    assert said.startswith("carbon budget monthly: used 16")

    await month.until_status(state="Exceeded")
    month.say("The limit is used up. New work is refused; what runs goes on.")
    wait_for("the policy to follow", lambda: "denied" in dry_run(release, month, EVAL))
    said = month.kubectl("create", "-f", month.file("eval.yaml", EVAL))
    assert "ValidatingAdmissionPolicy 'carbonbudget'" in said
    assert suspended(release, month) == "false"

    await month.until_status(action="Suspend")
    month.say("110 %. The running Job said that it can resume, so it is suspended after half an hour's grace.")
    month.kubectl(*get)
    month.clock.now += 1860
    await month.evaluate()
    month.clock.now -= 1860  # the next report is of a whole hour again
    assert suspended(release, month) == "true"
    month.kubectl("get", "job", "train", "-o", COLUMNS + BY)
    month.training = ""

    await month.until(at(24, 9))
    month.say("The team and the platform agree on 30 kg for March. The Job resumes within minutes.")
    month.kubectl("patch", "carbonbudget", "monthly", "--type=merge", "-p", '{"spec":{"limit":"30kg"}}')
    await month.hour()
    await month.hour()
    assert suspended(release, month) == "false"
    month.kubectl("get", "job", "train", "-o", COLUMNS)
    month.kubectl(*get)
    month.training = "train"
    await month.until(at(26, 9))
    month.training = ""

    await month.until(at(1, 1, month=4))
    month.say("A new month begins at local midnight, an hour short of a full one: clocks went forward on the 28th.")
    month.kubectl(*get)
    month.kubectl("get", "carbonbudget", "monthly", "-o", "jsonpath={.status.history}")
    history = month.status["history"]
    assert isinstance(history, list)
    assert (history[0]["start"], history[0]["end"]) == ("2027-02-28T23:00:00Z", "2027-03-31T22:00:00Z")


def dry_run(release: Release, month: Month, manifest: str) -> str:
    create = ("-n", month.namespace, "create", "--dry-run=server", "-f", "-")
    return release.cluster.kubectl(*create, stdin=manifest, check=False).stderr


def suspended(release: Release, month: Month) -> str:
    get = ("-n", month.namespace, "get", "job", "train", "-o", "jsonpath={.spec.suspend}")
    return release.cluster.kubectl(*get).stdout


async def test_a_teams_month_goes_as_the_page_tells_it(
    release: Release, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.scale(0, "carbonbudget-controller", "carbonbudget-server")
    monkeypatch.setenv("KUBECONFIG", str(release.be_the_controller(tmp_path)))
    client = KubeClient.from_environment()
    try:
        async with a_month(release.cluster, namespace, tmp_path / "ledger.db", client) as month:
            await play(month, release)
    finally:
        await client.close()
        await asyncio.to_thread(release.scale, None)
    told = HEAD + "\n".join(month.lines) + "\n"
    if os.environ.get("CARBONBUDGET_WRITE_PAGES"):
        PAGE.write_text(told)
    assert told == PAGE.read_text(), "the page differs: CARBONBUDGET_WRITE_PAGES=1 writes it anew"
