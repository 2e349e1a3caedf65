"""The node's root file system: Debian with systemd, containerd and a kernel, made once and kept in the user's cache.

Nothing of one cluster is in it. A boot writes to a throw-away overlay of it, never to the image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..imagebuild import builder, surroundings
from ..lock import exclusive
from ..say import ClusterError, step
from ..settings import cache_dir
from . import system

SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv", "dbus", "udev", "kmod", "iproute2", "iptables", "conntrack", "mount", "openssh-server",
    "containerd", "runc", "containernetworking-plugins", "linux-image-cloud-amd64",
)  # fmt: skip
SIZE_MB = 1_500  # of the image, sparse; the node's data has a disk of its own
NOT_NEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)
# They would run at each boot, the only one this image has.
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer", "getty@tty1.service",
    "serial-getty@ttyS0.service",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    disk: Path
    kernel: Path


def key(content: Mapping[str, str]) -> str:
    """Changes when the image would, as far as it depends on this checkout."""
    parts = [SUITE, *PACKAGES, *MASKED, *NOT_NEEDED, str(SIZE_MB)]
    parts += [f"{path}\0{text}" for path, text in sorted(content.items())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def ensure() -> Image:
    """The image, made where the cache has none of these inputs; older ones are removed."""
    place = cache_dir() / "node-vm"
    content = system.files()
    directory = place / key(content)
    image = Image(directory / "root.img", directory / "vmlinuz")
    if directory.is_dir():
        return image
    place.mkdir(parents=True, exist_ok=True)
    with exclusive(place.with_suffix(".lock"), "hack/cluster node-vm"):
        if directory.is_dir():
            return image
        with step("root file system of the node (debootstrap; once, about two minutes)", heartbeat=True):
            made = Path(tempfile.mkdtemp(prefix="new-", dir=place))
            try:
                _make(made, content)
                for old in place.iterdir():
                    if old.is_dir() and old != made:
                        shutil.rmtree(old)
                made.rename(directory)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return image


def _make(directory: Path, content: Mapping[str, str]) -> None:
    root, log = directory / "fs", directory.parent / "debootstrap.log"
    mirror = surroundings.mirror(surroundings.apt_sources(), SUITE)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    _run([*command, *([mirror] if mirror else [])], log)
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise ClusterError(f"the package linux-image-cloud-amd64 brought no kernel: see {log}")
    shutil.copyfile(kernels[-1], directory / "vmlinuz")
    _fill(root, content)
    _run(["chroot", str(root), "systemctl", "enable", "systemd-networkd", "ssh", *_enabled(content)], log)
    _run(["chroot", str(root), "systemctl", "mask", *MASKED], log)
    make_disk(directory / "root.img", root, SIZE_MB)
    shutil.rmtree(root)


def _enabled(content: Mapping[str, str]) -> list[str]:
    return [Path(path).name for path in content if path.endswith(".service")]


def _fill(root: Path, content: Mapping[str, str]) -> None:
    """Takes out what the node does not need (another machine's keys among it), puts our files in."""
    builder.slim(root)
    for name in NOT_NEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
    for pattern in ("boot/*", "etc/ssh/ssh_host_*"):
        for path in root.glob(pattern):
            path.unlink()
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link: resolv.conf
        path.write_text(text)
    (root / system.DATA[1:]).mkdir(parents=True)


def make_disk(disk: Path, content: Path, size_mb: int) -> None:
    """An ext4 image (sparse) that holds a directory's content, made without mounting anything."""
    disk.unlink(missing_ok=True)
    with disk.open("wb") as out:
        out.truncate(size_mb * 1_000_000)
    options = ["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-m", "0", "-d", str(content)]
    _run(["mkfs.ext4", *options, str(disk)], None)


def _run(command: list[str], log: Path | None) -> None:
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    if log is not None:
        with log.open("a") as out:
            out.write(done.stdout)
    if done.returncode != 0:
        last = (done.stdout.strip().splitlines() or ["no message"])[-1]
        raise ClusterError(f"{Path(command[0]).name} failed: {last}" + (f" (see {log})" if log else ""))
