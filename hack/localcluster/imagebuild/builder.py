"""buildah: its own storage in the user's cache, the base image, and the build of one target."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..lock import exclusive
from ..say import ClusterError, line, step
from ..settings import REPO, cache_dir
from . import surroundings

KEPT_STEPS = 500  # a rebuild of changed sources adds some ten, of which one has content
PULL_S = 10  # a registry that can be reached answers sooner


def _unmount(root: Path) -> None:
    """Unmount what debootstrap left mounted: on some machines its /proc, which would become a part of the image."""
    for name in ("proc", "sys"):
        if (root / name).is_mount():
            subprocess.run(["umount", "--lazy", str(root / name)], capture_output=True)


def base_of(dockerfile: str) -> str:
    """The image the first stage starts from."""
    found = re.search(r"^FROM\s+(\S+)", dockerfile, re.MULTILINE)
    if not found:
        raise ClusterError("the Dockerfile has no FROM line")
    return found[1]


class Builder:
    """Runs buildah with a separate storage, so that our images and others do not affect each other.

    All checkouts of a user share it, for its cached steps; only one process at a time is inside `with`.
    """

    def __init__(self) -> None:
        self.storage = cache_dir() / "buildah"
        self.run_dir = self.storage / "run"
        self.driver = ""
        self._held = ExitStack()

    def __enter__(self) -> Builder:
        self._held.enter_context(exclusive(self.storage.with_suffix(".lock"), "hack/images"))
        try:
            self._prepare()
        except BaseException:
            self._held.close()
            raise
        return self

    def _prepare(self) -> None:
        self.storage.mkdir(parents=True, exist_ok=True)
        note = self.storage / "driver"  # chosen once: a storage of two drivers holds everything twice
        self.driver = note.read_text().strip() if note.is_file() else self._choose_driver()
        note.write_text(self.driver)

    def __exit__(self, *_: object) -> None:
        # The overlay driver leaves its directory mounted on itself.
        subprocess.run(["umount", str(self.storage / "store" / "overlay")], capture_output=True)
        self._held.close()

    def _choose_driver(self) -> str:
        """overlay shares unchanged files; vfs copies all, but works where overlay cannot be stacked."""
        self.driver = "overlay"
        made = self.run("from", "--name", "probe", "scratch")
        works = made.returncode == 0 and self.run("mount", "probe").returncode == 0
        self.run("rm", "probe")
        return "overlay" if works else "vfs"

    def run(self, *args: str, log: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = ["buildah", "--root", str(self.storage / "store"), "--runroot", str(self.run_dir)]
        command += ["--storage-driver", self.driver, *args]
        env = {k: v for k, v in os.environ.items() if k != "STORAGE_DRIVER"}
        env |= {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self._temporary())}
        if log is None:
            return subprocess.run(command, capture_output=True, text=True, env=env)
        with log.open("w") as out:
            return subprocess.run(command, stdout=out, stderr=out, text=True, env=env)

    def _temporary(self) -> Path:
        place = self.storage / "tmp"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def has(self, image: str) -> bool:
        return self.run("inspect", "--type", "image", image).returncode == 0

    def ensure_base(self, image: str) -> None:
        """The base image: from a registry where one answers, else made of the distribution's packages."""
        if self.has(image):
            return
        with step(f"looking for a registry that has {image} (at most {PULL_S} s)"):
            pulled = self._pull(image)
        if pulled:
            return
        name, _, tag = image.partition(":")
        codename = tag.split("-")[0]
        if name.rsplit("/", 1)[-1] != "debian" or not codename.isalpha():
            raise ClusterError(f"no registry that has {image} can be reached, and only Debian can be made here")
        line("    none can be reached: the base is made with debootstrap instead")
        with step(f"debootstrap {codename} (once; about a minute)", heartbeat=True):
            self._bootstrap(image, codename)

    def _pull(self, image: str) -> bool:
        command = ["timeout", str(PULL_S), "buildah", "--root", str(self.storage / "store")]
        command += ["--runroot", str(self.run_dir), "--storage-driver", self.driver, "pull", "--quiet", image]
        return subprocess.run(command, capture_output=True).returncode == 0

    def _bootstrap(self, image: str, codename: str) -> None:
        root = Path(tempfile.mkdtemp(prefix="base-", dir=self._temporary()))
        log = self.storage / "debootstrap.log"
        mirror = surroundings.mirror(surroundings.apt_sources(), codename)
        command = [
            "debootstrap",
            "--variant=minbase",
            codename,
            str(root / "fs"),
            *([mirror] if mirror else []),
        ]
        try:
            with log.open("w") as out:
                if subprocess.run(command, stdout=out, stderr=out).returncode != 0:
                    raise ClusterError(f"debootstrap failed: {_last(log)} (see {log})")
            _unmount(root / "fs")
            slim(root / "fs")
            made = self.run("from", "--name", "base", "scratch")
            made = self.run("add", "base", str(root / "fs"), "/") if made.returncode == 0 else made
            self.run(
                "config",
                "--cmd",
                "bash",
                "--env",
                "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "base",
            )
            made = self.run("commit", "--quiet", "base", image) if made.returncode == 0 else made
            self.run("rm", "base")
            if made.returncode != 0:
                raise ClusterError(f"buildah could not store the base image: {made.stderr.strip()[-200:]}")
        finally:
            _unmount(root / "fs")
            shutil.rmtree(root, ignore_errors=True)

    def build(self, target: str, image: str, version: str, log: Path) -> str:
        """Builds one target of the Dockerfile; returns the image's id."""
        with self._lent() as (directory, arguments):
            args = [
                "build",
                "--layers",
                "--pull-never",
                "--network",
                "host",
                "--target",
                target,
                "--tag",
                image,
                "--iidfile",
                str(directory / "id"),  # the tag may be another checkout's a moment later, the id is this build's
            ]
            args += ["--volume", f"{directory}:{surroundings.MOUNT}:ro", "--timestamp", "0"]
            for name, value in {**arguments, "VERSION": version}.items():
                args += ["--build-arg", f"{name}={value}"]
            done = self.run(*args, "--file", str(REPO / "Dockerfile"), str(REPO), log=log)
            if done.returncode != 0:
                raise ClusterError(f"building {target} failed: {_last(log)} (see {log})")
            return (directory / "id").read_text().strip()

    @contextmanager
    def _lent(self) -> Iterator[tuple[Path, dict[str, str]]]:
        directory = Path(tempfile.mkdtemp(prefix="machine-", dir=self._temporary()))
        directory.chmod(0o755)  # apt fetches as a user of its own
        try:
            codename = base_of((REPO / "Dockerfile").read_text()).partition(":")[2].split("-")[0]
            yield directory, surroundings.write(directory, codename)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def export(self, image_id: str, image: str, archive: Path) -> None:
        """Writes the image of that id, whatever carries its name by now, to an archive that names it `image`."""
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)  # docker-archive cannot be written over
        done = self.run("push", "--quiet", image_id, f"docker-archive:{partial}:{image}")
        if done.returncode != 0:
            raise ClusterError(f"writing {archive} failed: {done.stderr.strip()[-200:]}")
        partial.rename(archive)

    def prune(self) -> None:
        """Drops cached steps once there are very many; the build after that takes a minute again."""
        if len(self.run("images", "--all", "--quiet").stdout.split()) > KEPT_STEPS:
            self.run("rmi", "--prune")


def slim(root: Path) -> None:
    """Removes from a new Debian what no container needs, and its mirror setting, which is this machine's."""
    for name in ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt",
                 "var/lib/apt/lists", "var/log"):  # fmt: skip
        for entry in (root / name).glob("*"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name in ("etc/apt/sources.list", "etc/resolv.conf", "etc/hostname"):
        (root / name).unlink(missing_ok=True)


def _last(log: Path) -> str:
    lines = [text for text in log.read_text(errors="replace").splitlines() if text.strip()]
    return lines[-1][:200] if lines else "no message"
