"""Exit codes mean one thing in all commands: 0 done, 1 not done or a negative answer, 2 wrong use (docs/commands)."""

from __future__ import annotations

import hashlib
import json

import pytest
import typer
from tests.cli.api_server import kubeconfig
from tests.cli.bad_world import ALONE, DAYS, FIGURES, LEDGER, PLUGIN, PLUGIN_SERVES, SERVERS, Run, World
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world
from tests.cli.test_bad_settings import commands
from tests.conftest import ROOT
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.cli import kubectl, main
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.closed_reports import ClosedReport, close_report
from carbonbudget_operator.ledger.ledger_engine import open_ledger

HERE = ["--ledger", "sqlite:///{ledger}"]
AWAY = ["--ledger", "postgresql+psycopg://me@127.0.0.1:1/d"]
SILENT = ["--server-url", "http://127.0.0.1:1"]
PROXY = ALONE["opencost-proxy"]
MADE_ANEW = ("ledger migrate", "ledger import", "ledger restore")  # where there is no ledger yet

DONE = {
    **{
        name: [*FIGURES[name], *HERE]
        for name in ("allocate", "export", "usage", "report", "report list", "external import", "external list")
    },
    **{name: [*args, *HERE] for name, args in LEDGER.items() if name != "ledger restore"},
    "ledger restore": ["ledger", "restore", "{ledger}", "--ledger", "sqlite:///{new}"],
    "estimate": ALONE["estimate"],
    "settings check": ALONE["settings check"],
}
NOT_DONE = [
    *[[*args, *SILENT] for args in FIGURES.values()],
    *[[*args, *AWAY] for args in (*FIGURES.values(), *LEDGER.values())],
    *[[*FIGURES[name], *HERE] for name in ("card", "report close", "report show", "report verify", "report reopen")],
    ["report", "verify", "2025-11-10", "--file", "{text}", *HERE],  # the closed one has another hash
    ["report", "close", "2099", *HERE],
    [*FIGURES["external remove"], *HERE],
    [*ALONE["spans import"], *SILENT],
    [*ALONE["when"], *SILENT],
    ["ledger", "import", "{refused}", *HERE],
    ["release", "--all"],
    ALONE["bridge"],
]
WRONG = [
    *[
        [*args, *more]
        for args in FIGURES.values()
        for more in (
            ["--config", "{none}"], ["--ledger", "nonsense"], ["--server-url", "nonsense"], ["--kubeconfig", "{none}"],
        )
    ],
    *[
        [*FIGURES["report show"], *more]
        for more in (
            ["--config", "{zone}", *HERE], ["--ledger", "mysql://u@h/d"],
            ["--ledger", "sqlite:///{none}"], ["--ledger", "sqlite:///{text}"],
            ["--server-url", "ftp://h"], ["--server-url", "https://"],
            [*SILENT, "--server-token-file", "{none}"], [*SILENT, "--server-token-file", "{yaml}"],
            ["--server-url", "https://127.0.0.1:1", "--server-ca", "{none}"],
            ["--kubeconfig", "{malformed}"], ["--kubeconfig", "{kubeconfig}", "--context", "nobody"],
            ["--kubeconfig", "{kubeconfig}", "--server-namespace", "No/Name"], [], [*HERE, *SILENT],
        )
    ],
    *[
        [*args, *more]
        for name, args in LEDGER.items()
        for more in (
            ["--config", "{none}"], ["--ledger", "nonsense"], ["--ledger", "sqlite:///{text}"],
            ["--ledger", "sqlite:///{directory}"], ["--ledger", "postgresql+psycopg://me@h:port/d"],
            *([] if name in MADE_ANEW else [["--ledger", "sqlite:///{none}"]]),
        )
    ],
    ["factors", "--config", "{zone}", *HERE],
    *[[*command, target, *HERE] for command in (["ledger", "backup"], ["report", "export", "2025-11-10"])
      for target in ("{text}", "{directory}", "{none}/x/file", "{text}/file", "/proc/file")],
    ["report", "verify", "2025-11-10", "--file", "{none}", *HERE],
    ["ledger", "migrate", "--to", "9999", *HERE],
    ["ledger", "restore", "{none}", "--ledger", "sqlite:///{new}"],
    ["ledger", "restore", "{text}", "--ledger", "sqlite:///{new}"],
    ["ledger", "restore", "{ledger}", *HERE],  # it is not empty
    ["ledger", "import", "{none}", *HERE],
    *[["external", "import", file, "--format", "aws", *HERE]
      for file in ("{none}", "{directory}", "{unreadable}", "{text}", "{binary}", "{emissions}")],
    [*FIGURES["external import"], "-o", "csv", *HERE], ["external", "import", "{emissions}", "--format", "xml", *HERE],
    ["external", "remove", "codecarbon", "--reason", "why", *HERE],
    ["external", "remove", "codecarbon/00000000", "--reason", " ", *HERE],
    ["allocate", *DAYS[:2], *HERE], ["allocate", *DAYS, "--filter", "x", *HERE], ["report", *HERE],
    *[[name, *more] for name in SERVERS for more in (
        ["--config", "{none}"], ["--log-level", "loud"], ["--listen", "nowhere"])],
    ["server", "--config", "{zone}"], ["controller", "--listen", "127.0.0.1:1"], ["admission"],
    ["bridge"], ["bridge", "excel"], ["bridge", "comet"], [*ALONE["bridge"], "--interval", "soon"],
    ["opencost-proxy"], [*PROXY, "--listen", "nowhere"], [*PROXY, "--server-url", "http://h"],
    *[[*ALONE[f"token {name}"], "--kubeconfig", "{malformed}"] for name in ("create", "list", "revoke")],
    ["token", "create"], ["token", "create", "--namespaces", "No/Name"], ["token", "revoke"],
    ["spans", "import", "{spans}"], [*ALONE["spans import"], "--kubeconfig", "{malformed}"],
    [*ALONE["spans import"], *HERE], ["spans", "import", "{spans}", "-n", "team-b", "--ledger", "nonsense"],
    *[["spans", "import", file, "-n", "team-a", *SILENT]
      for file in ("{none}", "{directory}", "{unreadable}", "{text}", "{binary}", "{reports}")],
    ["estimate", "--hours", "1"], ["release"], ["gate", "-n", "team-a", "--run", "exp-1", "--max", "5"],
    ["release", "-n", "No/Name"], ["check", "-f", "{none}"],
    [*ALONE["when"], *HERE], [*ALONE["when"], "--finish-by", "2020-01-01", *SILENT],
    *[["when", "-f", file, "--finish-by", "2999-01-01", *SILENT] for file in ("{none}", "{directory}", "{text}")],
    ["settings", "check", "{none}"], ["settings", "check", "{zone}"], ["settings", "check", "{key}"], ["frobnicate"],
]  # fmt: skip


@pytest.fixture
def filled(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """With a closed report in the ledger, a report that is refused, and a kubeconfig of nobody."""
    engine = open_ledger(f"sqlite:///{world.directory}/ledger.db")
    with engine.begin() as connection:
        close_report(connection, "default", ClosedReport("2025-11-10", 1, hashlib.sha256(b"{}").hexdigest(), "{}"))
    engine.dispose()
    (world.directory / "refused").write_text(encode_report(a_report(HOUR, "n", {"p": 7})))
    kubeconfig(world.directory, "nonsense").rename(world.directory / "malformed")
    kubeconfig(world.directory, "http://127.0.0.1:1")
    return world


@pytest.mark.parametrize("name", DONE)
def test_what_is_done_ends_with_0(run: Run, world: World, name: str) -> None:
    done = run(DONE[name])
    assert done.code == 0, done.err


@pytest.mark.parametrize("args", NOT_DONE, ids=" ".join)
def test_what_could_not_be_done_or_is_negative_ends_with_1(
    run: Run, filled: World, args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if args[0] == "release":
        monkeypatch.setenv("KUBECONFIG", filled.path("kubeconfig"))
    done = run(args)
    assert done.code == 1, done


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_use_ends_with_2(run: Run, filled: World, args: list[str]) -> None:
    done = run(args)
    assert done.code == 2, done


@pytest.mark.parametrize("args", PLUGIN.values(), ids=" ".join)
def test_the_plugin_has_the_same_codes(run: Run, filled: World, args: list[str]) -> None:
    assert run([*args, "--kubeconfig", "{kubeconfig}"], "kubectl carbon").code == 1
    for more in (["{none}"], ["{malformed}"], ["{kubeconfig}", "-n", "No/Name"]):
        assert run([*args, "--kubeconfig", *more], "kubectl carbon").code == 2, more


def test_every_command_is_in_the_tables_of_this_file() -> None:
    tried = {" ".join(args) for args in WRONG}
    for name in commands(typer.main.get_command(main.app)):
        assert any(args.startswith(name) for args in tried), name
    assert set(commands(typer.main.get_command(kubectl.app))) == set(PLUGIN) | PLUGIN_SERVES


@pytest.mark.parametrize("name", [*FIGURES, "factors"])
def test_a_cluster_that_the_ledger_has_not_is_answered_with_those_it_has(run: Run, filled: World, name: str) -> None:
    engine = open_ledger(f"sqlite:///{filled.directory}/ledger.db")
    book(Booker(engine), a_report(HOUR, "n", {"p": 7}))
    engine.dispose()
    (filled.directory / "other").write_text(json.dumps({"cluster": "prodd"}))
    done = run([*{**FIGURES, **LEDGER}[name], "--config", "{other}", *HERE])
    assert done.code == 2
    assert done.err.startswith("the ledger has no cluster 'prodd', only ")
    assert "default" in done.err
    assert done.out == ""


def test_a_restore_onto_a_ledger_that_is_not_empty_says_so_and_what_to_do(run: Run, filled: World) -> None:
    done = run(["ledger", "restore", "{ledger}", *HERE])
    assert done.err.startswith(f"the target ledger sqlite:///{filled.directory}/ledger.db is not empty")
    assert "--ledger" in done.err
    assert "closed_report" not in done.err


def test_the_codes_are_defined_once() -> None:
    text = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert text.count("## Exit codes") == 1
    section = text.partition("## Exit codes")[2].partition("\n## ")[0]
    assert [line[:5] for line in section.splitlines() if line[2:3].isdigit()] == ["| 0 |", "| 1 |", "| 2 |"]
