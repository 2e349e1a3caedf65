"""Every command, and every way to give it something bad: it ends with a sentence, and nothing is half done."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import typer
from tests.cli.api_server import Asked, Said, api_server, kubeconfig, status

from carbonbudget_operator.cli import kubectl, main
from carbonbudget_operator.controller.certificates import make_ca
from carbonbudget_operator.ledger.store import migrate, open_ledger

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
# Each with what makes it whole, but for where its figures are from.
FIGURES = {"allocate": ["allocate", *DAYS], "report": REPORT, **CLOSED}
LEDGER = {
    "factors": ["factors"],
    "ledger migrate": ["ledger", "migrate"],
    "ledger check": ["ledger", "check"],
    "ledger backup": ["ledger", "backup", "{new}"],
    "ledger restore": ["ledger", "restore", "{ledger}"],
    "ledger import": ["ledger", "import", "{reports}"],
}
SERVERS = {"server": ["server"], "controller": ["controller"], "admission": ["admission"]}
ALONE = {
    "estimate": ["estimate", "--hours", "1", "--gpu", "A100", "--region", "europe-west4"],
    "release": ["release", "--all"],
    "check": ["check", "-f", "{job}"],
    "settings check": ["settings", "check", "{config}"],
}
PLUGIN = {"budgets": ["budgets"], "top": ["top"], "explain": ["explain", "b"]}


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
        migrate(engine)
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
            "reports": "", "scalar": "7", "unsigned": "not a manifest",
        }  # fmt: skip
        for name, text in files.items():
            (directory / name).write_text(text)
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


def commands(command: object, path: str = "") -> Iterator[str]:
    """All that do something."""
    below = getattr(command, "commands", {})
    if path and (not below or getattr(command, "invoke_without_command", False)):
        yield path
    for name, one in below.items():
        yield from commands(one, f"{path} {name}".strip())


def test_every_command_is_in_the_tables_of_this_file() -> None:
    assert set(commands(typer.main.get_command(main.app))) == {*FIGURES, *LEDGER, *SERVERS, *ALONE}
    assert set(commands(typer.main.get_command(kubectl.app))) == set(PLUGIN)


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


BAD_SETTINGS = [
    ("none", "cannot be read: No such file"), ("directory", "cannot be read: Is a directory"),
    ("unreadable", "cannot be read"), ("yaml", "not YAML"),
    ("binary", "not YAML"), ("list", "must be a mapping"), ("scalar", "must be a mapping"), ("section", "carbon"),
    ("key", "carbn: Extra inputs"), ("type", "carbon.pue"), ("negative", "server.pod_days"),
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


BAD_KUBECONFIGS = [("none", ""), ("directory", ""), ("unreadable", ""), ("text", ""), ("scalar", ""), ("list", "")]
KUBE_USERS = [*[("carbonbudget", name, args) for name, args in [*FIGURES.items(), ("check", ALONE["check"])]],
              *[("kubectl carbon", name, args) for name, args in PLUGIN.items()]]  # fmt: skip


@pytest.mark.parametrize(("file", "sentence"), BAD_KUBECONFIGS)
@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_a_kubeconfig_that_is_none(
    run: Run, program: str, name: str, args: list[str], file: str, sentence: str
) -> None:
    assert_refused(run([*args, "--kubeconfig", f"{{{file}}}"], program), "no Kubernetes credentials")


@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_nothing_that_names_a_cluster_or_a_ledger(run: Run, program: str, name: str, args: list[str]) -> None:
    done = run(args, program)
    assert_refused(done, "no Kubernetes credentials")
    if name in FIGURES:
        assert "--ledger" in done.err


@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_a_context_that_is_none(run: Run, world: World, program: str, name: str, args: list[str]) -> None:
    kubeconfig(world.directory, "http://127.0.0.1:1")
    assert_refused(run([*args, "--kubeconfig", "{kubeconfig}", "--context", "of-nobody"], program), "of-nobody")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "https://no such host", "nonsense"])
@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_an_api_server_that_cannot_be_reached(
    run: Run, world: World, program: str, name: str, args: list[str], url: str
) -> None:
    kubeconfig(world.directory, url)
    done = run([*args, "--kubeconfig", "{kubeconfig}", "--timeout", "5"], program)
    if name == "check":  # its answer is a verdict
        assert (done.code, "unanswerable" in done.out) == (5, True)
        return
    assert_refused(done)


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (status(401, "Unauthorized", "Unauthorized"), "who you are"),
        (status(403, "Forbidden", 'User "u" cannot do it'), "right"),
        (Said(raw=b"<html>", status=502), ""),
        (Said(raw=b"[" * 100_000), ""),
        (Said(raw=b"null"), ""),
        (Said({"kind": "Status", "status": 7, "message": {"a": 1}}, 500), ""),
    ],
    ids=["401", "403", "a proxy's page", "nested", "null", "a strange Status"],
)
@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_an_api_server_that_refuses_or_is_none(
    run: Run, world: World, program: str, name: str, args: list[str], refusal: Said, sentence: str
) -> None:
    def answer(_: Asked) -> Said:
        return refusal

    with api_server(answer, world.directory):
        done = run([*args, "--kubeconfig", "{kubeconfig}"], program)
    if name == "check":
        assert done.code == 5
        assert "Traceback" not in done.out + done.err
        return
    assert_refused(done, sentence)


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    held.append(listening.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in held:
                one.close()


@pytest.mark.parametrize("name", FIGURES)
def test_a_server_that_never_answers_is_given_up_after_the_timeout(run: Run, name: str) -> None:
    with silent() as port:
        done = run([*FIGURES[name], "--server-url", f"http://127.0.0.1:{port}", "--timeout", "0.3"])
    assert_refused(done, "cannot be asked")


@pytest.mark.parametrize(
    "more",
    [
        ["--server-url", "https://127.0.0.1:1"], ["--server-url", "nonsense"], ["--server-url", "ftp://h"],
        ["--server-url", "https://127.0.0.1:1", "--server-ca", "{none}"],
        ["--server-url", "https://127.0.0.1:1", "--server-ca", "{text}"],
        ["--server-url", "https://127.0.0.1:1", "--server-ca", "{directory}"],
        ["--server-url", "https://127.0.0.1:1", "--server-token-file", "{none}"],
        ["--server-url", "https://127.0.0.1:1", "--server-token-file", "{binary}"],
        ["--server-url", "https://127.0.0.1:1", "--server-token-file", "{unreadable}"],
        ["--server-url", "https://127.0.0.1:1", "--ledger", "sqlite:///{ledger}"],
        ["--server-url", "https://127.0.0.1:1", "--config", "{config}"],
        ["--ledger", "sqlite:///{ledger}", "--context", "x"],
        ["--timeout", "0"], ["--timeout", "-1"], ["--timeout", "soon"],
        ["--server-namespace", "No/Name", "--kubeconfig", "{kubeconfig}"],
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("name", FIGURES)
def test_options_of_a_server_that_cannot_be_right(run: Run, world: World, name: str, more: list[str]) -> None:
    kubeconfig(world.directory, "http://127.0.0.1:1")
    assert_refused(run([*FIGURES[name], *more]))


BAD_VALUES = {
    "allocate": [
        ["allocate"], ["allocate", "--from", "2025-01-01"], ["allocate", "--from", "x", "--to", "2025-01-02"],
        ["allocate", "--from", "2025-01-02", "--to", "2025-01-01"], ["allocate", "--from", "", "--to", ""],
        ["allocate", "--from", "2025-13-01", "--to", "2026-01-01"],
        ["allocate", "--from", "0001-01-01T00:00:00+14:00", "--to", "2026-01-01"],
        ["allocate", "--from", "1960-01-01", "--to", "1961-01-01"],
        ["allocate", "--from", "-1", "--to", "2026-01-01"],
        ["allocate", *DAYS, "--group-by", "ns"], ["allocate", *DAYS, "--group-by", "label:"],
        ["allocate", *DAYS, "--filter", "namespace"], ["allocate", *DAYS, "--filter", "namespace="],
        ["allocate", *DAYS, "--filter", "workload=train-a"], ["allocate", *DAYS, "--filter", "namespace=a,namespace=b"],
        ["allocate", *DAYS, "--idle", "nobody"], ["allocate", *DAYS, "--overhead", "nobody"],
        ["allocate", *DAYS, "--shared", "kube-system"], ["allocate", *DAYS, "--shared", "kube-system=a:-1"],
        ["allocate", *DAYS, "--shared", "a=b:x"], ["allocate", *DAYS, "-o", "xml"],
        ["allocate", *DAYS, "--server-url", "http://127.0.0.1:1", "--idle", "even"],
    ],
    "report": [
        ["report"], ["report", "--period", "soon"], ["report", "--period", "2025", "--from", "2025-01-01"],
        ["report", "--from", "2025-01-01"], ["report", "--to", "2025-01-01"], ["report", "--period", "2025-W60"],
        ["report", "--from", "2025-01-02", "--to", "2025-01-01"], ["report", "--period", "2025", "-o", "xml"],
        ["report", "close"], ["report", "close", "soon"], ["report", "close", "2099"], ["report", "show", "2025"],
        ["report", "show", "2025-00"], ["report", "verify", "2025-02-30"], ["report", "verify", "2025"],
        ["report", "export", "2025"], ["report", "export", "soon", "{new}"], ["report", "export", "2025", "{new}"],
        ["report", "reopen", "2025"], ["report", "reopen", "2025", "--reason", " "], ["report", "frobnicate"],
        ["report", "reopen", "2025", "--reason", "x" * 501], ["report", "reopen", "2025", "--reason", "why"],
        ["report", "close", "2025"],
    ],
    "estimate": [
        ["estimate"], ["estimate", "--hours", "-1", "--gpu", "A100"], ["estimate", "--hours", "x", "--gpu", "A100"],
        ["estimate", "--hours", "nan", "--gpu", "A100"], ["estimate", "--hours", "1"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--region", "mars-1"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--zone", "mars-1"], ["estimate", "--hours", "1", "--gpu", "Z80"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--count", "-1"],
        ["estimate", "--hours", "1", "--cpu-cores", "-1"], ["estimate", "--hours", "1", "--gpu", "A100", "--pue", "0"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--basis", "guess"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--usage", "101"],
        ["estimate", "--hours", "1", "--gpu", "A100", "-o", "xml"],
        ["estimate", "--hours", "1e-9", "--gpu", "A100", "--zone", "DE"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--pue", "nan"],
    ],
    "release": [
        ["release"], ["release", "--all", "-n", "a"], ["release", "--budget", "b"],
        ["release", "--all", "--budget", "b"],
        ["release", "--all", "--stop-controller", "x"], ["release", "--all", "--timeout", "0"], ["release", "--all"],
        ["release", "-n", "No/Name"], ["release", "--all", "--kueue", "v9/../x"],
    ],
    "check": [
        ["check"], ["check", "-f", "{none}"], ["check", "-f", "{binary}"], ["check", "-f", "{yaml}"],
        ["check", "-f", "{unreadable}"],
        ["check", "-f", "{scalar}"], ["check", "-f", "{directory}"], ["check", "-f", "{list}"],
        ["check", "-f", "{job}", "-o", "csv"], ["check", "-f", "{job}", "--timeout", "-5"], ["check", "-f", ""],
        ["check", "-f", "{job}", "-n", "No/Name", "--kubeconfig", "{none}"],
    ],
    "servers": [
        [one, *more] for one in SERVERS for more in (
            ["--log-level", "loud"], ["--listen", "nowhere"], ["--listen", "127.0.0.1:99999"], ["--listen", ":1"],
            [], ["--config", "{config}"],
        )
    ] + [
        [one, "--tls-cert", cert, "--tls-key", key] for one in ("server", "admission")
        for cert, key in (("{none}", "{none}"), ("{text}", "{text}"), ("{directory}", "{text}"))
    ],
    "ledger": [
        ["ledger"], ["ledger", "backup"], ["ledger", "restore"], ["ledger", "import"], ["ledger", "frobnicate"],
        ["ledger", "restore", "{none}", "--ledger", "sqlite:///{new}"],
        ["ledger", "restore", "{text}", "--ledger", "sqlite:///{new}"],
        ["ledger", "restore", "{directory}", "--ledger", "sqlite:///{new}"],
        ["ledger", "import", "{none}", "--ledger", "sqlite:///{ledger}"],
        ["ledger", "import", "{directory}", "--ledger", "sqlite:///{ledger}"],
        ["ledger", "import", "{unreadable}", "--ledger", "sqlite:///{ledger}"],
        ["ledger", "restore", "{unreadable}", "--ledger", "sqlite:///{new}"],
    ],
    "settings": [
        ["settings"], ["settings", "check"], ["settings", "check", "{unreadable}"],
        ["settings", "check", "{none}"], ["settings", "check", ""],
        ["settings", "check", "/dev/zero"],
    ],
}  # fmt: skip
ROWS = [args for rows in BAD_VALUES.values() for args in rows]
HELP = (["ledger"], ["settings"])  # a group by itself prints its help, with exit code 2


@pytest.mark.parametrize("args", [row for row in ROWS if row not in HELP], ids=lambda args: " ".join(args)[:100])
def test_a_value_that_cannot_be_right(run: Run, world: World, args: list[str]) -> None:
    before = world.snapshot()
    reads = args[0] in ("allocate", "report", "factors") and "--server-url" not in args
    done = run([*args, "--ledger", "sqlite:///{ledger}"] if reads else args)
    assert_refused(done)
    assert world.snapshot() == before


PLUGIN_ROWS = [
    ["budgets", "-A", "-n", "a"], ["top", "-A", "-n", "a"], ["explain"], ["explain", "b", "--cluster", "-n", "a"],
    ["budgets", "-o", "csv"], ["budgets", "--timeout", "0"], ["budgets", "-n", "No/Name"], ["top", "-n", "No/Name"],
    ["explain", "No/Name", "-n", "a"], ["frobnicate"],
]  # fmt: skip


@pytest.mark.parametrize("args", PLUGIN_ROWS, ids=" ".join)
def test_a_value_of_the_plugin_that_cannot_be_right(run: Run, world: World, args: list[str]) -> None:
    def answer(asked: Asked) -> Said:
        return Said({"items": [], "metadata": {}})

    with api_server(answer, world.directory):
        more = [] if args[0] == "frobnicate" else ["--kubeconfig", "{kubeconfig}"]
        assert_refused(run([*args, *more], "kubectl carbon"))


WRITERS = {
    "ledger backup": (["ledger", "backup"], []),
    "report export": (["report", "export", "2025-11-10"], []),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "target",
    ["{none}/x/file", "{text}/file", "{directory}", "{text}", "/proc/file", "{directory}/" + "n" * 300, "/dev/full"],
)
def test_a_file_that_cannot_be_written(run: Run, world: World, name: str, target: str) -> None:
    closed(world)
    before, text = world.snapshot(), (world.directory / "text").read_text()
    assert_refused(run([*WRITERS[name][0], target, "--ledger", "sqlite:///{ledger}"]), "")
    assert world.snapshot() == before
    assert list((world.directory / "directory").iterdir()) == []
    assert (world.directory / "text").read_text() == text


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_is_full_leaves_nothing(run: Run, world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed(world)
    before = world.snapshot()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("carbonbudget_operator.cli.ledger._copy", full)
    assert_refused(run([*WRITERS[name][0], "{new}", "--ledger", "sqlite:///{ledger}"]), "No space left on device")
    assert world.snapshot() == before


def closed(world: World) -> None:
    """A closed report in the ledger."""
    from carbonbudget_operator.ledger.closed import Closed, close

    engine = open_ledger(f"sqlite:///{world.directory}/ledger.db")
    with engine.begin() as connection:
        close(connection, "default", Closed("2025-11-10", 1, "d" * 64, "{}"))
    engine.dispose()


@pytest.mark.parametrize("command", ["carbonbudget", "kubectl-carbon"])
def test_a_reader_that_leaves_early_is_no_traceback(command: str) -> None:
    """As `carbonbudget --help | head -1`."""
    program = Path(sys.executable).with_name(command)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run((program, "--help"), stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", ["{none}", "{directory}", "{unreadable}", "{text}"])
def test_a_file_to_compare_with_a_closed_report_that_is_none(run: Run, world: World, file: str) -> None:
    from carbonbudget_operator.ledger.closed import Closed, close

    engine = open_ledger(f"sqlite:///{world.directory}/ledger.db")
    with engine.begin() as connection:
        close(connection, "default", Closed("2025-11-10", 1, hashlib.sha256(b"{}").hexdigest(), "{}"))
    engine.dispose()
    assert_refused(
        run(["report", "verify", "2025-11-10", "--file", file, "--ledger", "sqlite:///{ledger}"]),
        "report of 2025-11-10" if "text" in file else "cannot be read",
    )
