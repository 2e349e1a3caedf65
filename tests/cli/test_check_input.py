"""`carbonbudget check` where a cluster, a kubeconfig or a manifest is unusable; its table, and warning headers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.api_server import Asked, Said, api_server, discovery, echo, kubeconfig, ordinary, status
from tests.cli.checks import MESSAGE, POLICY, checked, run
from tests.cli.test_manifests import CONFIG, JOB, TEMPLATE, cron
from typer.testing import CliRunner

from carbonbudget_operator.cli.dry_run_answer import CheckVerdict, interpret_answer, parse_warnings, worst
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.kube.client import ApiResponse


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", "-f", str(tmp_path / "no.yaml")])
    assert (result.exit_code, "Errno" in result.output) == (2, False)
    assert f"{tmp_path}/no.yaml cannot be read: No such file or directory" in " ".join(result.output.split())


def test_what_makes_no_pods_is_a_yes_without_asking(tmp_path: Path) -> None:
    result = run(kubeconfig(tmp_path, "http://127.0.0.1:1"), manifests=CONFIG)
    assert result.exit_code == 0
    assert "nothing here makes pods" in result.output


def test_a_cluster_without_the_crd_is_5(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Said:
        return status(404, "NotFound", "") if "carbonbudget.dev" in asked.path else ordinary(echo)(asked)

    code, value = checked(tmp_path, answer)
    assert code == 5
    assert "install the carbonbudget chart" in value["objects"][0]["reason"]


def policies(policy: int, webhook: int) -> Callable[[Asked], Said]:
    def answer(asked: Asked) -> Said:
        if "validatingadmissionpolicies" in asked.path:
            return status(policy, "x", "x")
        if "validatingwebhookconfigurations" in asked.path:
            return status(webhook, "x", "x")
        return echo(asked) if asked.method == "POST" else discovery(asked.path)

    return answer


@pytest.mark.parametrize(
    ("policy", "webhook", "code", "told"),
    [
        (404, 404, 5, "enforcement.mode is Observe"),
        (404, 200, 0, "enforcement.mode is Warn"),
        (403, 403, 0, "cannot be seen with these rights"),
    ],
)
def test_a_yes_where_no_policy_answers_is_none(tmp_path: Path, policy: int, webhook: int, code: int, told: str) -> None:
    exit_code, value = checked(tmp_path, policies(policy, webhook))
    assert exit_code == code
    assert told in json.dumps(value)


def test_no_api_server_is_5_in_one_line(tmp_path: Path) -> None:
    result = run(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    assert result.exit_code == 5
    assert "no answer from the API server" in result.output


def test_an_api_server_that_never_answers_is_5_when_the_time_is_up(tmp_path: Path) -> None:
    go_on = threading.Event()

    def created(asked: Asked) -> Said:
        go_on.wait(30)
        return echo(asked)

    with api_server(ordinary(created), tmp_path) as path:
        result = run(path, "--timeout", "0.3")
        go_on.set()
    assert result.exit_code == 5
    assert "within 0.3 s" in result.output


@pytest.mark.parametrize("content", ["", "a: [", "[]", None], ids=["empty", "no YAML", "a list", "missing"])
def test_a_kubeconfig_that_is_none_is_5_in_one_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    result = run(path)
    assert result.exit_code == 5
    assert "no Kubernetes credentials (" in result.output
    assert "): set KUBECONFIG, or run inside a cluster" in result.output
    assert ".," not in result.output  # the library's sentences are one clause
    assert result.output.count("\n") == 1


def test_a_context_that_is_not_there_is_5_in_one_line(tmp_path: Path) -> None:
    result = run(kubeconfig(tmp_path, "http://127.0.0.1:1"), "--context", "no")
    assert result.exit_code == 5
    assert "no Kubernetes credentials" in result.output
    assert result.output.count("\n") == 1


def test_the_contexts_namespace_counts_where_none_is_named(tmp_path: Path) -> None:
    asked: list[str] = []

    def created(request: Asked) -> Said:
        asked.append(request.path)
        return echo(request)

    with api_server(ordinary(created), tmp_path, namespace="team-a") as path:
        value = json.loads(run(path, "-o", "json").stdout)
        run(path, "-n", "team-b")
    assert asked == [f"/apis/batch/v1/namespaces/{name}/jobs" for name in ("team-a", "team-b")]
    assert value["objects"][0]["namespace"] == "team-a"


def test_two_namespaces_for_one_object_are_a_usage_error(tmp_path: Path) -> None:
    result = run(kubeconfig(tmp_path, "http://127.0.0.1:1"), "-n", "other", manifests=cron())
    assert result.exit_code == 2
    assert "leave --namespace out" in result.output


@pytest.mark.parametrize("text", ["", "---\n", "a: [", "hello"])
def test_what_is_no_manifest_is_2(text: str) -> None:
    result = CliRunner().invoke(app, ["check", "-f", "-"], input=text)
    assert result.exit_code == 2


def test_a_file_that_is_not_there_is_2_and_a_directory_is_its_manifests(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["check", "-f", str(tmp_path / "no.yaml")]).exit_code == 2
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    assert "UTF-8" in CliRunner().invoke(app, ["check", "-f", str(tmp_path / "bytes.yaml")]).output
    directory = tmp_path / "manifests"
    directory.mkdir()
    for name in ("b.json", "a.yaml", "README.md"):
        (directory / name).write_text(json.dumps(JOB | {"metadata": {"name": name[0]}}))
    with api_server(ordinary(echo), tmp_path) as path:
        result = CliRunner().invoke(app, ["check", "-f", str(directory), "--kubeconfig", str(path), "-o", "json"])
    assert [one["name"] for one in json.loads(result.stdout)["objects"]] == ["a", "b"]


def test_the_table_names_object_verdict_and_sentence(tmp_path: Path) -> None:
    with api_server(ordinary(lambda _: status(403, "Forbidden", POLICY)), tmp_path) as path:
        result = run(path)
    assert result.stdout.splitlines() == [
        "refused       Job/j (stdin)",
        f"              {MESSAGE}",
        "              what is expected is not known: the refusal came before that was asked",
    ]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ('299 - "plain"', ["plain"]),
        (r'299 - "a \"quoted\" \\ word"', [r'a "quoted" \ word']),
        ('299 - "one, two", 299 - "three"', ["one, two", "three"]),
        ('299 host:80 "dated" "Wed, 21 Oct 2015 07:28:00 GMT", 199 - "b"', ["dated", "b"]),
        ('299 - ""', [""]),
        ('299 - "never ends', []),
        ("nonsense", []),
        ("", []),
    ],
)
def test_warning_headers_are_read_by_their_grammar(value: str, texts: list[str]) -> None:
    assert parse_warnings([value]) == texts


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"])), max_size=4))
def test_whatever_is_quoted_comes_out(texts: list[str]) -> None:
    quoted = ['299 - "' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    assert parse_warnings(quoted) == texts
    assert parse_warnings([", ".join(quoted)]) == texts


MISTYPED = {"metadata": {"name": "j", "annotations": {"carbonbudget.dev/expected-duration": "2 hours"}}}
NO_DURATION = 'carbonbudget.dev/expected-duration "2 hours" is no duration; write e.g. 2h30m'


@pytest.mark.parametrize(
    "manifest",
    [JOB | MISTYPED, JOB | {"spec": {"template": TEMPLATE | MISTYPED}}, cron(**MISTYPED)],
    ids=["on the Job", "on its template", "on the CronJob's template"],
)
def test_a_duration_that_cannot_be_read_is_a_warning_whether_the_webhook_lives_or_not(
    tmp_path: Path, manifest: object
) -> None:
    code, value = checked(tmp_path, ordinary(echo), manifest)
    assert code == 3
    assert [one["carbon"] for one in value["objects"] if one["kind"] == "Job"] == [[NO_DURATION]]


def test_what_the_webhook_says_of_the_duration_is_not_said_twice(tmp_path: Path) -> None:
    said = NO_DURATION.replace("duration;", "duration, so nothing is projected;")
    warning = '299 - "' + said.replace('"', '\\"') + '"'
    code, value = checked(tmp_path, ordinary(lambda asked: Said(asked.body, 201, (warning,))), JOB | MISTYPED)
    assert (code, value["objects"][0]["carbon"]) == (3, [said])


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(status(403, "Forbidden", POLICY), "refused"), (status(500, "InternalError", "x"), "unanswerable")],
)
def test_a_duration_that_cannot_be_read_changes_no_harder_verdict(tmp_path: Path, answer: Said, verdict: str) -> None:
    _, value = checked(tmp_path, ordinary(lambda _: answer), JOB | MISTYPED)
    assert value["objects"][0]["verdict"] == verdict
    assert value["objects"][0]["carbon"][-1] == NO_DURATION


def test_a_duration_that_can_be_read_is_a_yes(tmp_path: Path) -> None:
    stated = {"metadata": {"name": "j", "annotations": {"carbonbudget.dev/expected-duration": "2h30m"}}}
    assert checked(tmp_path, ordinary(echo), JOB | stated)[0] == 0


@given(st.integers(200, 599), st.text(), st.lists(st.text(), max_size=3))
def test_no_answer_breaks_the_check(code: int, text: str, warnings: list[str]) -> None:
    assert interpret_answer(ApiResponse(code, "", tuple(warnings), text), "Job").verdict is CheckVerdict.UNANSWERABLE


def test_the_worst_decides() -> None:
    assert worst([]) is CheckVerdict.YES
    assert worst([CheckVerdict.YES, CheckVerdict.WARNED]) is CheckVerdict.WARNED
    assert worst([CheckVerdict.WARNED, CheckVerdict.UNANSWERABLE]) is CheckVerdict.UNANSWERABLE
    assert worst([CheckVerdict.UNANSWERABLE, CheckVerdict.REFUSED]) is CheckVerdict.REFUSED
