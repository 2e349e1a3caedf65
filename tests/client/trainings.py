"""Real training processes: Python programs in a process of their own, with a server or a log beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("contract_server.py")
TOKEN = "token-1"
# Of the machine that runs the tests.
FOREIGN = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")

TRAINING = """
    import carbonbudget as cb
    total = 0
    cb.init(run="exp-42")
    for epoch in cb.epochs(range(3)):
        with cb.track("batches", step=epoch):
            total += sum(number * number for number in range(50_000))
    cb.units(inferences=7)
    print("trained", total > 0)
"""


@dataclass
class Ended:
    """A process that has ended."""

    code: int
    output: str
    errors: str
    seconds: float


def environment(**variables: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CARBONBUDGET_")}
    return {name: value for name, value in ours.items() if name not in FOREIGN} | variables


def train(code: str = TRAINING, *, timeout: float = 30, **variables: str) -> Ended:
    """Run Python code to its end."""
    start = time.monotonic()
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=timeout, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - start)


@dataclass
class ContractServer:
    """The server process of `contract_server.py`."""

    folder: Path
    process: subprocess.Popen[str] = field(init=False)
    tls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), TOKEN, *self.tls], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.token_file = self.folder / "token"
        self.token_file.write_text(TOKEN + "\n")

    @property
    def variables(self) -> dict[str, str]:
        return {
            "CARBONBUDGET_SERVER_URL": f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}",
            "CARBONBUDGET_TOKEN_FILE": str(self.token_file),
        }

    def set(self, **behaviour: Any) -> None:
        self._control("PUT", json.dumps(behaviour).encode())

    def seen(self) -> dict[str, Any]:
        return self._control("GET", None)

    def spans(self) -> list[dict[str, Any]]:
        return list(self.seen()["spans"])

    def _control(self, method: str, body: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/control", data=body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
