"""The half year of docs/tutorials/20-percent-less-per-inference.md: behind, violated, on track, credited, achieved."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import unused_port
from tests.cli.test_server import settings
from tests.conftest import ENDS_WITH_US, ROOT, Cluster
from tests.e2e.conftest import wait_for
from tests.e2e.half_year import HalfYear, half_a_year
from tests.e2e.story import at
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli import gate, main
from carbonbudget_operator.kube.client import KubeClient

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

COMMAND = str(Path(sys.executable).with_name("carbonbudget"))
PAGE = ROOT / "docs" / "tutorials" / "20-percent-less-per-inference.md"
HEAD = """# 20 % less per inference in six months

A team serves a model and wants to emit 20 % less per million tokens within half a year. Commands and answers are real
ones, of a real API server with carbonbudget's resources; the clock, the nodes' reports and the counts of Prometheus are
simulated (AGE, of the real clock, is left out). `tests/apiserver/test_half_year.py` plays it, and fails if this page
differs. kubectl's context is of the namespace `team-a`.

What it needs: agents on the nodes, and a Prometheus that scrapes vLLM ([units](../units.md) says how the server finds
it, [23-units](../../examples/23-units) is an example). Here one pod serves 3 million tokens an hour by day and 1
million by night. The cluster stands in Germany, its PUE is 1.3, and the settings have a [price](../price.md) of 120 EUR
a tonne and 0.28 EUR a kWh.
"""
TARGET = """\
apiVersion: carbonbudget.dev/v1alpha1
kind: CarbonTarget
metadata:
  name: chat-tokens
spec:
  selector:
    matchLabels: {app: chat}
  unit:
    name: output tokens
    per: 1000000
    source: {preset: vLLMOutputTokens}
  window: Week
  timeZone: Europe/Berlin
  minimumUnits: 1000000
  baseline:
    start: 2027-02-28T23:00:00Z   # March, in Berlin
    end: 2027-03-31T22:00:00Z
  target:
    reduction: 20
    by: 2027-09-30T22:00:00Z      # six months
  tolerance: 5
"""
BUDGET = """\
apiVersion: carbonbudget.dev/v1alpha1
kind: CarbonBudget
metadata:
  name: experiments
spec:
  limit: 20kg
  period: Month
  timeZone: Europe/Berlin
  selector:
    matchLabels: {purpose: experiment}
  credits:
    - {target: chat-tokens, share: 50, cap: 25}
"""
TAIL = """
## What to do next

- [Gates in GitLab and GitHub](../gate.md), also for what a run or a new version of a model emitted.
- [Alerts](../runbooks/) tell when a target is behind, violated, or has no units.
- [The page](../page.md) and a [dashboard](../dashboards.md) show the path and the figures of each window.
- A cleaner grid lowers the figure too. `basis: Efficiency` compares at the baseline's grid
  ([targets](../targets.md#our-own-merit-basis)).
"""


@dataclass(frozen=True)
class Pipeline:
    """A job of the team's pipeline: where the server is, and its token."""

    year: HalfYear
    options: tuple[str, ...]

    async def gate(self, state: str, code: int) -> None:
        """Ask how the target stands, as soon as the server does not answer with the former status any more."""
        typed = ["gate", "--target", "team-a/chat-tokens"]
        asked = [*typed[:2], f"{self.year.namespace}/chat-tokens", *self.options]

        def answer() -> Result | None:
            done = CliRunner().invoke(main.app, asked)
            return done if state in done.output else None

        done = await asyncio.to_thread(wait_for, f"the state {state}", answer, 60)
        assert done.exit_code == code, done.output
        said = done.output.strip().replace(self.year.namespace, "team-a")
        line = f'$ carbonbudget {" ".join(typed)}; echo "exit code $?"'
        self.year.lines += ["```", line, said, f"exit code {code}", "```"]


@contextmanager
def a_pipeline(year: HalfYear, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """With a real server that reads the targets; the command has the story's clock."""
    monkeypatch.setattr(gate, "time", SimpleNamespace(time=year.clock))
    cluster, port = year.cluster, unused_port()
    file = settings(directory, port)
    token = cluster.kubectl("-n", year.namespace, "create", "token", "default", "--audience=carbonbudget-server")
    (directory / "token").write_text(token.stdout)
    rights = ("-n", year.namespace, "create")
    cluster.kubectl(*rights, "role", "gate", "--verb=get", "--resource=carbonbudgets.carbonbudget.dev")
    cluster.kubectl(*rights, "rolebinding", "gate", "--role=gate", f"--serviceaccount={year.namespace}:default")
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(
            (*ENDS_WITH_US, COMMAND, "server", "--config", str(file)), env=cluster.environment, stdout=log, stderr=log
        )
    try:
        yield Pipeline(year, (
            "--server-url", f"https://localhost:{port}", "--server-ca", str(directory / "ca.crt"),
            "--server-token-file", str(directory / "token"),
        ))  # fmt: skip
    finally:
        server.terminate()
        server.wait(30)


async def play(year: HalfYear, pipeline: Pipeline) -> None:
    """The story; each step asserts what it shows."""
    get = ("get", "carbontargets")

    def state() -> str:
        return year.cluster.kubectl(
            "-n", year.namespace, "get", "ct", "chat-tokens", "-o", "jsonpath={.status.state}"
        ).stdout

    await year.until(at(29, 9, month=3))
    year.say(
        "The team writes down where it wants to go. March is to be the baseline. The target is created before it is "
        "over: Prometheus is not asked for hours that are more than 30 days old."
    )
    year.kubectl("apply", "-f", year.file("target.yaml", TARGET))
    await year.evaluate()
    assert state() == "NoData"
    year.kubectl(*get)

    await year.until(at(1, month=4))
    year.joules_per_kilotoken = 228
    await year.until(at(8, 9, month=4))
    year.say("The baseline is known. A new release of vLLM on the 1st of April has already saved a little.")
    assert state() == "OnTrack"
    year.kubectl(*get)
    year.kubectl("get", "carbontarget", "chat-tokens", "-o", "jsonpath={.status.message}")

    await year.until(at(10, 9, month=5))
    assert state() == "Behind"
    year.say(
        "Five weeks later nothing has changed but the path: the figure is above it, within the tolerance of 5 %. The "
        "team's release pipeline asks how the target stands ([gates](../gate.md)): exit code 3, which it lets pass."
    )
    year.kubectl(*get)
    await pipeline.gate("Behind", 3)

    await year.until(at(1, 9, month=6))
    assert state() == "Violated"
    year.say(
        "In June it is more than 5 % above the path. No pod is refused; the condition, an Event and an alert say so, "
        "and the pipeline's step fails: the next release is not made."
    )
    year.kubectl("get", "carbontarget", "chat-tokens", "-o", "jsonpath={.status.message}")
    year.kubectl("get", "events", "-o", "custom-columns=TYPE:.type,REASON:.reason", "--sort-by=.reason")
    await pipeline.gate("Violated", 4)

    year.joules_per_kilotoken = 150
    await year.until(at(15, 9, month=6))
    assert state() == "OnTrack"
    year.say("The quantized version of the model went into use on the 1st. It draws less for each token.")
    year.kubectl(*get)
    await pipeline.gate("OnTrack", 0)
    year.say("The savings shall pay for experiments: half of them may raise that budget's limit, by 25 % at most.")
    year.kubectl("apply", "-f", year.file("experiments.yaml", BUDGET))

    await year.until(at(2, 9, month=7))
    year.say("In July the credit for June is there. The cap, 25 % of 20 kg, cuts the last week's off.")
    limits = "jsonpath={.spec.limit} {.status.effectiveLimit}"
    assert year.kubectl("get", "carbonbudget", "experiments", "-o", limits) == "20kg 25kg"
    amounts = year.kubectl(
        "get", "carbonbudget", "experiments", "-o",
        "jsonpath={range .status.adjustments[*]}{.reason} {.amount} {.source}{\"\\n\"}{end}",
    )  # fmt: skip
    assert amounts.count("Credit +") >= 2

    await year.until(at(16, month=8))
    year.joules_per_kilotoken = 90
    await year.until(at(1, 9, month=10))
    assert state() == "Achieved"
    year.say("Six months after the baseline. Speculative decoding, in use since the middle of August, did the rest.")
    year.kubectl(*get)
    year.kubectl("get", "carbontarget", "chat-tokens", "-o", "jsonpath={.status.message}")
    saved = year.kubectl(
        "get", "carbontarget", "chat-tokens", "-o",
        "jsonpath={range .status.history[*]}{.figure.start} {.figure.perUnit} {.state} {.savings.micrograms} "
        "{.savings.money}{\"\\n\"}{end}",
    )  # fmt: skip
    assert saved.count("EUR") == 12


async def test_half_a_year_goes_as_the_page_tells_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.kubectl("create", "namespace", "half-year")
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    client = KubeClient.from_environment()
    try:
        (tmp_path / "server").mkdir()
        async with half_a_year(cluster, "half-year", tmp_path / "ledger.db", client) as year:
            with a_pipeline(year, tmp_path / "server", monkeypatch) as pipeline:
                await play(year, pipeline)
    finally:
        await client.close()
        cluster.kubectl("delete", "namespace", "half-year", "--wait=false")
    told = HEAD + "\n".join(year.lines) + "\n" + TAIL
    if os.environ.get("CARBONBUDGET_WRITE_PAGES"):
        PAGE.write_text(told)
    assert told == PAGE.read_text(), "the page differs: CARBONBUDGET_WRITE_PAGES=1 writes it anew"
