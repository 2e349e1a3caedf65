"""Uses an existing cluster instead of the local one. The path of its kubeconfig is stored in the user's cache."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from . import tools
from .say import ClusterError, line
from .settings import cache_dir

OLDEST = (1, 30)  # node names in tokens


def pointer() -> Path:
    return cache_dir() / "existing-kubeconfig"


def current() -> str | None:
    """The kubeconfig (or list of them, as in $KUBECONFIG) in use, if any."""
    try:
        return pointer().read_text().strip() or None
    except OSError:
        return None


def check(kubeconfig: str) -> str:
    """The version of the cluster of a kubeconfig, which has to answer and be new enough."""
    if not any(Path(part).is_file() for part in kubeconfig.split(":")):
        raise ClusterError(f"no kubeconfig at {kubeconfig}: set KUBECONFIG to the one of your cluster")
    kubectl = tools.ensure(["kubectl", "helm"])["kubectl"]
    env = {**os.environ, "KUBECONFIG": kubeconfig}
    done = subprocess.run(
        [kubectl, "get", "--raw", "/version", "--request-timeout=10s"],
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClusterError(f"the cluster of {kubeconfig} cannot be reached: {why}")
    version = str(json.loads(done.stdout).get("gitVersion", ""))
    if (tools.version_of(version) or (0, 0)) < OLDEST:
        raise ClusterError(f"the cluster is {version}; Kubernetes {OLDEST[0]}.{OLDEST[1]} or later is needed")
    return version


def use() -> None:
    """Remembers the cluster of $KUBECONFIG after a look at it."""
    kubeconfig = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    version = check(kubeconfig)
    absolute = ":".join(str(Path(part).absolute()) for part in kubeconfig.split(":") if part)
    pointer().parent.mkdir(parents=True, exist_ok=True)
    pointer().write_text(absolute + "\n")
    line(f"using the cluster of {absolute} ({version}); `hack/cluster down` forgets it")


def forget() -> None:
    pointer().unlink(missing_ok=True)
