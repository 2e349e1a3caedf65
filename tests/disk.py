"""A small disk of its own, for tests of full and unwritable ones: a tmpfs."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(point: Path, size: str) -> Iterator[None]:
    """Mounted at `point` until the end; it needs root."""
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("CI=true allows no skip, and mounting a disk needs root")
        pytest.skip("mounting a disk needs root")
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "carbonbudget-test", str(point)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=True)


def fill(directory: Path) -> Path:
    """Take every byte that is left."""
    path = directory / "ballast"
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    assert os.statvfs(directory).f_bavail == 0
    return path
