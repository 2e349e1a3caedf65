"""The Kubernetes programs: found in KUBEBUILDER_ASSETS or PATH where they fit, else built with Go."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import say
from .settings import KUBERNETES_VERSION, REPO, cache_dir

MODULE = REPO / "hack" / "tools"
GOFLAGS = "-buildvcs=false -trimpath -mod=readonly"


@dataclass(frozen=True)
class Tool:
    package: str  # what `go build` is given
    version_args: tuple[str, ...]  # makes the program print its version
    exact_minor: bool = True  # a Kubernetes program: the minor version has to be ours
    module: Path | None = None  # with the go.mod that it is built from; None: MODULE


TOOLS = {
    "kube-apiserver": Tool("k8s.io/kubernetes/cmd/kube-apiserver", ("--version",)),
    "kubelet": Tool("k8s.io/kubernetes/cmd/kubelet", ("--version",)),
    "kube-controller-manager": Tool("k8s.io/kubernetes/cmd/kube-controller-manager", ("--version",)),
    "kube-scheduler": Tool("k8s.io/kubernetes/cmd/kube-scheduler", ("--version",)),
    "kube-proxy": Tool("k8s.io/kubernetes/cmd/kube-proxy", ("--version",)),
    "kubectl": Tool("k8s.io/kubernetes/cmd/kubectl", ("version", "--client")),
    "helm": Tool("helm.sh/helm/v3/cmd/helm", ("version", "--short"), exact_minor=False),
    "etcd": Tool("go.etcd.io/etcd/server/v3", ("--version",), exact_minor=False),
}
# CoreDNS goes into an image without a C library: only a build of our own is known to be static.
COREDNS = Tool("github.com/coredns/coredns", ("-version",), exact_minor=False)
# Only `make kueue` needs it. It pins other Kubernetes libraries than ours, so it has a module of its own.
KUEUE = Tool("sigs.k8s.io/kueue/cmd/kueue", ("--help",), exact_minor=False, module=MODULE / "kueue")
# Always built here, and no part of the cluster.
OURS_ALONE = {"coredns": COREDNS, "kueue": KUEUE}


def bin_dir() -> Path:
    return cache_dir() / "tools" / "bin"


def version_of(text: str) -> tuple[int, int] | None:
    """(major, minor) of the first version number in what a program printed."""
    found = re.search(r"\bv?(\d+)\.(\d+)(?:\.\d+)?", text)
    return (int(found[1]), int(found[2])) if found else None


def fits(name: str, version: tuple[int, int] | None, from_assets: bool) -> bool:
    """Whether a program that was found (not built here) may be used."""
    wanted = version_of(KUBERNETES_VERSION)
    if version is None or wanted is None:
        return False
    if name == "etcd":
        return version >= (3, 5)
    if name == "helm":
        return version[0] == 3 and version >= (3, 17)  # --take-ownership
    return version >= (1, 30) and version[0] == 1 if from_assets else version == wanted


def linker_flags() -> str:
    """Stamps the version into the Kubernetes programs, which otherwise call themselves v0.0.0-master."""
    major, minor = version_of(KUBERNETES_VERSION) or (0, 0)
    flags = "-s -w"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        prefix = f"-X {package}"
        flags += (
            f" {prefix}.gitVersion={KUBERNETES_VERSION} {prefix}.gitMajor={major} {prefix}.gitMinor={minor}"
            f" {prefix}.gitTreeState=clean {prefix}.gitCommit=module"
            f" {prefix}.buildDate=2026-01-01T00:00:00Z"
        )
    return flags


def _flags_for(name: str) -> str:
    if name in ("etcd", "kueue"):
        return "-s -w"
    return linker_flags() + (_helm_flags() if name == "helm" else "")


def _helm_flags() -> str:
    """The Kubernetes that `helm template` renders for where no cluster is asked; without them that is 1.20."""
    major, minor = version_of(KUBERNETES_VERSION) or (0, 0)
    packages = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")
    return "".join(f" -X {one}.k8sVersionMajor={major} -X {one}.k8sVersionMinor={minor}" for one in packages)


def _tool(name: str) -> Tool:
    return OURS_ALONE.get(name) or TOOLS[name]


def stamp_of(name: str) -> str:
    """Changes when the program would: its sources' versions or the flags it is built with."""
    tool = _tool(name)
    parts = [((tool.module or MODULE) / f).read_text() for f in ("go.mod", "go.sum")]
    return hashlib.sha256("\n".join([*parts, GOFLAGS, _flags_for(name), tool.package]).encode()).hexdigest()


def _reported_version(path: Path, tool: Tool) -> tuple[int, int] | None:
    try:
        out = subprocess.run([path, *tool.version_args], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return version_of(out.stdout + out.stderr) if out.returncode == 0 else None


def found_elsewhere(name: str) -> Path | None:
    """A fitting program in KUBEBUILDER_ASSETS or on PATH."""
    tool = TOOLS[name]
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and os.access(Path(assets) / name, os.X_OK):
        path = Path(assets) / name
        if fits(name, _reported_version(path, tool), from_assets=True):
            return path
    on_path = shutil.which(name)
    own = bin_dir() / name
    if on_path and Path(on_path) != own and fits(name, _reported_version(Path(on_path), tool), False):
        return Path(on_path)
    return None


def is_built(name: str) -> bool:
    """Whether it was built here from the sources and with the flags of now."""
    stamp = bin_dir() / ".stamps" / name
    return (bin_dir() / name).is_file() and stamp.is_file() and stamp.read_text() == stamp_of(name)


def _check_go() -> None:
    if shutil.which("go") is None:
        raise say.ClusterError(
            "Go is not installed: install Go 1.24 or later, or put Kubernetes "
            f"{KUBERNETES_VERSION} programs on PATH or in KUBEBUILDER_ASSETS"
        )
    out = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout
    found = re.match(r"go(\d+)\.(\d+)", out)
    if found and (int(found[1]), int(found[2])) < (1, 24):
        raise say.ClusterError(f"{out.strip()} is too old to build Kubernetes: install Go 1.24 or later")


def _build(name: str) -> None:
    tool = _tool(name)
    target = bin_dir() / name
    if target.is_symlink():
        target.unlink()
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": GOFLAGS, "GOWORK": "off"}
    log = cache_dir() / "tools" / f"build-{name}.log"
    command = ["go", "build", "-ldflags", _flags_for(name), "-o", str(target), tool.package]
    with log.open("wb") as out:
        code = subprocess.run(command, cwd=tool.module or MODULE, env=env, stdout=out, stderr=out).returncode
    if code != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise say.ClusterError(f"building {name} failed ({' '.join(last)[:200]}): see {log}")
    stamp = bin_dir() / ".stamps" / name
    stamp.write_text(stamp_of(name))


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Paths of the named programs; builds those that neither fit elsewhere nor were built before."""
    (bin_dir() / ".stamps").mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    missing = []
    for name in names:
        elsewhere = None if name in OURS_ALONE else found_elsewhere(name)
        if elsewhere is not None:
            paths[name] = elsewhere
            link = bin_dir() / name
            if not link.exists():  # so that one directory on PATH has them all
                link.unlink(missing_ok=True)
                link.symlink_to(elsewhere)
            continue
        paths[name] = bin_dir() / name
        if not is_built(name):
            missing.append(name)
    if missing:
        _check_go()
        say.line(f"building {', '.join(missing)} with Go: the first build of all takes about 12 minutes on 2 cores")
        for name in missing:
            with say.step(f"go build {name}", heartbeat=True):
                _build(name)
    return paths
