"""`kubectl carbon` against a small API server: tables, JSON, and errors that say what to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.api_server import Asked, Said, api_server, kubeconfig, status
from tests.cli.kubectl_budgets import STATUS, an_object
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli.kubectl import app, main
from carbonbudget_operator.printable import is_printable


def run(tmp_path: Path, answer: Callable[[Asked], Said], *args: str) -> Result:
    with api_server(answer, tmp_path, namespace="team-a") as path:
        return CliRunner().invoke(app, [*args, "--kubeconfig", str(path)])


def cluster_of(namespaced: list[dict[str, Any]], whole: list[dict[str, Any]]) -> Callable[[Asked], Said]:
    def answer(asked: Asked) -> Said:
        if asked.path.endswith("/clustercarbonbudgets"):
            return Said({"metadata": {}, "items": whole})
        if asked.path.endswith("/carbonbudgets"):
            space = asked.path.split("/")[5] if "/namespaces/" in asked.path else ""
            items = [one for one in namespaced if not space or one["metadata"]["namespace"] == space]
            return Said({"metadata": {}, "items": items})
        if asked.path.endswith("/validatingadmissionpolicies/carbonbudget"):
            return Said({"kind": "ValidatingAdmissionPolicy"})
        if asked.path.startswith("/api/v1/namespaces/"):
            return Said({"metadata": {"labels": {}}})
        assert asked.path.endswith("/selfsubjectaccessreviews")
        return Said({"status": {"allowed": False}}, 201)

    return answer


BOTH = cluster_of([an_object("monthly"), an_object("weekly", "team-b")], [an_object("company", "")])


def test_budgets_are_those_of_the_contexts_namespace_and_the_clusters(tmp_path: Path) -> None:
    result = run(tmp_path, BOTH, "budgets")
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "NAMESPACE", "NAME", "LIMIT", "USED", "%", "FORECAST", "EXHAUSTED", "STATE", "ACTION", "RESETS", "BASIS",
        "AS", "OF",
    ]  # fmt: skip
    assert lines[1].split() == [
        "team-a", "monthly", "5kg", "4.1kg", "82", "6.3kg", "2026-11-27", "00:00", "CET", "Warning", "Warn",
        "2026-12-01", "00:00", "CET", "location", "2026-11-24", "12:59", "CET",
    ]  # fmt: skip
    assert lines[2].split()[:2] == ["(cluster)", "company"]
    assert len(lines) == 3
    assert "weekly" in run(tmp_path, BOTH, "budgets", "-A").stdout
    assert "weekly" in run(tmp_path, BOTH, "budgets", "-n", "team-b").stdout


def test_its_usage_names_the_command_that_people_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-carbon", "budgets", "-o", "xml"])
    with pytest.raises(SystemExit):
        main()
    assert "Usage: kubectl carbon budgets" in capsys.readouterr().err


def test_json_is_for_programs_names_as_in_the_crd_and_instants_in_utc(tmp_path: Path) -> None:
    runs = an_object("runs", given=STATUS | {"action": ""}, limit="20kg", per="Workload")
    new = an_object("new", given={})
    found = json.loads(run(tmp_path, cluster_of([runs, new], []), "budgets", "-o", "json").stdout)["items"]
    assert found[1] == {
        "kind": "CarbonBudget", "namespace": "team-a", "name": "runs", "limit": "20kg", "per": "Workload",
        "used": "4.1kg", "percent": 82, "forecast": "6.3kg", "exhausted": "2026-11-26T23:00:00Z", "state": "Warning",
        "action": None, "resets": "2026-11-30T23:00:00Z", "accounting": "LocationBased", "timeZone": "Europe/Paris",
        "asOf": "2026-11-24T11:59:00Z", "proRata": [],
    }  # fmt: skip
    assert {found[0][key] for key in ("used", "percent", "state", "action", "resets", "asOf")} == {None}
    items = json.loads(run(tmp_path, cluster_of([runs], []), "top", "-o", "json").stdout)["items"]
    assert (items[0]["budgetKind"], items[0]["since"]) == ("CarbonBudget", "2026-10-31T23:00:00Z")
    assert run(tmp_path, cluster_of([runs], []), "budgets").stdout.count("20kg each") == 1


def test_json_has_the_same_rows(tmp_path: Path) -> None:
    items = json.loads(run(tmp_path, BOTH, "budgets", "-o", "json").stdout)["items"]
    assert [(one["kind"], one["name"], one["percent"]) for one in items] == [
        ("CarbonBudget", "monthly", 82), ("ClusterCarbonBudget", "company", 82),
    ]  # fmt: skip
    items = json.loads(run(tmp_path, BOTH, "top", "-o", "json").stdout)["items"]
    assert (items[0]["name"], items[0]["emissions"]) == ("train", "2.2kg")


def test_top_lists_the_workloads(tmp_path: Path) -> None:
    lines = run(tmp_path, BOTH, "top").stdout.splitlines()
    assert lines[:2] == ["location-based", lines[1]]
    assert lines[1].split() == ["NAMESPACE", "WORKLOAD", "CO2E", "%", "OF", "LIMIT", "BUDGET", "SINCE", "AS", "OF"]
    assert lines[2].split() == [
        "team-a", "Job/train", "2.2kg", "44", "monthly", "2026-11-01", "00:00", "CET", "2026-11-24", "12:59", "CET",
    ]  # fmt: skip


def tops(*names: str, namespace: str | None = None, emissions: str = "1g") -> dict[str, Any]:
    named = [{"kind": "Job", "name": name, "emissions": emissions, "percent": 0} for name in names]
    return STATUS | {"topWorkloads": [one | ({"namespace": namespace} if namespace else {}) for one in named]}


def top(tmp_path: Path, answer: Callable[[Asked], Said], *args: str) -> tuple[list[str], str]:
    """The workloads of the rows, and the notes."""
    result = run(tmp_path, answer, "top", *args)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    return [row[1] for row in rows if len(row) > 5 and row[1].startswith("Job/")], result.stderr


def test_top_of_a_namespace_shows_no_other_namespaces_workloads(tmp_path: Path) -> None:
    there = cluster_of([an_object("own", given=tops("a"))], [an_object("all", "", tops("b", namespace="team-b"))])
    assert top(tmp_path, there)[0] == ["Job/a"]
    assert top(tmp_path, there, "-A")[0] == ["Job/a", "Job/b"]


def test_top_mixes_no_two_bases(tmp_path: Path) -> None:
    there = cluster_of(
        [
            an_object("l", given=tops("a", "b")),
            an_object("m", given=tops("c", emissions="9g"), accounting="MarketBased"),
        ],
        [],
    )
    assert top(tmp_path, there)[0] == ["Job/a", "Job/b", "Job/c"]
    printed = run(tmp_path, there, "top").stdout
    assert (
        printed.index("location-based")
        < printed.index("Job/b")
        < printed.index("market-based")
        < printed.index("Job/c")
    )
    assert top(tmp_path, there, "--accounting", "MarketBased")[0] == ["Job/c"]
    items = json.loads(run(tmp_path, there, "top", "-o", "json").stdout)["items"]
    assert {(one["name"], one["accounting"]) for one in items} == {
        ("a", "LocationBased"), ("b", "LocationBased"), ("c", "MarketBased"),
    }  # fmt: skip


def test_what_others_used_is_of_the_reading_that_names_the_workloads(tmp_path: Path) -> None:
    given = tops(*(f"j{n}" for n in range(5)), emissions="1kg") | {
        "breakdown": {"dynamic": "4.9kg", "idle": "100g", "overhead": "50g"}
    }
    notes = top(tmp_path, cluster_of([an_object("b", given=given)], []))[1]
    assert "all others used some 50g" in notes


def test_top_shows_all_rows_or_as_many_as_asked_for_and_says_what_is_left_out(tmp_path: Path) -> None:
    names = [f"j{n}" for n in range(5)]
    there = cluster_of([an_object("b", given=tops(*names))], [])
    rows, notes = top(tmp_path, there)
    assert len(rows) == 5
    assert "team-a/b names the 5 workloads that used most; all others used some 4kg" in notes
    rows, notes = top(tmp_path, there, "--limit", "2")
    assert rows == ["Job/j0", "Job/j1"]
    assert "2 of 5 rows" in notes
    assert "others" not in top(tmp_path, cluster_of([an_object("b", given=tops("a"))], []))[1]


def test_a_small_share_is_not_0(tmp_path: Path) -> None:
    assert "<1" in run(tmp_path, cluster_of([an_object("b", given=tops("a"))], []), "top").stdout


def test_explain_is_of_one_budget(tmp_path: Path) -> None:
    text = run(tmp_path, BOTH, "explain", "monthly").stdout
    assert text.startswith("CarbonBudget monthly in namespace team-a\n\nCounts\n")
    assert "You may not change it" in text
    assert run(tmp_path, BOTH, "explain", "company", "--cluster").stdout.startswith("ClusterCarbonBudget company\n")
    value = json.loads(run(tmp_path, BOTH, "explain", "monthly", "-o", "json").stdout)
    assert (value["kind"], value["mayChange"], value["sections"][0]["heading"]) == ("CarbonBudget", False, "Counts")
    assert (value["kinds"], value["enforcementMode"]) == (["Job", "Pod"], "Enforce")


@pytest.mark.parametrize(("code", "label", "off"), [(200, "off", True), (200, "on", False), (403, "off", False)])
def test_explain_says_that_the_namespace_is_left_alone_where_that_may_be_read(
    tmp_path: Path, code: int, label: str, off: bool
) -> None:
    def answer(asked: Asked) -> Said:
        if asked.path.startswith("/api/v1/namespaces/"):
            labels = {"carbonbudget.dev/enforcement": label}
            return Said({"metadata": {"labels": labels}}) if code == 200 else status(code, "x", "x")
        return BOTH(asked)

    said = run(tmp_path, answer, "explain", "monthly").stdout
    assert ("the namespace is labelled carbonbudget.dev/enforcement=off" in said) is off


@pytest.mark.parametrize(
    ("policy", "webhook", "mode"),
    [(200, 404, "Enforce"), (404, 200, "Warn"), (404, 404, "Observe"), (403, 403, None), (404, 403, None)],
)
def test_the_mode_is_seen_by_what_the_chart_installed(
    tmp_path: Path, policy: int, webhook: int, mode: str | None
) -> None:
    def answer(asked: Asked) -> Said:
        if "validatingadmissionpolicies" in asked.path:
            return Said({}, 200) if policy == 200 else status(policy, "x", "x")
        if "validatingwebhookconfigurations" in asked.path:
            return Said({}, 200) if webhook == 200 else status(webhook, "x", "x")
        return BOTH(asked)

    value = json.loads(run(tmp_path, answer, "explain", "monthly", "-o", "json").stdout)
    assert value["enforcementMode"] == mode


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    result = run(tmp_path, BOTH, "explain", "montly")
    assert result.exit_code == 1
    assert result.output == "no CarbonBudget montly in namespace team-a; there is: monthly\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("budgets",), "the role view or carbonbudget-view has; is namespace team-a spelt right?"),
        (("explain", "monthly"), "the role view or carbonbudget-view has; is namespace team-a spelt right?"),
        (("budgets", "-A"), "or leave -A out to see one namespace"),
        (("top", "-A"), "or leave -A out to see one namespace"),
        (("explain", "all", "--cluster"), "the role carbonbudget-cluster-view, bound for the whole cluster, has"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_who_may_not_read_is_told_which_right_is_missing_and_what_to_look_at(
    tmp_path: Path, command: tuple[str, ...], words: str
) -> None:
    result = run(tmp_path, lambda _: status(403, "Forbidden", "no"), *command)
    assert result.exit_code == 1
    assert words in result.output


def test_options_before_the_command_are_said_to_stand_after_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["-n", "team-a", "budgets"])
    assert result.exit_code == 2
    assert "write options after the command: kubectl carbon budgets -n NAMESPACE" in " ".join(result.output.split())


def test_a_name_that_is_elsewhere_is_told_with_the_option_that_finds_it(tmp_path: Path) -> None:
    whole = run(tmp_path, BOTH, "explain", "company")
    assert whole.output.endswith("there is: monthly; a ClusterCarbonBudget has that name: add --cluster\n")
    empty = run(tmp_path, BOTH, "explain", "monthly", "-n", "team-c")
    assert empty.output == (
        "no CarbonBudget monthly in namespace team-c; the namespace has none; -n names another namespace, and "
        "`kubectl carbon budgets -A` shows all\n"
    )

    def hidden(asked: Asked) -> Said:
        return status(403, "Forbidden", "no") if asked.path.endswith("/clustercarbonbudgets") else BOTH(asked)

    assert run(tmp_path, hidden, "explain", "company").output.endswith("there is: monthly\n")


def test_a_team_that_may_not_see_the_clusters_budgets_sees_its_own(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Said:
        return status(403, "Forbidden", "no") if asked.path.endswith("/clustercarbonbudgets") else BOTH(asked)

    result = run(tmp_path, answer, "budgets")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    for command in ("budgets", "top"):
        result = run(tmp_path, cluster_of([], []), command)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no carbon budgets in namespace team-a" in result.stderr
        assert "-A shows all namespaces" in result.stderr
    result = run(tmp_path, cluster_of([an_object("new", given={})], []), "top")
    assert "no budget in namespace team-a names a workload yet" in result.stderr
    assert run(tmp_path, cluster_of([], []), "budgets", "-A").stderr == "no carbon budgets\n"


PRO_RATA = STATUS | {"proRata": ["2026-10-31T23:20:00Z"]}
SENTENCE = "The hour around 2026-11-01 00:20 CET is counted pro rata in time"


@pytest.mark.parametrize("args", [("budgets",), ("top",), ("explain", "monthly")], ids=lambda args: args[0])
def test_a_figure_that_holds_a_part_of_an_hour_by_time_says_so(tmp_path: Path, args: tuple[str, ...]) -> None:
    def said(given: dict[str, Any], *more: str) -> str:
        return run(tmp_path, cluster_of([an_object("monthly", given=given)], []), *args, *more).stdout

    assert SENTENCE in said(PRO_RATA)
    assert said(PRO_RATA).count(SENTENCE) == 1
    assert "pro rata" not in said(STATUS)
    value = json.loads(said(PRO_RATA, "-o", "json"))
    if args[0] == "explain":
        assert any(SENTENCE in line for one in value["sections"] for line in one["sentences"])
    else:
        assert all(item["proRata"] == ["2026-10-31T23:20:00Z"] for item in value["items"])
        assert all(item["proRata"] == [] for item in json.loads(said(STATUS, "-o", "json"))["items"])


def test_a_budget_that_is_not_understood_hides_no_other(tmp_path: Path) -> None:
    broken = {"metadata": {"name": "odd", "namespace": "team-a"}, "spec": {"limit": 5}}
    result = run(tmp_path, cluster_of([broken, an_object("monthly")], []), "budgets")
    assert "monthly" in result.stdout
    assert "CarbonBudget odd is not understood" in result.stderr


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (status(404, "NotFound", "the server could not find the requested resource"), "helm install carbonbudget"),
        (status(403, "Forbidden", 'User "u" cannot list resource "carbonbudgets"'), "cannot list resource"),
        (status(401, "Unauthorized", "Unauthorized"), "renew your credentials"),
        (status(500, "InternalError", "etcd is slow"), "etcd is slow"),
        (Said(raw=b"<html>"), "is not a JSON object"),
        (Said(raw=b"\xff\xfe"), "is not a JSON object"),
    ],
    ids=["no CRD", "no right", "nobody", "5xx", "html", "bytes"],
)
@pytest.mark.parametrize("command", [("budgets",), ("top", "-A"), ("explain", "x")], ids=lambda c: c[0])
def test_an_error_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, said: Said, words: str, command: tuple[str, ...]
) -> None:
    result = run(tmp_path, lambda _: said, *command)
    assert result.exit_code == 1
    assert words in result.output
    assert result.output.count("\n") == 1


def test_no_api_server_is_one_sentence(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    result = CliRunner().invoke(app, ["budgets", "--kubeconfig", str(path)])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


@pytest.mark.parametrize("args", [("budgets", "-A", "-n", "x"), ("explain", "b", "--cluster", "-n", "x")])
def test_options_that_contradict_each_other_are_2(tmp_path: Path, args: tuple[str, ...]) -> None:
    assert run(tmp_path, BOTH, *args).exit_code == 2


@pytest.mark.parametrize("args", [("top",), ("explain", "monthly"), ("budgets",), ("top", "-o", "json")])
def test_what_a_tenant_wrote_is_shown_and_neither_acts_nor_deceives(tmp_path: Path, args: tuple[str, ...]) -> None:
    """Also where the status is of a controller that wrote it as it was."""
    hostile = "\x1b[2J\x1b[31mPWNED\x1b[0m\nDeployment/fake-row  0mg\x1b]0;title\a\u202e"
    tops = [{"kind": "CronJob", "name": hostile, "emissions": "2.2kg", "percent": 44}]
    budget = an_object("monthly", given=STATUS | {"topWorkloads": tops, "message": hostile}, contact=hostile[:64])
    shown = run(tmp_path, cluster_of([budget], []), *args).output
    assert "monthly" in shown
    assert all(is_printable(line) for line in shown.split("\n"))
    assert not any(line.strip().startswith("Deployment/fake-row") for line in shown.split("\n"))
