"""Every command with what makes it whole, and a directory with something of everything that can be wrong."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from tests.databases import make_tables
from tests.external.given import content as external

from carbonbudget_operator.cli import kubectl, main
from carbonbudget_operator.controller.certificates import make_ca
from carbonbudget_operator.ledger.ledger_engine import open_ledger

DAYS = ["--from", "2025-11-10", "--to", "2025-11-11"]
REPORT = ["report", "--period", "2025-11"]
CLOSED = {
    "report close": ["report", "close", "2025-11"],
    "report list": ["report", "list"],
    "report show": ["report", "show", "2025-11"],
    "report verify": ["report", "verify", "2025-11"],
    "report export": ["report", "export", "2025-11", "{new}"],
    "report reopen": ["report", "reopen", "2025-11", "--reason", "why"],
}
EXTERNAL = {
    "external import": ["external", "import", "{emissions}", "--format", "codecarbon"],
    "external list": ["external", "list"],
    "external remove": ["external", "remove", "codecarbon/00000000", "--reason", "why"],
}
# Each with what makes it whole, but for where its figures are from.
EXPORT = ["export", "--format", "csv", *DAYS, "--step", "all"]
USAGE = ["usage", "-n", "team-a", *DAYS]
CARD = ["card", "-n", "team-a", "--model", "chat", *DAYS]
FIGURES = {
    "allocate": ["allocate", *DAYS], "export": EXPORT, "usage": USAGE, "card": CARD, "report": REPORT, **CLOSED,
    **EXTERNAL,
}  # fmt: skip
LEDGER = {
    "factors": ["factors"],
    "ledger migrate": ["ledger", "migrate"],
    "ledger check": ["ledger", "check"],
    "ledger backup": ["ledger", "backup", "{new}"],
    "ledger restore": ["ledger", "restore", "{ledger}"],
    "ledger import": ["ledger", "import", "{reports}"],
}
SERVERS = {"server": ["server"], "controller": ["controller"], "admission": ["admission"], "web": ["web"]}
ALONE = {
    "estimate": ["estimate", "--hours", "1", "--gpu", "A100", "--region", "europe-west4"],
    "release": ["release", "--all"],
    "check": ["check", "-f", "{job}"],
    "when": ["when", "-f", "{job}", "--finish-by", "2999-01-01", "--duration", "1h"],
    "gate": ["gate", "-n", "team-a", "--run", "exp-1", "--max", "5kg"],
    "settings check": ["settings", "check", "{config}"],
    "opencost-proxy": [
        "opencost-proxy",
        "--server-url",
        "https://h",
        "--server-ca",
        "{none}",
        "--server-token-file",
        "{none}",
    ],
    "bridge": ["bridge", "mlflow", "--tracking-uri", "http://127.0.0.1:1"],
    "token create": ["token", "create", "--namespaces", "team-a"],
    "token list": ["token", "list"],
    "token revoke": ["token", "revoke", "1"],
    "spans import": ["spans", "import", "{spans}", "-n", "team-a"],
}
PLUGIN = {
    "budgets": ["budgets"], "top": ["top"], "explain": ["explain", "b"],
    "transfer": ["transfer", "5kg", "--from", "a", "--to", "team-b/b"],
}  # fmt: skip
PLUGIN_SERVES = {"ui"}  # shows a cluster that does not answer as a page, until Ctrl-C (test_ui.py)


POD = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": POD}}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@cache
def empty_ledger() -> bytes:
    """Made once: migrations take longer than a command."""
    with tempfile.TemporaryDirectory() as directory:
        engine = open_ledger(f"sqlite:///{directory}/ledger.db")
        make_tables(engine)
        engine.dispose()
        return Path(directory, "ledger.db").read_bytes()


class World:
    """A directory with something of everything that can be wrong."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "ledger.db").write_bytes(empty_ledger())
        files = {
            "config": "carbon: {zone: DE}", "zone": "carbon: {zone: mars-1}", "section": "carbon: [1]", "list": "- a",
            "key": "carbn: {}", "type": "carbon: {pue: much}", "yaml": "a: [", "negative": "server: {pod_days: -1}",
            "provider": "carbon: {provider: acme}", "text": "this is no database, nor a certificate, nor YAML: [",
            "job": json.dumps(JOB),
            "spans": '{"id": "a", "name": "epoch", "start_ms": 0, "end_ms": 1, "pod_uid": "u"}',
            "reports": "", "scalar": "7", "unsigned": "not a manifest",
        }  # fmt: skip
        for name, text in files.items():
            (directory / name).write_text(text)
        (directory / "emissions").write_bytes(external("codecarbon-2.csv"))
        (directory / "binary").write_bytes(b"\xff\xfe\x00")
        (directory / "directory").mkdir()
        (directory / "unreadable").symlink_to("/proc/self/mem")  # opens, and gives an error: to root too
        (directory / "other-ca").write_text(make_ca(_now()).certificate)

    def path(self, name: str) -> str:
        """`none` is not there, `new` can be made."""
        return str(self.directory / name)

    def filled(self, args: list[str]) -> list[str]:
        names = {path.name: str(path) for path in self.directory.iterdir()}
        return [arg.format(new=self.path("new"), none=self.path("none"), ledger=self.path("ledger.db"), **{
            name: path for name, path in names.items() if name.isidentifier()
        }) for arg in args]  # fmt: skip

    def snapshot(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()} - {"ledger.db-wal", "ledger.db-shm"}


def _now() -> object:
    import datetime as dt

    return dt.datetime.now(dt.UTC)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in [name for name in os.environ if name.startswith(("CARBONBUDGET_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))  # no kubeconfig of whoever runs this
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "nowhere/config"))
    (tmp_path / "world").mkdir()
    return World(tmp_path / "world")


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(args: list[str], program: str = "carbonbudget") -> Done:
        monkeypatch.setattr(sys, "argv", [program, *world.filled(args)])
        capsys.readouterr()
        code = 0
        try:
            (main if program == "carbonbudget" else kubectl).main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call


def assert_refused(done: Done, sentence: str = "") -> None:
    """One line, or click's usage with one; nothing on stdout."""
    assert done.code not in (0, None), done
    assert "Traceback" not in done.err
    lines = done.err.strip().splitlines()
    if lines and lines[0].startswith("Usage: "):
        assert lines[-1].startswith("Error: "), done.err
        lines = lines[-1:]
    assert len(lines) == 1, done
    assert len(lines[0]) > 12
    assert sentence in lines[0], lines[0]
    assert done.out == ""
