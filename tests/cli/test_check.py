"""`carbonbudget check` against a small HTTP server: what each answer means, and answers that are none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.api_server import Asked, Said, api_server, discovery, echo, kubeconfig, ordinary, status
from tests.cli.test_manifests import CONFIG, JOB, TEMPLATE, cron
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli.check_verdict import CheckVerdict, interpret_answer, parse_warnings, worst
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.kube.client import ApiResponse

MESSAGE = "carbon budget tight: used 2g of 1g CO2e (200 %), resets 2026-12-01"
POLICY = (
    'jobs.batch "j" is forbidden: '
    f"ValidatingAdmissionPolicy 'carbonbudget' with binding 'carbonbudget' denied request: {MESSAGE}"
)
WEBHOOK = f'admission webhook "admission.carbonbudget.dev" denied the request: {MESSAGE}'
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": TEMPLATE},
}  # fmt: skip


def run(kubeconfig: Path, *args: str, manifests: object = JOB) -> Result:
    documents = manifests if isinstance(manifests, list) else [manifests]
    text = yaml.safe_dump_all(documents)
    return CliRunner().invoke(app, ["check", "-f", "-", "--kubeconfig", str(kubeconfig), *args], input=text)


def checked(tmp_path: Path, answer: Callable[[Asked], Said], manifests: object = JOB) -> tuple[int, dict[str, Any]]:
    with api_server(answer, tmp_path) as path:
        result = run(path, "-o", "json", manifests=manifests)
    value = json.loads(result.stdout)
    assert value["exitCode"] == result.exit_code
    return result.exit_code, value


def test_what_is_let_in_is_a_yes_and_nothing_is_created(tmp_path: Path) -> None:
    asked: list[Asked] = []

    def created(request: Asked) -> Said:
        asked.append(request)
        return Said(request.body, 201)

    assert checked(tmp_path, ordinary(created))[0] == 0
    assert [(one.method, one.path) for one in asked] == [("POST", "/apis/batch/v1/namespaces/default/jobs")]
    assert set(asked[0].query.split("&")) >= {"dryRun=All", "fieldValidation=Strict"}


FITS = "carbon budget tight: expected 2g, left 900g of 1kg CO2e (by the requests of Job j; location-based)"
JUDGES = {
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["batch"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["jobs"],
                }
            ],
            "namespaceSelector": {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
                    {"key": "carbonbudget.dev/enforcement", "operator": "NotIn", "values": ["off"]},
                ]
            },
        }
    }
}


def judging(created: Callable[[Asked], Said], labels: dict[str, str] | None = None) -> Callable[[Asked], Said]:
    """A policy that judges Jobs, and a namespace with these labels."""

    def answer(asked: Asked) -> Said:
        if "validatingadmissionpolicies" in asked.path:
            return Said(JUDGES)
        if asked.path.startswith("/api/v1/namespaces/"):
            return Said({"metadata": {"labels": labels or {}}})
        return ordinary(created)(asked)

    return answer


def test_a_yes_says_what_is_expected_and_what_is_left(tmp_path: Path) -> None:
    warnings = (f'299 - "for information: {FITS}"',)
    asked: list[Asked] = []

    def created(request: Asked) -> Said:
        asked.append(request)
        return Said(request.body, 201, warnings)

    code, value = checked(tmp_path, judging(created))
    assert (code, value["verdict"]) == (0, "yes")
    assert value["objects"][0]["figures"] == [FITS]
    assert (value["objects"][0]["carbon"], value["objects"][0]["warnings"]) == ([], [])
    assert "fieldManager=carbonbudget-check" in asked[0].query, "by it the webhook knows that it is asked"
    with api_server(judging(created), tmp_path) as path:
        assert FITS in run(path).stdout


@pytest.mark.parametrize(
    ("manifest", "labels", "said", "why"),
    [
        (JOB, {}, Said({}, 201), "the webhook did not answer"),
        (JOB, {"carbonbudget.dev/enforcement": "off"}, Said({}, 201), "budgets do not apply in namespace default"),
        (DEPLOYMENT, {}, Said({}, 201), "budgets do not apply to Deployment in this cluster"),
        (
            JOB | {"metadata": {"name": "j", "namespace": "kube-system"}},
            {},
            Said({}, 201),
            "do not apply in namespace kube-system",
        ),
        (JOB, {}, status(403, "Forbidden", POLICY), "the refusal came before that was asked"),
        (JOB, {}, Said({}, 201, (f'299 - "{FITS}"',)), "the warning states"),
    ],
    ids=["webhook away", "off", "kind", "system", "refused", "warned"],
)
def test_an_answer_without_figures_says_why(
    tmp_path: Path, manifest: dict[str, Any], labels: dict[str, str], said: Said, why: str
) -> None:
    def created(asked: Asked) -> Said:
        return said if said.status != 201 else Said(asked.body, 201, said.warnings)

    _, value = checked(tmp_path, judging(created, labels), manifest)
    (figure,) = value["objects"][0]["figures"]
    assert why in figure


def test_each_object_of_a_cronjob_says_figures_or_why_not(tmp_path: Path) -> None:
    _, value = checked(tmp_path, judging(echo), cron())
    assert ["CronJob emits nothing by itself" in one["figures"][0] for one in value["objects"]] == [True, False]


def test_a_budgets_warning_is_3_with_its_sentence_and_others_apart(tmp_path: Path) -> None:
    warnings = (f'299 - "{MESSAGE}"', '299 - "batch/v0 is deprecated"')
    code, value = checked(tmp_path, ordinary(lambda asked: Said(asked.body, 201, warnings)))
    assert code == 3
    assert value["verdict"] == "warned"
    assert value["objects"][0]["carbon"] == [MESSAGE]
    assert value["objects"][0]["warnings"] == ["batch/v0 is deprecated"]


def test_a_warning_that_is_no_budgets_is_a_yes(tmp_path: Path) -> None:
    code, _ = checked(tmp_path, ordinary(lambda asked: Said(asked.body, 201, ('299 - "would violate PodSecurity"',))))
    assert code == 0


def test_where_the_chart_only_warns_what_would_be_refused_is_a_warning(tmp_path: Path) -> None:
    warning = f'299 - "would be refused: cluster {MESSAGE}"'
    assert checked(tmp_path, ordinary(lambda asked: Said(asked.body, 201, (warning,))))[0] == 3


@pytest.mark.parametrize(("code", "message"), [(403, POLICY), (422, POLICY), (403, WEBHOOK), (400, WEBHOOK)])
def test_a_refusal_by_policy_or_webhook_is_4_with_the_budgets_sentence(tmp_path: Path, code: int, message: str) -> None:
    exit_code, value = checked(tmp_path, ordinary(lambda _: status(code, "Forbidden", message)))
    assert exit_code == 4
    assert value["objects"][0]["carbon"] == [MESSAGE]


@pytest.mark.parametrize(
    ("code", "reason", "message", "told"),
    [
        (403, "Forbidden", 'jobs is forbidden: User "u" cannot create resource "jobs" in API group', "the right to"),
        (403, "Forbidden", 'jobs.batch "j" is forbidden: exceeded quota: q', "not for carbon"),
        (403, "Forbidden", "x is forbidden: ValidatingAdmissionPolicy 'other' denied request: no", "not for carbon"),
        (403, "Forbidden", 'admission webhook "x.carbonbudget.dev.evil.io" denied the request: n', "not for carbon"),
        (422, "Invalid", 'Job "j" is invalid: spec.template: ' + POLICY, "not for carbon"),
        (404, "NotFound", 'namespaces "x" not found', 'namespaces "x" not found'),
        (401, "Unauthorized", "Unauthorized", "renew your credentials"),
        (429, "TooManyRequests", "too many", "try again"),
        (500, "InternalError", "etcd is slow", "etcd is slow; try again"),
        (503, "ServiceUnavailable", POLICY, "try again"),
    ],
)
def test_any_other_refusal_is_5_and_told(tmp_path: Path, code: int, reason: str, message: str, told: str) -> None:
    exit_code, value = checked(tmp_path, ordinary(lambda _: status(code, reason, message)))
    assert exit_code == 5
    assert told in value["objects"][0]["reason"]
    assert value["objects"][0]["carbon"] == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>login</html>", b"\xff\xfe\x00", b"[]", b"null", b'{"kind": "Other"}', b"[" * 100_000],
    ids=["empty", "html", "bytes", "list", "null", "another kind", "deep"],
)
@pytest.mark.parametrize("code", [200, 201, 403, 409, 502])
def test_garbage_is_5_whatever_its_status(tmp_path: Path, code: int, raw: bytes) -> None:
    exit_code, value = checked(tmp_path, ordinary(lambda _: Said(status=code, raw=raw)))
    assert exit_code == 5
    assert "\n" not in value["objects"][0]["reason"]


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"resources": 5}', b'{"resources": [5, {}]}'])
def test_garbage_in_place_of_discovery_is_5(tmp_path: Path, raw: bytes) -> None:
    assert checked(tmp_path, lambda _: Said(raw=raw))[0] == 5


def test_a_name_that_is_taken_hides_no_verdict(tmp_path: Path) -> None:
    taken = status(409, "AlreadyExists", 'jobs.batch "j" already exists')
    code, value = checked(tmp_path, ordinary(lambda _: taken))
    assert (code, value["objects"][0]["exists"]) == (0, True)
    taken.warnings = (f'299 - "{MESSAGE}"',)
    assert checked(tmp_path, ordinary(lambda _: taken))[0] == 3


def test_another_conflict_is_not_answerable(tmp_path: Path) -> None:
    assert checked(tmp_path, ordinary(lambda _: status(409, "Conflict", "quota changed")))[0] == 5


def test_what_may_not_be_made_anew_but_may_be_changed_is_a_yes(tmp_path: Path) -> None:
    def created(asked: Asked) -> Said:
        return status(403, "Forbidden", POLICY) if asked.method == "POST" else Said(asked.body)

    code, value = checked(tmp_path, ordinary(created), DEPLOYMENT)
    assert (code, value["objects"][0]["exists"]) == (0, True)
    assert checked(tmp_path, ordinary(created), JOB)[0] == 4, "a Job is replaced, never changed"


@pytest.mark.parametrize(
    "changed",
    [
        status(403, "Forbidden", 'User "u" cannot patch resource "deployments"'),
        status(403, "Forbidden", POLICY),
        status(422, "Invalid", "spec.selector: field is immutable"),
        Said(status=201, body=DEPLOYMENT),
        Said(raw=b"<html>"),
    ],
    ids=["no right", "refused too", "immutable", "created", "garbage"],
)
def test_where_the_change_has_no_other_answer_the_first_stands(tmp_path: Path, changed: Said) -> None:
    def created(asked: Asked) -> Said:
        return status(403, "Forbidden", POLICY) if asked.method == "POST" else changed

    code, value = checked(tmp_path, ordinary(created), DEPLOYMENT)
    assert code == 4
    assert value["objects"][0]["carbon"] == [MESSAGE]


def test_a_cronjob_is_as_its_job(tmp_path: Path) -> None:
    def created(asked: Asked) -> Said:
        return status(403, "Forbidden", POLICY) if asked.path.endswith("/jobs") else echo(asked)

    code, value = checked(tmp_path, ordinary(created), cron())
    assert code == 4
    assert [(one["kind"], one["madeBy"], one["verdict"]) for one in value["objects"]] == [
        ("CronJob", "", "yes"),
        ("Job", "CronJob/n", "refused"),
    ]


def test_one_refusal_decides_over_what_is_not_answerable(tmp_path: Path) -> None:
    unknown = {"apiVersion": "x.dev/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"template": TEMPLATE}}
    refused = ordinary(lambda _: status(403, "Forbidden", POLICY))
    code, value = checked(tmp_path, refused, [unknown, CONFIG, JOB])
    assert code == 4
    assert [one["verdict"] for one in value["objects"]] == ["unanswerable", "refused"]
    assert value["objects"][0]["reason"] == "this cluster knows no kind Thing of x.dev/v1"
    assert value["untried"] == [{"source": "stdin, document 2", "kind": "ConfigMap", "name": "c"}]


def test_a_job_whose_template_is_misspelt_is_no_yes(tmp_path: Path) -> None:
    said = 'Job in version "v1" cannot be handled as a Job: strict decoding error: unknown field "spec.tmplate"'
    manifest = JOB | {"spec": {"tmplate": TEMPLATE}}
    code, value = checked(tmp_path, ordinary(lambda _: status(400, "BadRequest", said)), manifest)
    assert (code, value["verdict"]) == (5, "unanswerable")
    assert value["objects"][0]["reason"].endswith(said)


def test_who_asks_for_a_cronjob_is_taken_for_no_controller(tmp_path: Path) -> None:
    hint = " (if system:serviceaccount:team-a:me is a controller, name it in enforcement.controllerAccounts)"

    def created(asked: Asked) -> Said:
        said = POLICY + (hint if asked.path.endswith("/jobs") else "") + "; see: kubectl describe carbonbudget tight"
        return status(403, "Forbidden", said)

    _, value = checked(tmp_path, ordinary(created), cron())
    job = next(one for one in value["objects"] if one["kind"] == "Job")
    assert "controller" not in job["carbon"][0]
    assert job["carbon"][0].endswith("; see: kubectl describe carbonbudget tight")


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
def test_a_yes_where_nothing_judges_is_none(tmp_path: Path, policy: int, webhook: int, code: int, told: str) -> None:
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
    assert "no Kubernetes credentials" in result.output
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
def test_no_answer_breaks_the_judgement(code: int, text: str, warnings: list[str]) -> None:
    assert interpret_answer(ApiResponse(code, "", tuple(warnings), text), "Job").verdict is CheckVerdict.UNANSWERABLE


def test_the_worst_decides() -> None:
    assert worst([]) is CheckVerdict.YES
    assert worst([CheckVerdict.YES, CheckVerdict.WARNED]) is CheckVerdict.WARNED
    assert worst([CheckVerdict.WARNED, CheckVerdict.UNANSWERABLE]) is CheckVerdict.UNANSWERABLE
    assert worst([CheckVerdict.UNANSWERABLE, CheckVerdict.REFUSED]) is CheckVerdict.REFUSED
