"""`carbonbudget check` against a small API server: what each answer means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.api_server import Asked, Said, api_server, echo, ordinary, status
from tests.cli.checks import DEPLOYMENT, MESSAGE, POLICY, WEBHOOK, checked, run
from tests.cli.test_manifests import CONFIG, JOB, TEMPLATE, cron


def test_what_is_let_in_is_a_yes_and_nothing_is_created(tmp_path: Path) -> None:
    asked: list[Asked] = []

    def created(request: Asked) -> Said:
        asked.append(request)
        return Said(request.body, 201)

    assert checked(tmp_path, ordinary(created))[0] == 0
    assert [(one.method, one.path) for one in asked] == [("POST", "/apis/batch/v1/namespaces/default/jobs")]
    assert set(asked[0].query.split("&")) >= {"dryRun=All", "fieldValidation=Strict"}


FITS = "carbon budget tight: expected 2g, left 900g of 1kg CO2e (by the requests of Job j; location-based)"
JOB_POLICY = {
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


def with_policy(created: Callable[[Asked], Said], labels: dict[str, str] | None = None) -> Callable[[Asked], Said]:
    """A policy that limits Jobs, and a namespace with these labels."""

    def answer(asked: Asked) -> Said:
        if "validatingadmissionpolicies" in asked.path:
            return Said(JOB_POLICY)
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

    code, value = checked(tmp_path, with_policy(created))
    assert (code, value["verdict"]) == (0, "yes")
    assert value["objects"][0]["figures"] == [FITS]
    assert (value["objects"][0]["carbon"], value["objects"][0]["warnings"]) == ([], [])
    assert "fieldManager=carbonbudget-check" in asked[0].query, "by it the webhook knows that it is asked"
    with api_server(with_policy(created), tmp_path) as path:
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

    _, value = checked(tmp_path, with_policy(created, labels), manifest)
    (figure,) = value["objects"][0]["figures"]
    assert why in figure


def test_each_object_of_a_cronjob_says_figures_or_why_not(tmp_path: Path) -> None:
    _, value = checked(tmp_path, with_policy(echo), cron())
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
