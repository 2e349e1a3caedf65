"""The distribution's packages: what is needed, what is missing, and installing it where we may."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import say

# a file or a program on PATH -> the Debian package that has it
CLUSTER = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "cni:ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
    "openssl": "openssl",
    "/bin/busybox": "busybox-static",
}
IMAGES = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "/bin/busybox": "busybox-static",
}
CNI_DIRS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def cni_dir() -> Path | None:
    """Where the CNI plugins are: Debian's place or everybody else's."""
    needed = ("ptp", "host-local", "loopback", "portmap")
    return next((d for d in CNI_DIRS if all((d / n).exists() for n in needed)), None)


def _present(what: str) -> bool:
    if what == "cni:ptp":
        return cni_dir() is not None
    if what.startswith("/"):
        return any(Path("/").glob(what[1:]))
    return shutil.which(what, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def missing(wanted: Mapping[str, str]) -> list[str]:
    """The packages to install so that everything wanted is there."""
    return sorted({package for what, package in wanted.items() if not _present(what)})


def ensure(wanted: Mapping[str, str]) -> None:
    """Installs missing packages with apt-get, or reports which packages to install."""
    names = missing(wanted)
    if not names:
        return
    wish = " ".join(names)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise say.ClusterError(
            f"these packages are missing: {wish} (Debian's names); install them, "
            f"on Debian with: apt-get update && apt-get install --no-install-recommends {wish}"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with say.step(f"apt-get install {wish}", heartbeat=True), NoServiceStarts():
        # Another installation on this machine is waited for: two scripts of this project may need packages at once.
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *names]):
            done = subprocess.run([*apt, *arguments], env=env, capture_output=True, text=True)
            if done.returncode != 0 and arguments[0] == "install":
                why = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise say.ClusterError(f"installing {wish} failed: {why}; install them by hand")
    still = missing(wanted)
    if still:
        raise say.ClusterError(f"after installing, still missing: {' '.join(still)}; install them by hand")


class NoServiceStarts:
    """Keeps a fresh containerd package from starting the system's own containerd beside ours."""

    policy = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self.ours = not self.policy.exists()
        if self.ours:
            self.policy.write_text("#!/bin/sh\nexit 101\n")
            self.policy.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            self.policy.unlink(missing_ok=True)
