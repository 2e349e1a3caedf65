"""Processes: started in a session of their own, known again by pid AND start time.

A pid alone may by now belong to somebody else. The kernel's start time (field 22 of /proc/PID/stat,
in clock ticks since boot) together with the boot id makes it certain: nothing else is ever signalled.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .say import ClusterError

PROC = Path("/proc")


def boot_id(proc: Path = PROC) -> str:
    return (proc / "sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Identity:
    pid: int
    start_ticks: int
    boot: str

    def alive(self, proc: Path = PROC) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        if self.boot != boot_id(proc):
            return False
        stat = read_stat(self.pid, proc)
        return stat is not None and stat.start_ticks == self.start_ticks and stat.state not in "ZX"


@dataclass(frozen=True)
class Stat:
    state: str
    parent: int
    start_ticks: int


def parse_stat(text: str) -> Stat:
    """The fields of /proc/PID/stat we need. The name, in parentheses, may itself hold spaces and ')'."""
    fields = text[text.rindex(")") + 1 :].split()
    return Stat(state=fields[0], parent=int(fields[1]), start_ticks=int(fields[19]))


def read_stat(pid: int, proc: Path = PROC) -> Stat | None:
    try:
        return parse_stat((proc / str(pid) / "stat").read_text())
    except (OSError, ValueError, IndexError):
        return None


def identify(pid: int, proc: Path = PROC) -> Identity | None:
    stat = read_stat(pid, proc)
    return Identity(pid, stat.start_ticks, boot_id(proc)) if stat else None


def command_line(pid: int, proc: Path = PROC) -> list[str]:
    try:
        return (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def all_pids(proc: Path = PROC) -> list[int]:
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]


def descendants(roots: Iterable[int], proc: Path = PROC) -> list[int]:
    """The children of `roots`, their children and so on; not the roots themselves."""
    children: dict[int, list[int]] = {}
    for pid in all_pids(proc):
        stat = read_stat(pid, proc)
        if stat:
            children.setdefault(stat.parent, []).append(pid)
    found: list[int] = []
    todo = list(roots)
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def shims(socket: Path, proc: Path = PROC) -> list[int]:
    """The shims of OUR containerd, which have the address of its socket on their command line."""
    ours = []
    for pid in all_pids(proc):
        words = command_line(pid, proc)
        if words and Path(words[0]).name.startswith("containerd-shim"):
            addresses = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "-address"]
            if addresses == [str(socket)]:
                ours.append(pid)
    return ours


class PidFiles:
    """Who was started, one small file a component."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, name: str) -> Identity | None:
        try:
            return Identity(**json.loads((self.directory / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None  # never started, or half written when the machine went down

    def alive(self, name: str) -> Identity | None:
        identity = self.read(name)
        return identity if identity and identity.alive() else None

    def write(self, name: str, identity: Identity) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.directory / f".{name}.tmp"
        partial.write_text(json.dumps(asdict(identity)))
        partial.rename(self.directory / f"{name}.json")

    def remove(self, name: str) -> None:
        (self.directory / f"{name}.json").unlink(missing_ok=True)


def start(name: str, command: Sequence[str], log: Path, files: PidFiles, env: Mapping[str, str]) -> Identity:
    """Starts a component that outlives us: own session, no terminal, output appended to its log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"--- started {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode())
        out.flush()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd="/",
                env=dict(env),
            )
        except OSError as error:
            raise ClusterError(f"{name} could not be started: {error}") from error
    identity = identify(process.pid)
    if identity is None:
        raise ClusterError(f"{name} ended at once: see {log}")
    process.returncode = 0  # it is not ours to wait for: keeps subprocess from warning at exit
    files.write(name, identity)
    return identity


def end(identities: Iterable[Identity], patience_s: float, kill: bool = False) -> list[int]:
    """Ends exactly these processes: SIGTERM, after `patience_s` SIGKILL. Returns the pids that were ended."""
    living = [i for i in identities if i.alive()]
    ended = [i.pid for i in living]
    for signum, wait_s in ((signal.SIGKILL if kill else signal.SIGTERM, patience_s), (signal.SIGKILL, 10.0)):
        for identity in living:
            _signal(identity, signum)
        deadline = time.monotonic() + wait_s
        while (living := [i for i in living if _still(i)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not living:
            return ended
    pids = ", ".join(str(i.pid) for i in living)
    raise ClusterError(f"process {pids} does not end even by SIGKILL (in disk wait?): look at it with ps")


def _still(identity: Identity) -> bool:
    try:
        os.waitpid(identity.pid, os.WNOHANG)  # our own child leaves a zombie until it is waited for
    except ChildProcessError:
        pass  # started by an earlier call: init reaps it
    return identity.alive()


def _signal(identity: Identity, signum: int) -> None:
    if not identity.alive():
        return
    try:
        os.kill(identity.pid, signum)
    except ProcessLookupError:
        pass  # it ended between the look and the signal
