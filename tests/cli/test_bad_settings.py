"""Every command with settings or a ledger that cannot be used: it ends with a sentence, and nothing is half done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from tests.cli.bad_world import ALONE, FIGURES, LEDGER, PLUGIN, PLUGIN_SERVES, SERVERS, Run, World, assert_refused
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world

from carbonbudget_operator.cli import kubectl, main


def commands(command: object, path: str = "") -> Iterator[str]:
    """All that do something."""
    below = getattr(command, "commands", {})
    if path and (not below or getattr(command, "invoke_without_command", False)):
        yield path
    for name, one in below.items():
        yield from commands(one, f"{path} {name}".strip())


def test_every_command_is_in_the_tables_of_these_files() -> None:
    assert set(commands(typer.main.get_command(main.app))) == {*FIGURES, *LEDGER, *SERVERS, *ALONE}
    assert set(commands(typer.main.get_command(kubectl.app))) == set(PLUGIN) | PLUGIN_SERVES


BAD_SETTINGS = [
    ("none", "cannot be read: No such file"), ("directory", "cannot be read: Is a directory"),
    ("unreadable", "cannot be read"), ("yaml", "is no YAML"),
    ("binary", "is no YAML"), ("list", "must be a mapping"), ("scalar", "must be a mapping"), ("section", "carbon"),
    ("key", "carbn: unknown key: did you mean carbon?"), ("type", "carbon.pue"), ("negative", "server.pod_days"),
]  # fmt: skip
SETTINGS_READERS = [*FIGURES.items(), *LEDGER.items(), *SERVERS.items()]


@pytest.mark.parametrize(("file", "sentence"), BAD_SETTINGS, ids=[name for name, _ in BAD_SETTINGS])
@pytest.mark.parametrize(("name", "args"), SETTINGS_READERS, ids=[name for name, _ in SETTINGS_READERS])
def test_a_settings_file_that_cannot_be_used(
    run: Run, world: World, name: str, args: list[str], file: str, sentence: str
) -> None:
    before = world.snapshot()
    assert_refused(run([*args, "--config", f"{{{file}}}"]), sentence)
    assert world.snapshot() == before


@pytest.mark.parametrize(("file", "sentence"), [*BAD_SETTINGS, ("zone", "mars-1"), ("provider", "acme")])
def test_settings_check_refuses_what_a_server_would(run: Run, file: str, sentence: str) -> None:
    done = run(["settings", "check", f"{{{file}}}"])
    assert_refused(done, sentence)
    assert done.code == 2


@pytest.mark.parametrize("file", ["zone", "provider"])
@pytest.mark.parametrize("name", [*FIGURES, "factors", "server"])
def test_a_zone_or_provider_that_is_none(run: Run, name: str, file: str) -> None:
    args = [*({**FIGURES, **LEDGER, **SERVERS}[name]), "--config", f"{{{file}}}"]
    if name == "server":
        args += ["--ledger", "sqlite:///{ledger}", "--listen", "127.0.0.1:1"]
    assert_refused(run(args + ([] if name == "server" else ["--ledger", "sqlite:///{ledger}"])), "carbon.")


BAD_LEDGERS = [
    ("sqlite:///{none}", ""), ("sqlite:///{directory}", ""), ("sqlite:///{text}", ""), ("sqlite:///{none}/x/y.db", ""),
    ("mysql://u@h/d", "not supported"), ("nonsense", "URL"), ("postgresql+psycopg://me:geheim@127.0.0.1:1/d", "cannot"),
    ("postgresql+psycopg://me:geheim@h:port/d", "URL"), ("sqlite:////\n", "URL"),
]  # fmt: skip


# These make a ledger where there is none.
MAKERS = ("ledger migrate", "ledger import", "ledger restore")


@pytest.mark.parametrize(
    ("name", "url", "sentence"),
    [
        (name, url, sentence) for name in (*FIGURES, *LEDGER) for url, sentence in BAD_LEDGERS
        if not (name in MAKERS and url == "sqlite:///{none}")
    ],
)  # fmt: skip
def test_a_ledger_that_cannot_be_read(run: Run, world: World, name: str, url: str, sentence: str) -> None:
    before = world.snapshot()
    done = run([*({**FIGURES, **LEDGER}[name]), "--ledger", url])
    assert_refused(done, sentence)
    assert "geheim" not in done.err
    assert world.snapshot() == before
