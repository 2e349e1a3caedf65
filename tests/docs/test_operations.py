"""What examples/16-backup-and-restore runs in a pod, run here: the scripts as they are, with other directories."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT
from tests.databases import make_tables
from tests.e2e.conftest import wait_for
from tests.ledger.reports import HOUR, a_report, book
from tests.postgres import PostgresServer

from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger

# Makes what is named last for `backup`; a check fails where BAD is in the copy's place.
STUB = """#!/bin/sh
case "$*" in
  *"ledger backup"*) for last; do :; done; cp "$CONTENT" "$last";;
  *"ledger check"*) for last; do :; done; ! grep -q bad "${last#sqlite:///}";;
esac
"""


class Pod:
    """A pod's directories below one of ours."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.backups, self.ledger = place / "backups", place / "ledger"
        for directory in (self.backups, self.ledger, place / "scratch"):
            directory.mkdir()
        (place / "config.yaml").write_text(f"cluster: x\nserver:\n  ledger: sqlite:///{self.ledger}/ledger.db\n")
        self.path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(self, example: str, command: list[str] | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """The container's command with its variables, and `env` laid over them."""
        container = containers(example)[0]
        given = {one["name"]: self.here(one["value"]) for one in container.get("env", ()) if "value" in one}
        own = [*container.get("command", ["carbonbudget"]), *container["args"]]
        return subprocess.run(
            [self.here(word) for word in command or own],
            env={"PATH": self.path, **given, **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def here(self, text: str) -> str:
        """Its paths, as they are here."""
        text = text.replace("/etc/carbonbudget/config/config.yaml", f"{self.place}/config.yaml")
        text = text.replace("/var/lib/carbonbudget", str(self.ledger))
        return re.sub(r"(?<![\w.-])/(backups|scratch)\b", rf"{self.place}/\1", text)

    def copies(self) -> list[str]:
        return sorted(found.name for found in self.backups.glob("ledger-*Z.db"))


def containers(example: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = pod_spec(example)["containers"]
    return listed


def pod_spec(example: str) -> dict[str, Any]:
    for found in yaml.safe_load_all((ROOT / "examples" / "16-backup-and-restore" / example).read_text()):
        if found["kind"] in ("CronJob", "Job"):
            job = found["spec"].get("jobTemplate", found)["spec"]
            spec: dict[str, Any] = job["template"]["spec"]
            return spec
    raise LookupError(example)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def passes(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_copy_is_made_restored_and_taken_back_to_an_earlier_schema(pod: Pod) -> None:
    config = {"CARBONBUDGET_CONFIG": f"{pod.place}/config.yaml"}
    command = [Path(sys.executable).parent / "carbonbudget", "ledger", "migrate"]
    passes(subprocess.run(command, env=os.environ | config, capture_output=True, text=True, check=False))
    assert "conserves" in passes(pod.run("backup.yaml"))
    (copy,) = pod.copies()
    passes(pod.run("restore.yaml", BACKUP=copy))
    assert len(list(pod.ledger.glob("before-restore-*/ledger.db"))) == 1
    assert "schema 0008" in passes(pod.run("downgrade.yaml"))
    done = pod.run("restore.yaml", BACKUP="none.db")
    assert (done.returncode, copy in done.stdout) == (1, True)
    assert (pod.ledger / "ledger.db").is_file()


def test_a_ledger_moves_to_postgresql_as_it_is(pod: Pod, postgres: PostgresServer) -> None:
    engine = open_ledger(f"sqlite:///{pod.ledger}/ledger.db")
    make_tables(engine)
    book(Booker(engine), *(a_report(HOUR + 60 * i, f"n{i % 3}", {f"p{i}": 5}) for i in range(30)))
    database = {"CARBONBUDGET_LEDGER": postgres.database()}
    former, moved, new = passes(pod.run("to-postgresql.yaml", **database)).splitlines()
    assert former == new == f"3 nodes, 30 windows, 3 node slices, 30 pods, {30 * 705} uJ: conserves to the microjoule"
    assert moved.startswith(f"{pod.ledger}/ledger.db is restored")
    engine.dispose()
    assert "is not empty" in pod.run("to-postgresql.yaml", **database).stderr


def test_the_ledger_is_checked_as_the_runbook_says(pod: Pod) -> None:
    """Without a pod of the server there is nothing to exec into."""
    page = (ROOT / "docs" / "runbooks" / "CarbonBudgetUsedFell.md").read_text()
    (command,) = re.findall(r"`command: (\[.*?\])` and without `args`", page)
    done = pod.run("restore.yaml", command=yaml.safe_load(command))
    assert "there is no ledger" in done.stderr or "conserves" in done.stdout, done.stderr


def test_copies_that_do_not_conserve_never_push_out_good_ones(pod: Pod) -> None:
    (pod.place / "carbonbudget").write_text(STUB)
    (pod.place / "carbonbudget").chmod(0o755)
    pod.path = f"{pod.place}:{pod.path}"
    content = pod.place / "content"
    good = [f"ledger-2026-11-{day:02}T021500Z.db" for day in range(1, 15)]
    for name in good:
        (pod.backups / name).write_text("good")
    content.write_text("bad")
    # A new name each second; three attempts in each of several nights.
    for second in range(20):
        done = pod.run("backup.yaml", CONTENT=str(content), PATH=f"{clock(pod, second)}:{pod.path}")
        assert done.returncode != 0
    assert set(good) <= set(pod.copies())
    content.write_text("good")
    passes(pod.run("backup.yaml", CONTENT=str(content), PATH=f"{clock(pod, 59)}:{pod.path}"))
    assert len(pod.copies()) == 14
    assert set(good[1:]) <= set(pod.copies())
    assert {(pod.backups / name).read_text() for name in pod.copies()} == {"good"}
    assert len(list(pod.backups.glob("*.*"))) == 15, "fourteen copies and the lock"


def test_two_backups_at_once_both_make_their_copy(pod: Pod) -> None:
    """One by hand before an upgrade, and the nightly one: neither deletes what the other has not checked yet."""
    held, waits = pod.place / "held", pod.place / "waits"
    os.mkfifo(held)
    programs = {
        "carbonbudget": f'#!/bin/sh\n[ -z "$HELD" ] || case "$*" in *"ledger check"*) cat {held};; esac\n{STUB}',
        "flock": f'#!/bin/sh\n[ -n "$HELD" ] || : > {waits}\nexec {shutil.which("flock")} "$@"\n',
    }
    for name, text in programs.items():
        (pod.place / name).write_text(text)
        (pod.place / name).chmod(0o755)
    content = pod.place / "content"
    content.write_text("good")
    path = f"{pod.place}:{pod.path}"
    with ThreadPoolExecutor() as threads:
        first = threads.submit(pod.run, "backup.yaml", CONTENT=str(content), HELD="yes", PATH=f"{clock(pod, 1)}:{path}")
        # Opened by its check: it has made its copy, and holds the lock.
        with held.open("w"):
            other = clock(pod, 2)
            second = threads.submit(pod.run, "backup.yaml", CONTENT=str(content), PATH=f"{other}:{path}")
            wait_for("the second at the lock, or at its end", lambda: waits.exists() or second.done())
        passes(first.result())
        passes(second.result())
    assert len(pod.copies()) == 2


@pytest.mark.parametrize("example", ["restore.yaml", "downgrade.yaml", "to-postgresql.yaml"])
def test_a_ledger_is_not_exchanged_under_a_running_server(example: str) -> None:
    """Where the step before was left out, the Job stays Pending: it is kept from the node that a backup needs."""
    beside = pod_spec("backup.yaml")["affinity"]["podAffinity"]
    assert pod_spec(example)["affinity"]["podAntiAffinity"] == beside


def clock(pod: Pod, second: int) -> Path:
    """A directory with a `date` that says this second."""
    place = pod.place / f"clock-{second}"
    place.mkdir(exist_ok=True)
    (place / "date").write_text(f"#!/bin/sh\necho 2026-11-29T0215{second:02}Z\n")
    (place / "date").chmod(0o755)
    return place
