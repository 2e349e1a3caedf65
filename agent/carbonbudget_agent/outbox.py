"""The outbox: a directory on the node that stores each report until the ledger has committed it.

Each report is one compressed file, written under a temporary name, synced, then renamed, so that a file with its final
name is complete. A report that the server refuses or cannot store now, though it stores others, is in the folder
`delayed`. When the outbox exceeds its limits, the oldest reports are dropped and counted, delayed ones included.
"""

from __future__ import annotations

import logging
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeReport
from carbonbudget_core.node_report_json import encode_report

_log = logging.getLogger(__name__)
_SUFFIX = ".json.z"
_NAME = re.compile(r"\d{12,}-\d{6,}-[0-9a-f]{1,8}\.json\.z")  # other files in the directory are not the agent's
_MAX_REPORTS = 7 * 86_400 // 60  # seven days of windows of a minute
_MAX_BYTES = 200 * 2**20
_MAX_TAKEN_OUT = 1_000
_DELAYED = "delayed"


@dataclass(frozen=True, slots=True)
class PackedReport:
    """A report as it is stored. It needs a twentieth of the memory of the objects: while a disk is full, many wait."""

    name: str
    body: bytes


def pack(report: NodeReport) -> PackedReport:
    """The report as a file: its name is unique for the report's key, and names sort by window."""
    boot = f"{zlib.crc32(report.boot_id.encode()):08x}"
    name = f"{report.window_start:012d}-{report.part:06d}-{boot}{_SUFFIX}"
    return PackedReport(name, zlib.compress(encode_report(report).encode(), 6))


def window_start(name: str) -> int:
    """The start of a report's window in UTC seconds, by its name."""
    return int(Path(name).name.partition("-")[0])


class Outbox:
    """A directory of reports; names sort by window. That of a delayed report begins with its folder."""

    def __init__(
        self, directory: Path, counts: WorkCounters, max_bytes: int = _MAX_BYTES, max_reports: int = _MAX_REPORTS
    ) -> None:
        """Raises OSError if the directory cannot be made or written. On a full disk reports wait in memory instead."""
        self.directory = directory
        self._counts, self._max_bytes, self._max_reports = counts, max_bytes, max_reports
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise OSError(
                f"the outbox {directory} cannot be written: if its file system is read-only or the directory is not "
                "root's, set agent.outboxHostPath to another path; if the node enforces SELinux, set "
                "agent.seLinuxType to spc_t"
            )
        for left in directory.glob("*.tmp"):  # of a write that was cut off
            left.unlink(missing_ok=True)

    def put(self, packed: PackedReport) -> None:
        """Store a report durably. Raises OSError; then nothing is stored."""
        write_durably(self.directory / packed.name, packed.body)

    def names(self) -> list[str]:
        """The names of the queued reports, oldest first."""
        return self._list("")

    def delayed(self) -> list[str]:
        """The names of the delayed reports, oldest first."""
        return self._list(f"{_DELAYED}/")

    def delay(self, name: str) -> None:
        """The server cannot take this one now: others go first. Raises OSError; then it waits where it was."""
        (self.directory / _DELAYED).mkdir(exist_ok=True)
        os.replace(self.directory / name, self.directory / _DELAYED / name)

    def read(self, name: str) -> bytes | None:
        """A report's JSON; None if it was dropped meanwhile, or is corrupt: then it is moved to `corrupt` and counted.

        Raises OSError while the disk cannot be read; the report may be sound.
        """
        try:
            return zlib.decompress((self.directory / name).read_bytes())
        except FileNotFoundError:
            return None
        except zlib.error as error:
            _log.error("outbox: %s cannot be read and is moved to the folder corrupt: %s", name, error)
            self._counts.corrupt += 1
            self.take_out(name, "corrupt")
            return None

    def remove(self, name: str) -> None:
        """Delete a report that the ledger has. Raises OSError; then it is sent again, and counts once."""
        (self.directory / name).unlink(missing_ok=True)

    def take_out(self, name: str, why: str) -> None:
        """Move a report that can never be sent to the folder `why`, for an operator to read. Raises OSError.

        The folder has the latest 1,000.
        """
        folder = self.directory / why
        try:
            folder.mkdir(exist_ok=True)
            os.replace(self.directory / name, folder / Path(name).name)
            for old in sorted(folder.iterdir())[:-_MAX_TAKEN_OUT]:
                old.unlink(missing_ok=True)
        except OSError:
            self.remove(name)

    def trim(self) -> None:
        """Drop the oldest reports beyond the limits, and count them. Raises OSError.

        The limit is a number, not an age: if a clock was ahead for a moment, all later reports would seem too old.
        """
        names = sorted([*self.names(), *self.delayed()], key=lambda name: Path(name).name)
        sizes = {name: self._size(name) for name in names}
        total, number = sum(sizes.values()), len(sizes)
        for name, size in sizes.items():
            if total <= self._max_bytes and number <= self._max_reports:
                break
            self.remove(name)
            total, number = total - size, number - 1
            self._counts.dropped += 1
            _log.error("outbox: %s dropped, the queue is over its limit", name)

    def size(self) -> tuple[int, int]:
        """The number of queued reports, and their bytes."""
        names = self.names()
        return len(names), sum(map(self._size, names))

    def _list(self, folder: str) -> list[str]:
        try:
            return sorted(folder + name for name in os.listdir(self.directory / folder) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []
        except OSError as error:
            _log.error("outbox: %s cannot be listed: %s", self.directory / folder, error.strerror)
            return []

    def _size(self, name: str) -> int:
        try:
            return (self.directory / name).stat().st_size
        except OSError:
            return 0


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash it is completely the old or completely the new one. Raises OSError."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # the rename itself
    finally:
        os.close(descriptor)
