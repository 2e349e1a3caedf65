"""Makes the images that contain one static program each: pause, busybox and coredns."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from . import tools
from .archive import Entry, write
from .configs import PAUSE_IMAGE
from .say import ClusterError, step
from .settings import REPO, cache_dir

OUTPUT = REPO / "build" / "images"
BUSYBOX = Path("/bin/busybox")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = b"root:x:0:\nnogroup:x:65534:\n"


def _fresh(target: Path, *inputs: bytes) -> bool:
    """Whether `target` was made of exactly these inputs; notes them beside it for the next time."""
    key = hashlib.sha256(b"\0".join([Path(__file__).read_bytes(), *inputs])).hexdigest()
    note = target.with_suffix(".inputs")
    if target.is_file() and note.is_file() and note.read_text() == key:
        return True
    note.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    note.write_text(key)
    return False


def pause(output: Path = OUTPUT) -> Path:
    target = output / "pause.tar"
    source = REPO / "hack" / "pause" / "main.go"
    if _fresh(target, source.read_bytes()):
        return target
    program = cache_dir() / "pause"
    if shutil.which("go") is None:
        raise ClusterError("Go is not installed: it is needed for the pods' pause program (Go 1.24 or later)")
    program.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GO111MODULE": "off", "GOFLAGS": "-trimpath"}
    done = subprocess.run(
        ["go", "build", "-ldflags", "-s -w", "-o", program, source.name],
        cwd=source.parent,
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ClusterError(f"building the pause program failed: {done.stderr.strip().splitlines()[-1:]}")
    write(target, PAUSE_IMAGE, {"pause": Entry(program)}, ["/pause"], user="65535:65535")
    return target


def busybox(output: Path = OUTPUT) -> Path:
    target = output / "busybox.tar"
    program = BUSYBOX.read_bytes()
    if _fresh(target, program):
        return target
    listed = subprocess.run([BUSYBOX, "--list-full"], capture_output=True, text=True).stdout.split()
    entries = {path: Entry(link="/bin/busybox") for path in listed if path.startswith(("bin/", "sbin/", "usr/"))}
    entries |= {
        "bin/busybox": Entry(program),
        "etc/passwd": Entry(PASSWD, mode=0o644),
        "etc/group": Entry(GROUP, mode=0o644),
        "root": Entry(mode=0o700),
        "tmp": Entry(mode=0o1777),
    }
    write(target, "busybox:dev", entries, [], command=["sh"])
    return target


def coredns(output: Path = OUTPUT) -> Path:
    target = output / "coredns.tar"
    program = tools.ensure(["coredns"])["coredns"]
    if not _fresh(target, tools.stamp_of("coredns").encode()):
        write(target, "coredns:dev", {"coredns": Entry(program)}, ["/coredns"], user="65532:65532")
    return target


def all_of(output: Path = OUTPUT) -> list[Path]:
    """Makes what is not there yet; returns the three archives."""
    with step("images of static programs (pause, busybox, coredns)"):
        return [pause(output), busybox(output), coredns(output)]
