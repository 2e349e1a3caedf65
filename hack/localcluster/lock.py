"""Locks: one script at a time changes the cluster, and one the images' storage. Others wait and print for whom."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .say import line


@contextmanager
def exclusive(path: Path, who: str = "hack/cluster") -> Iterator[None]:
    """Holds the lock file for the time of the block and takes the file away after it; `who` is named to who waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            line(f"another {who} is at work (pid {holder}): waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The previous owner deletes the file at its end, so only a lock on the present file is valid.
        try:
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        except FileNotFoundError:
            pass
        os.close(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
