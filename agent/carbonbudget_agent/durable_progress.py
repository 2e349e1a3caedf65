"""Keeps what the collector reports: checkpoint first, then the outbox, so that a kill loses nothing."""

from __future__ import annotations

import logging
from pathlib import Path

from carbonbudget_agent.checkpoint import Checkpoint, save_checkpoint
from carbonbudget_agent.counts import Counts
from carbonbudget_agent.outbox import Outbox, pack
from carbonbudget_core.node_report import NodeReport

_log = logging.getLogger(__name__)
_MAX_PENDING = 240  # closed windows held in memory while the disk takes none


class DurableProgress:
    """The agent's durable side."""

    def __init__(self, checkpoint: Checkpoint, path: Path, outbox: Outbox, counts: Counts) -> None:
        self._checkpoint, self._path, self._outbox, self._counts = checkpoint, path, outbox, counts
        self._failing = False

    def keep(self, report: NodeReport | None) -> None:
        """Make progress durable, and `report` with it. While the disk refuses, both wait in memory.

        Nothing enters the outbox before the checkpoint that accounts for it is on disk: a report that
        was sent while an older checkpoint stands would be attributed again after a kill.
        """
        pending = self._checkpoint.progress.pending
        if report is not None:
            pending.append(pack(report))
            if len(pending) > _MAX_PENDING:
                pending.pop(0)
                self._counts.dropped += 1
        try:
            save_checkpoint(self._path, self._checkpoint)
        except OSError as error:
            self._counts.checkpoint_errors += 1
            self._tell(f"checkpoint {self._path} cannot be written: {error.strerror}")
            return
        try:
            while pending:
                self._outbox.put(pending[0])
                pending.pop(0)
            self._outbox.trim()
            self._failing = False
        except OSError as error:
            self._counts.outbox_errors += 1
            self._tell(f"outbox {self._outbox.directory} cannot be written: {error.strerror}")

    def _tell(self, what: str) -> None:
        if not self._failing:  # once, until it works again
            _log.error("%s: make room or mend the volume, nothing is lost meanwhile", what)
        self._failing = True
