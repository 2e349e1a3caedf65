"""`--as` and `--as-group`: every command that uses a kubeconfig asks as another user, as kubectl does."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import yaml
from tests.cli.api_server import Asked, Said, api_server, status
from tests.cli.test_manifests import JOB
from typer.testing import CliRunner

from carbonbudget_operator.cli.kubectl import app as plugin
from carbonbudget_operator.cli.main import app

ADA = ("--as", "ada", "--as-group", "team-a", "--as-group", "readers")
COMMANDS = [
    pytest.param(plugin, ("budgets",), id="kubectl carbon budgets"),
    pytest.param(plugin, ("top",), id="kubectl carbon top"),
    pytest.param(plugin, ("top", "--by", "run"), id="kubectl carbon top --by"),
    pytest.param(plugin, ("explain", "monthly"), id="kubectl carbon explain"),
    pytest.param(plugin, ("transfer", "1g", "--from", "a", "--to", "b/b"), id="kubectl carbon transfer"),
    pytest.param(app, ("check", "-f", "-"), id="check"),
    pytest.param(app, ("allocate", "--from", "2025-07-01", "--to", "2025-07-02"), id="allocate"),
    pytest.param(app, ("usage", "-n", "team-a"), id="usage"),
    pytest.param(app, ("card", "-n", "team-a", "--model", "chat"), id="card"),
    pytest.param(app, ("report", "--period", "2025-07"), id="report"),
    pytest.param(app, ("report", "list"), id="report list"),
]


def asked_by(program: typer.Typer, args: tuple[str, ...], directory: Path) -> list[Asked]:
    """The requests of a command whose API server refuses all of them."""
    asked: list[Asked] = []

    def answer(request: Asked) -> Said:
        asked.append(request)
        return status(403, "Forbidden", 'User "ada" cannot do it')

    with api_server(answer, directory) as path:
        result = CliRunner().invoke(program, [*args, "--kubeconfig", str(path)], input=yaml.safe_dump(JOB))
    assert result.exit_code in (1, 5), result.output
    return asked


@pytest.mark.parametrize(("program", "args"), COMMANDS)
def test_a_command_asks_as_the_user_and_the_groups_that_it_is_given(
    program: typer.Typer, args: tuple[str, ...], tmp_path: Path
) -> None:
    asked = asked_by(program, (*args, *ADA), tmp_path)
    assert asked
    for request in asked:
        found = [(name, value) for name, value in request.headers if name.startswith("Impersonate-")]
        assert found == [
            ("Impersonate-User", "ada"), ("Impersonate-Group", "team-a"), ("Impersonate-Group", "readers"),
        ]  # fmt: skip
        assert ("Authorization", "Bearer t") in request.headers


@pytest.mark.parametrize(("program", "args"), COMMANDS)
def test_without_them_a_command_impersonates_nobody(
    program: typer.Typer, args: tuple[str, ...], tmp_path: Path
) -> None:
    for request in asked_by(program, args, tmp_path):
        assert not [name for name, _ in request.headers if name.startswith("Impersonate-")]


@pytest.mark.parametrize(("program", "args"), COMMANDS)
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--as-group", "team-a"), "--as-group needs --as"),
        (("--as", "ada\nX-Evil: 1"), "--as must be a name of printable ASCII characters"),
        (("--as", "ada", "--as-group", "\x00"), "--as-group must be a name of printable ASCII characters"),
        (("--as", "ada", "--as-group", ""), "--as-group must be a name of printable ASCII characters"),
    ],
    ids=["a group alone", "a line break", "a control character", "nothing"],
)
def test_a_name_that_cannot_be_sent_is_one_sentence_and_exit_code_2(
    program: typer.Typer, args: tuple[str, ...], more: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(program, [*args, *more, "--kubeconfig", str(tmp_path / "none")], input=yaml.dump(JOB))
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert sentence in result.output


def test_impersonation_and_a_ledger_are_two_places_to_ask() -> None:
    given = ("allocate", "--from", "2025-07-01", "--to", "2025-07-02", "--ledger", "sqlite://", "--as", "ada")
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2
    assert "write either --ledger or --as: each names another place" in result.output
