"""The log file of spans and units, for `carbonbudget spans import`: JSON lines, or CSV if its name ends in `.csv`."""

from __future__ import annotations

import io
import os
import re
import socket
from collections import deque
from pathlib import Path

from carbonbudget.compact_json import compact_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = (
    *("kind", "run", "model", "version", "namespace", "pod", "pod_uid", "id", "name", "step", "start_ms", "end_ms"),
    *("cpu_start_us", "cpu_end_us", "gpu_start_uj", "gpu_end_uj", "count"),
)
_MOST_WAITING = 5_000  # lines that could not be written yet


def pod_identity() -> dict[str, str]:
    """Namespace, pod and pod_uid of this process; those that the files in the pod do not contain are left out."""
    found: dict[str, str] = {}
    try:
        found["namespace"] = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text(encoding="utf-8")
    except (OSError, ValueError):
        pass
    try:
        # The kubelet mounts /etc/hosts from the pod's folder, which is named by its uid.
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        if uid := re.search(r"/pods/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/", mounts):
            found["pod_uid"] = uid[1]
            found["pod"] = socket.gethostname()
    except OSError:
        pass
    return found


class SpanLog:
    """Appends whole lines: what was written stays readable whenever the process is killed.

    `{host}` in the path becomes the machine's name, so that pods with a shared volume write a file each.
    """

    def __init__(self, path: str) -> None:
        # Absolute: the training may change its working directory.
        self.path = os.path.abspath(path.replace("{host}", socket.gethostname()))
        self._as_csv = self.path.lower().endswith(".csv")
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._head: dict[str, str] | None = None
        self._head_text = ""

    def add(self, head: dict[str, str], record: dict[str, Any], text: str) -> None:
        """Put a record of `span_record` or of a unit into line. `head`: its kind and what identifies it.

        `text` is the record as JSON, which is what the server gets.
        """
        if self._as_csv:
            line = _csv_line({**head, **record})
        else:
            if head is not self._head:  # mostly it is that of the record before
                self._head, self._head_text = head, compact_json(head)[:-1]
            line = f"{self._head_text},{text[1:]}\n"
        self._waiting.append(line.encode())

    def write(self) -> None:
        """Write what waits. It goes on waiting, up to 5,000 lines, if it cannot be written.

        Raises OSError: a read-only file system, a full disk, a missing folder.
        """
        if not self._waiting:
            return
        number = len(self._waiting)
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            size = os.fstat(file).st_size
            before = b""
            if size == 0 and self._as_csv:
                before = (",".join(COLUMNS) + "\n").encode()
            elif size and os.pread(file, 1, size - 1) != b"\n":
                before = b"\n"  # a disk was full in the middle of a line
            content = memoryview(before + b"".join(self._waiting))
            while content:
                content = content[os.write(file, content) :]
        finally:
            os.close(file)
        for _ in range(number):
            self._waiting.popleft()

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting


def _csv_line(record: dict[str, Any]) -> str:
    row = dict(record)
    row["cpu_start_us"], row["cpu_end_us"] = row.pop("cpu_us", ("", ""))
    row["gpu_start_uj"], row["gpu_end_uj"] = row.pop("gpu_uj", ("", ""))
    import csv  # its lines are JSON mostly

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if row.get(name) is None else row.get(name) for name in COLUMNS])
    return text.getvalue()
