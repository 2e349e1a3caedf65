"""What all tests share: the real cluster, if there is one, and kubectl against it."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.testing
from hypothesis import settings

# `make soak`: twenty times as many examples of each law, where a test does not say otherwise.
settings.register_profile("soak", max_examples=2_000, deadline=None)
# No deadline: how long an example takes is the machine's matter. `--hypothesis-profile` picks another profile.
settings.register_profile("quick", deadline=None)
settings.load_profile("quick")

pytest_plugins = ["tests.databases", "tests.worker_templates"]

# A command with all its options is made once. By default each `CliRunner.invoke` makes it anew, which takes 30 ms.
typer.testing._get_command = functools.cache(typer.testing._get_command)

ROOT = Path(__file__).resolve().parent.parent
# Put before a command: the kernel ends it with us, also where we are killed.
ENDS_WITH_US = ("setpriv", "--pdeathsig=KILL")


@dataclass(frozen=True)
class Cluster:
    """A running Kubernetes and the tools that belong to it; without `nodes` no pod of it ever runs."""

    kubeconfig: Path
    tools: Path
    nodes: bool = True

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which kubectl and helm speak to this cluster."""
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a tool; a failure shows what it wrote."""
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl with `args`."""
        return self.run("kubectl", *args, stdin=stdin, check=check)

    def get(self, *args: str) -> dict[str, object]:
        """`kubectl get ... -o json` as an object."""
        value = json.loads(self.kubectl("get", *args, "-o", "json").stdout)
        assert isinstance(value, dict)
        return value


def _missing_cluster() -> str:
    """Why there is no cluster to test on; empty if there is one."""
    if os.environ.get("CARBONBUDGET_TEST_CLUSTER") == "skip":
        return "CARBONBUDGET_TEST_CLUSTER=skip"
    status = subprocess.run([ROOT / "hack" / "cluster", "status"], capture_output=True, text=True, check=False)
    if status.returncode:
        return "no cluster is running here: `make cluster-up` as root makes one"
    return ""


_OF_A_CLUSTER = ("cluster", "control_plane", "node_vm", "kueue")  # all have the marker `cluster` as well
_SKIPPED = pytest.StashKey[str]()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Runs of the cluster's tests import only files that name the marker, and runs without them no file of them alone.

    To import all files takes half a minute.
    """
    wanted = config.option.markexpr
    if " or " in wanted or not collection_path.match("test_*.py"):
        return None
    if wanted == "not cluster":
        return bool(re.search(r"^pytestmark = .*mark\.cluster", collection_path.read_text(), re.MULTILINE)) or None
    return (wanted.startswith(_OF_A_CLUSTER) and "mark.cluster" not in collection_path.read_text()) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a cluster its tests are left out with one line, or fail where CI must have one.

    Those of the second node and of a running Kueue take long, and need what is built for them alone: they run where
    they are asked for by marker (`make node-vm-test`, `make kueue`).
    """
    for marker in ("node_vm", "kueue"):
        if marker not in config.option.markexpr and not config.option.collectonly:
            apart = [item for item in items if item.get_closest_marker(marker)]
            items[:] = [item for item in items if item not in apart]
            config.hook.pytest_deselected(items=apart)
    wanted = [item for item in items if item.get_closest_marker("cluster")]
    if not wanted or config.option.collectonly:
        return
    reason = _missing_cluster()
    if not reason:
        return
    if os.environ.get("CI") == "true":
        pytest.exit(f"{len(wanted)} cluster tests cannot run and CI=true allows no skip: {reason}", returncode=1)
    items[:] = [item for item in items if item not in wanted]
    config.hook.pytest_deselected(items=wanted)
    config.stash[_SKIPPED] = f"{len(wanted)} cluster tests skipped: {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The one line, where it is seen."""
    if line := config.stash.get(_SKIPPED, ""):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running cluster that `hack/cluster` knows of."""

    def ask(word: str) -> Path:
        answer = subprocess.run([ROOT / "hack" / "cluster", word], capture_output=True, text=True, check=True)
        return Path(answer.stdout.strip())

    return Cluster(kubeconfig=ask("kubeconfig"), tools=ask("bin"))


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Callable[..., subprocess.CompletedProcess[str]]:
    """kubectl against the cluster: `kubectl("get", "pods", stdin=None, check=True)`."""
    return cluster.kubectl


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of this test's own, gone after it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
