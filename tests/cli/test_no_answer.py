"""What `report` and `allocate` say where there is no answer: a refusal of the server, or a period in the future."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.api_server import Asked, Said, api_server, status
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app

LIST = ("report", "list")


def said_to(answer: Said, directory: Path, *args: str) -> str:
    """The sentence of a command whose server, or whose API server, answers so. It ends with exit code 1."""

    def answers(asked: Asked) -> Said:
        if asked.path.endswith("/token"):
            return Said({"status": {"token": "abc"}}, 201)
        return answer

    with api_server(answers, directory) as path:
        result = CliRunner().invoke(app, [*args, "--kubeconfig", str(path)])
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    return result.output.strip()


@pytest.mark.parametrize("code", [403, 404, 409, 422])
def test_a_refusal_is_the_servers_own_sentence(code: int, tmp_path: Path) -> None:
    reason = "2026-Q1 is closed already: `carbonbudget report show 2026-Q1` prints it"
    assert said_to(Said({"reason": reason}, code), tmp_path, *LIST) == reason


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Said({"reason": "the token has ended"}, 401), "the server does not accept your token: the token has ended"),
        (Said({"reason": "all workers are busy"}, 503), "the server could not answer: all workers are busy; try again"),
        (Said({}, 422), "the server answered 422 and gave no reason: is that the carbonbudget server?"),
        (Said({"reason": 5}, 500), "the server answered 500 and gave no reason: is that the carbonbudget server?"),
        (Said({"other": 1}), "the answer holds no report: is that the carbonbudget server?"),
        (status(422, "Invalid", "it is invalid"), "the API server refuses the request: it is invalid"),
        (
            status(500, "InternalError", "etcd is slow"),
            "the API server could not answer (500): etcd is slow; try again",
        ),
    ],
    ids=["401", "503", "no reason", "no text", "another answer", "API server 422", "API server 500"],
)
def test_other_failures_say_what_happened_and_what_to_do(answer: Said, sentence: str, tmp_path: Path) -> None:
    assert said_to(answer, tmp_path, *LIST) == sentence


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize(
    ("args", "start"),
    [
        (("report", "--period", "2190-Q1"), "2190-01-01 00:00 UTC"),
        (("report", "--from", "2190-01-01T12:00Z", "--to", "2190-01-02"), "2190-01-01 12:00 UTC"),
        (("allocate", "--from", "2190-01-01", "--to", "2190-01-02"), "2190-01-01 00:00 UTC"),
    ],
    ids=["a period", "a span", "allocate"],
)
def test_a_period_in_the_future_is_one_sentence_and_exit_code_1(args: tuple[str, ...], start: str, form: str) -> None:
    result = CliRunner().invoke(app, [*args, "-o", form])
    assert result.exit_code == 1
    assert result.output == f"the period begins at {start}, which is in the future; no data\n"


def test_a_period_that_has_begun_is_asked_for(tmp_path: Path) -> None:
    answer = Said(raw=json.dumps({"reason": "asked"}).encode(), status=422)
    assert said_to(answer, tmp_path, "report", "--from", "2026-01-01", "--to", "2190-01-01") == "asked"
