"""Values that options refuse: one sentence of ours for each, whatever the command; and the order of the help."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from carbonbudget_operator.cli import kubectl, main

CLUSTER_AND_OWN = {"carbonbudget": main.app, "kubectl carbon": kubectl.app}


def options(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and the parameter of every option that takes one of several words, or a number."""
    for param in command.params:
        kinds = get_args(param.type_descriptor.annotation) or (param.type_descriptor.annotation,)
        named = param.opts[0].startswith("-") and not param.is_flag
        if named and any(isinstance(kind, type) and issubclass(kind, (Enum, int, float)) for kind in kinds):
            yield path, param
    for name, below in getattr(command, "commands", {}).items():
        yield from options(below, (*path, name))


def refused(app: typer.Typer, *args: str) -> str:
    done = CliRunner().invoke(app, list(args))
    assert done.exit_code == 2, args
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("program", CLUSTER_AND_OWN)
def test_every_option_says_what_it_takes_and_names_the_value(program: str) -> None:
    app = CLUSTER_AND_OWN[program]
    found = list(options(typer.main.get_command(app)))
    assert len(found) > 10
    for path, param in found:
        name = max(param.opts, key=len)
        said = refused(app, *path, name, "fo\x1bo")
        assert said.startswith(f"Error: {name} must be "), (path, said)
        assert "Input should" not in said
        assert said.endswith(", not 'fo\\x1bo'"), (path, said)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("report", "-o", "xml"), "--output must be table, json, csv or html, not 'xml'"),
        (("estimate", "--hours", "3", "--count", "0"), "--count must be a number from 1 to 100000, not '0'"),
        (("estimate", "--hours", "3", "--pue", "9"), "--pue must be a number from 1 to 5, not '9'"),
        (("token", "revoke", "x"), "NUMBER must be a whole number, not 'x'"),
        (("token", "revoke", "0"), "NUMBER must be 1 or more, not '0'"),
    ],
)
def test_a_refused_value_is_told_in_one_sentence(args: tuple[str, ...], sentence: str) -> None:
    assert refused(main.app, *args) == f"Error: {sentence}"


def test_other_wrong_use_is_told_as_before() -> None:
    assert "Missing" in refused(main.app, "token", "revoke")
    assert "No such option" in refused(main.app, "estimate", "--hourz", "3")


def test_the_help_has_what_teams_use_first_and_the_processes_last() -> None:
    text = CliRunner().invoke(main.app, ["--help"]).stdout.partition("Commands:")[2]
    names = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2:3].strip()]
    assert names[:6] == ["check", "usage", "report", "when", "gate", "estimate"]
    assert names[-5:] == ["server", "controller", "admission", "web", "opencost-proxy"]
    assert sorted(names) == sorted(set(names))


def test_place_and_hours_are_checked_before_what_is_estimated() -> None:
    """Who corrects one mistake meets no second one that was there from the start."""
    for args, word in (
        (("--hours", "0"), "--hours"), (("--hours", "3", "--zone", "XX"), "XX"), (("--hours", "3"), "--gpu"),
    ):  # fmt: skip
        assert word in refused(main.app, "estimate", *args)
