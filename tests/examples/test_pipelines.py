"""The pipelines of examples/25-pipelines: bash runs their lines against a real server over TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from tests.conftest import ROOT
from tests.examples.readme import shown_commands
from tests.ledger.reports import a_report
from tests.server.server_face import AGENT
from tests.server.target_objects import a_target, a_target_status
from tests.server.test_spans_process import answered, free_port
from tests.serving import serving

from carbonbudget_core.node_report_json import encode_report

FOLDER = ROOT / "examples" / "25-pipelines"
GITLAB = yaml.safe_load((FOLDER / "gitlab-ci.yml").read_text(encoding="utf-8"))
GITHUB = yaml.safe_load((FOLDER / "github-workflow.yml").read_text(encoding="utf-8"))
OF_MODEL = {"carbonbudget.dev/model": "chat", "carbonbudget.dev/stage": "training"}
PATH = {"perUnit": "45g", "perUnitMicrograms": 45_000_000, "reduction": "10.0"}
# Version 1.2 is in use, 1.3 emits as much, 2.0 twice as much.
REPORTS = {"1.2": 10**10, "1.3": 10**10, "2.0": 2 * 10**10}


@dataclass(frozen=True)
class Pipelines:
    """Where the server is, and what a project of GitLab or GitHub would store."""

    folder: Path
    url: str
    ca: Path
    token: str

    @property
    def environment(self) -> dict[str, str]:
        """A job's: the command on its path, and the CA of a server whose certificate no public one signed."""
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.folder), "CARBONBUDGET_SERVER_CA": str(self.ca)}

    async def bash(self, script: str, variables: Mapping[str, str], *options: str) -> tuple[int, str]:
        """Exit code and output of a script."""
        process = await asyncio.create_subprocess_exec(
            "bash", "--noprofile", "--norc", *options, "-c", script, cwd=self.folder,
            env=self.environment | dict(variables), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def gitlab(self, job: str, project: Mapping[str, str]) -> tuple[int, str]:
        """A job's `script`: lines of one shell that ends with the first failure. The project's variables win."""
        file = self.folder / "variable-token"
        file.write_text(self.token)
        stored = {"CARBONBUDGET_SERVER_URL": self.url, "CARBONBUDGET_SERVER_TOKEN_FILE": str(file)}
        variables = {**GITLAB[job].get("variables", {}), **stored, **project}
        return await self.bash("\n".join(GITLAB[job]["script"]), variables, "-eo", "pipefail")

    async def github(self, step: str, context: Mapping[str, str]) -> tuple[int, str]:
        """The first step, which writes the token, and one other; each `run` is a shell of its own with `-e`."""
        job = GITHUB["jobs"]["carbon"]
        known = {"vars.CARBONBUDGET_SERVER_URL": self.url, "secrets.CARBONBUDGET_TOKEN": self.token, **context}
        first = job["steps"][0]
        found = next(one for one in job["steps"] if one["name"] == step)
        code, output = -1, ""
        for one in (first, found):
            variables = {key: evaluated(value, known) for key, value in {**job["env"], **one.get("env", {})}.items()}
            code, output = await self.bash(evaluated(one["run"], known), variables, "-e")
            assert one is found or code == 0, output
        return code, output


def evaluated(text: str, known: Mapping[str, str]) -> str:
    """`${{ name }}`, and `${{ name || 'value' }}` for a name that may not be set."""

    def value(match: re.Match[str]) -> str:
        name, _, otherwise = match[1].strip().partition(" || ")
        return known.get(name, otherwise.strip("'")) if otherwise else known[name]

    return re.sub(r"\$\{\{(.*?)\}\}", value, text)


async def review(request: web.Request) -> web.Response:
    """TokenReview: the agent, or a person that may get and share budgets in team-a alone."""
    body = await request.json()
    spec = body["spec"]
    if body["kind"] == "SubjectAccessReview":
        return web.json_response({"status": {"allowed": spec["resourceAttributes"].get("namespace") == "team-a"}})
    if spec["token"] not in ("node-1", "lead"):
        return web.json_response({"status": {"authenticated": False}})
    user: dict[str, Any] = {"username": spec["token"]}
    if spec["token"] == "node-1":
        user = {"username": AGENT, "extra": {"authentication.kubernetes.io/node-name": ["node-1"]}}
    return web.json_response({"status": {"authenticated": True, "audiences": spec["audiences"], "user": user}})


async def read(request: web.Request) -> web.Response:
    """The targets of team-a, as the API server lists them by name."""
    through = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).isoformat()
    stands = {"chat": "OnTrack", "behind": "Behind", "slow": "Violated", "empty": "NoData"}
    objects = [
        a_target("team-a", name, status=a_target_status(state=state, dataThrough=through, expectedNow=PATH))
        for name, state in stands.items()
    ]
    name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    items = [one for one in objects if name in ("", one["metadata"]["name"])]
    there = request.path.endswith("/carbontargets")
    return web.json_response({"metadata": {}, "items": items if there else []})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pipelines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pipelines]:
    folder, port = tmp_path_factory.mktemp("pipelines"), free_port()
    url = f"https://localhost:{port}"
    hour = int(time.time()) // 3600 * 3600 - 7200
    async with (
        serving(folder, f"sqlite:///{folder}/ledger.db", review, read, port) as server,
        httpx.AsyncClient(base_url=url, verify=server.trust, timeout=30) as client,
    ):
        for minute, (version, energy_uj) in enumerate(REPORTS.items()):
            labels = OF_MODEL | {"carbonbudget.dev/model-version": version, "carbonbudget.dev/run": f"exp-{version}"}
            report = a_report(hour + 60 * minute, pods={f"pod-{version}": energy_uj}, labels=labels)
            await answered(client, "POST", "/v1/reports", "node-1", content=encode_report(report).encode())
        over = encode_report(a_report(hour + 3600, pods={})).encode()  # the hour is final then
        await answered(client, "POST", "/v1/reports", "node-1", content=over)
        asked = {"namespaces": ["team-a"], "seconds": 86_400, "name": "pipelines"}
        token = await answered(client, "POST", "/v1/tokens", "lead", json=asked)
        yield Pipelines(folder, url, folder / "ca.crt", token["token"])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("job", "project", "passes", "said"),
    [
        ("carbon-run", {"CI_PIPELINE_ID": "1.2"}, True, "run exp-1.2 emitted"),
        ("carbon-run", {"CI_PIPELINE_ID": "1.2", "CARBON_MAX": "1mg"}, False, "more than 1mg"),
        ("carbon-run", {"CI_PIPELINE_ID": "9"}, False, "no pod of namespace team-a is of run exp-9"),
        ("carbon-version", {"CI_COMMIT_TAG": "1.3"}, True, "training of chat 1.3 emitted"),
        ("carbon-version", {"CI_COMMIT_TAG": "2.0"}, False, "% more than training of chat 1.2"),
        ("carbon-target", {}, True, "target team-a/chat is OnTrack"),
        ("carbon-target", {"TARGET": "team-a/behind"}, True, "target team-a/behind is Behind"),
        ("carbon-target", {"TARGET": "team-a/slow"}, False, "target team-a/slow is Violated"),
        ("carbon-target", {"TARGET": "team-a/empty"}, False, "target team-a/empty is not compared with its path"),
        (
            "carbon-target",
            {"TARGET": "team-b/chat"},
            False,
            "CarbonTarget team-b/chat is not shown: the read token is not for namespace team-b",
        ),
    ],
)
async def test_a_gitlab_job_passes_or_fails_and_leaves_a_report_of_it(
    pipelines: Pipelines, job: str, project: dict[str, str], passes: bool, said: str
) -> None:
    code, output = await pipelines.gitlab(job, project)
    assert (code == 0) is passes, output
    report = (pipelines.folder / GITLAB[".carbon"]["artifacts"]["reports"]["junit"]).read_text(encoding="utf-8")
    assert said in report
    case = ElementTree.fromstring(report).find("testcase")
    assert case is not None
    assert (case.find("failure") is None and case.find("error") is None) is passes


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("step", "context", "passes", "said"),
    [
        ("What was trained", {"github.run_id": "1.2"}, True, "passed: run exp-1.2 emitted"),
        ("What was trained", {"github.run_id": "1.2", "vars.CARBON_MAX": "1mg"}, False, "failed: run exp-1.2 emitted"),
        ("The new version against the one in use", {"github.ref_name": "1.3"}, True, "passed: training of chat 1.3"),
        ("The new version against the one in use", {"github.ref_name": "2.0"}, False, "failed: training of chat 2.0"),
        ("Emissions per million tokens", {}, True, "passed: target team-a/chat is OnTrack: 42"),
        ("Emissions per million tokens", {"vars.CARBON_TARGET": "team-a/behind"}, True, "warned: target team-a/behind"),
        ("Emissions per million tokens", {"vars.CARBON_TARGET": "team-a/slow"}, False, "failed: target team-a/slow"),
    ],
)
async def test_a_github_step_passes_or_fails_and_says_why(
    pipelines: Pipelines, step: str, context: dict[str, str], passes: bool, said: str
) -> None:
    code, output = await pipelines.github(step, context)
    assert (code == 0) is passes, output
    assert said in output


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pipeline_whose_token_is_refused_fails(pipelines: Pipelines) -> None:
    wrong = Pipelines(pipelines.folder, pipelines.url, pipelines.ca, "cbr_" + "x" * 40)
    code, output = await wrong.github("Emissions per million tokens", {})
    assert code != 0
    assert "unanswerable" in output


@pytest.mark.asyncio(loop_scope="module")
async def test_the_gate_of_the_readme_prints_what_it_shows(pipelines: Pipelines) -> None:
    (_, _), (line, shown) = ((one.line, one.output) for one in shown_commands(FOLDER / "README.md"))
    (pipelines.folder / "read-token").write_text(pipelines.token)
    named = {"CARBONBUDGET_SERVER_URL": pipelines.url, "CARBONBUDGET_SERVER_TOKEN_FILE": "read-token"}
    code, output = await pipelines.bash(line, named)
    assert (code, output.strip()) == (0, shown)


def test_every_job_and_step_of_the_pipelines_is_run_here() -> None:
    marks = [
        mark.args[1]
        for test in (
            test_a_gitlab_job_passes_or_fails_and_leaves_a_report_of_it,
            test_a_github_step_passes_or_fails_and_says_why,
        )
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "parametrize"
    ]
    for cases, there in zip(
        marks,
        (
            {job for job, value in GITLAB.items() if "script" in value},
            {step["name"] for step in GITHUB["jobs"]["carbon"]["steps"][1:]},
        ),
        strict=True,
    ):
        for passes in (True, False):
            assert {name for name, _, ends, _ in cases if ends is passes} == there


@pytest.mark.parametrize("name", ["gitlab-ci.yml", "github-workflow.yml"])
def test_the_page_about_gates_shows_the_same_files(name: str) -> None:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    assert f"```yaml\n{(FOLDER / name).read_text(encoding='utf-8')}```\n" in page
