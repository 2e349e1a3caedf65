"""`carbonbudget usage` and `kubectl carbon top --by`: from the ledger, and from a server by the kubeconfig."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.api_server import Asked, Said, api_server
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli.kubectl import app as plugin
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.printable import is_printable
from carbonbudget_operator.run_labels import MODEL, RUN, STAGE

FROM = ("--from", "2025-11-24T16:00:00Z", "--to", "2025-11-24T18:00:00Z")
SERVICE = "/services/https:carbonbudget-server:8443/proxy"


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    for node, labels in (
        ("n1", {RUN: "exp-1", MODEL: "chat", STAGE: "training", "experiment": "x"}),
        ("n2", {RUN: "exp-2", MODEL: "chat", "experiment": "x"}), ("n3", {MODEL: "chat", STAGE: "inference"}),
        ("n4", {"experiment": "x"}),
    ):  # fmt: skip
        book(Booker(engine), a_report(HOUR, node, {f"pod-{node}": 10**12}, labels=labels))
    engine.dispose()
    return url


def used(ledger: str, *args: str) -> Result:
    return CliRunner().invoke(app, ["usage", "-n", "team-a", *FROM, "--ledger", ledger, *args])


def test_usage_answers_without_a_budget_by_run_and_model(ledger: str) -> None:
    lines = used(ledger, "-l", "experiment=x").stdout.splitlines()
    assert lines[0].split()[:6] == ["RUN", "MODEL", "VERSION", "STAGE", "PODS", "START"]
    assert [line.split()[0] for line in lines[1:5]] == ["-", "exp-1", "exp-2", "total"]
    assert lines[2].split()[1:5] == ["chat", "-", "training", "1"]
    assert lines[4].split()[:2] == ["total", "3"]
    assert lines[-1].startswith("covers 2025-11-24 16:00 UTC to 2025-11-24 18:00 UTC")


def test_usage_as_json_and_csv_has_the_same_figures(ledger: str) -> None:
    answer = json.loads(used(ledger, "-o", "json").stdout)
    assert answer["total"]["pods"] == 4
    assert sum(int(row["energy_uj"]) for row in answer["rows"]) == int(answer["total"]["energy_uj"])
    assert answer["settings"]
    rows = list(csv.DictReader(io.StringIO(used(ledger, "-o", "csv").stdout)))
    assert [row["energy_uj"] for row in rows] == [row["energy_uj"] for row in answer["rows"]]
    assert [row["run"] for row in rows] == [row["run"] or "" for row in answer["rows"]]


def test_usage_of_no_pod_says_so_and_is_no_error(ledger: str) -> None:
    result = used(ledger, "-l", "experiment=y")
    assert result.exit_code == 0
    assert "note: no pod of namespace team-a with experiment=y is in that time" in result.stderr


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("-l", "experiment!=x"), "other selectors are not answered"), (("-l", "a in (b)"), "other selectors"),
        (("-l", "a=1,a=2"), "labels name a twice"), (("-n", "No/Name"), "can be no namespace's name"),
        (("--window", "7d"), "give --window, or --from"), (("--service-account", "a/b"), "through the API server"),
        (("--to", "2025-01-01"), "--from must be before --to"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_sentence_and_exit_code_2(
    ledger: str, args: tuple[str, ...], sentence: str
) -> None:
    result = used(ledger, *args)
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert sentence in result.output


def row(run: str | None, ug: int, **more: object) -> dict[str, Any]:
    return {
        "namespace": "team-a", "run": run, "model": "chat", "model_version": None, "stage": None, "pods": 2,
        "start": "2026-11-24T10:00:00Z", "end": "2026-11-24T12:00:00Z", "state": "final", "energy_uj": "3600000000000",
        "location_ug": str(ug), "market_ug": str(ug), "embodied_ug": "0", "measured_percent": 40, **more,
    }  # fmt: skip


def page(rows: list[dict[str, Any]], following: str | None = None) -> dict[str, Any]:
    total = {
        "energy_uj": "0",
        "location_ug": "0",
        "market_ug": "0",
        "embodied_ug": "0",
        "measured_percent": 0,
        "pods": 0,
    }
    around = {"start": "2026-11-24T00:00:00Z", "end": "2026-11-25T00:00:00Z", "total": total}
    return around | {"rows": rows, "next": following}


class Server:
    """The API server and behind it the server, with pages of runs."""

    def __init__(self, *pages: dict[str, Any], refusal: Said | None = None) -> None:
        self.pages, self.refusal = list(pages), refusal
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Said:
        self.asked.append(asked)
        if asked.path.endswith("/token"):
            return Said({"status": {"token": "abc"}}, 201)
        return self.refusal or Said(self.pages.pop(0))


def top(server: Server, directory: Path, *args: str) -> Result:
    with api_server(server, directory, namespace="team-a") as path:
        return CliRunner().invoke(plugin, ["top", *args, "--kubeconfig", str(path)])


def test_top_by_run_shows_the_largest_of_all_pages_first(tmp_path: Path) -> None:
    server = Server(page([row("small", 10**6), row("evil\x1b[31m", 5)], "more"), page([row("large", 10**9)]))
    result = top(server, tmp_path, "--by", "run", "--limit", "2")
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "NAMESPACE", "RUN", "MODEL", "VERSION", "STAGE", "PODS", "START", "END", "ENERGY", "CO2E", "MARKET", "EMBODIED",
        "MEASURED", "STATE",
    ]  # fmt: skip
    assert [line.split()[1] for line in lines[1:3]] == ["large", "small"]
    assert lines[1].split()[8:11] == ["1.00", "kWh", "1kg"]
    assert "note: 2 of 3 rows" in result.stderr
    assert all(is_printable(line) for line in lines)
    paths = [asked.path for asked in server.asked]
    assert paths[0].endswith("/namespaces/carbonbudget-system/serviceaccounts/carbonbudget-reports/token")
    assert f"/namespaces/carbonbudget-system{SERVICE}/api/v1/runs" in paths[1]
    assert {"namespace=team-a", "window=7d"} <= set(server.asked[1].query.split("&"))
    assert "cursor=more" in server.asked[3].query


def test_top_by_model_is_by_namespace_and_model_and_leaves_out_pods_without(tmp_path: Path) -> None:
    rows = [row(None, 5), row(None, 7, model="__unlabelled__"), row(None, 9, namespace="__idle__", model="__idle__")]
    server = Server(page(rows))
    found = json.loads(top(server, tmp_path, "--by", "model", "-o", "json", "--window", "30d").stdout)["rows"]
    assert [(one["namespace"], one["model"]) for one in found] == [("team-a", "chat")]
    assert {"by=model", "window=30d"} <= set(server.asked[1].query.split("&"))


def test_a_tenant_asks_with_the_token_of_its_own_account(tmp_path: Path) -> None:
    server = Server(page([]))
    result = top(server, tmp_path, "--by", "run", "--service-account", "team-a/reader")
    assert result.exit_code == 0, result.output
    assert "no pod of namespace team-a had the label carbonbudget.dev/run" in result.stderr
    assert server.asked[0].path.endswith("/namespaces/team-a/serviceaccounts/reader/token")
    assert "/namespaces/carbonbudget-system/services/" in server.asked[1].path


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (Said({"detail": "dev may not get carbonbudgets in namespace team-a"}, 403), "dev may not get carbonbudgets"),
        (Said({"detail": "Not Found"}, 404), "the server is of an earlier version: it has no /api/v1/runs"),
        (Said({"detail": "all workers are busy"}, 503), "the server could not answer: all workers are busy; try again"),
        (Said({"rows": [7], "total": {}, "next": None}), "the answer has another form than this version prints"),
    ],
)
def test_a_refusal_is_one_sentence_and_exit_code_1(refusal: Said, sentence: str, tmp_path: Path) -> None:
    result = top(Server(refusal=refusal), tmp_path, "--by", "run")
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert sentence in result.output
