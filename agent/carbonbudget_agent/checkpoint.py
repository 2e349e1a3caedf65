"""The checkpoint: a file with the last reported sample and with the reports that are not in the outbox yet.

One file holds both, so that a kill at any moment leaves either the old pair or the new one. Therefore no window is
attributed twice and no report is lost. A report that enters the outbox a second time after a kill has the same key and
content, and the ledger counts it once.
"""

from __future__ import annotations

import json
import logging
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from carbonbudget_agent.baseline import Baseline
from carbonbudget_agent.outbox import Outbox, PackedReport, pack, write_durably
from carbonbudget_agent.pods.pod_info import PodInfo, info_from_json, info_to_json
from carbonbudget_agent.sample import Sample, amounts, sample_from_json, sample_to_json
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.jsons import parse_json
from carbonbudget_core.node_report import NodeReport
from carbonbudget_core.node_report_json import decode_report

_log = logging.getLogger(__name__)
_MAX_PENDING = 240  # closed windows held in memory while the disk cannot be written


@dataclass(slots=True)
class Checkpoint:
    """What survives a restart of the agent: `baselines` and `pending` over boots, all else within the boot `boot_id`.

    `newest_start` is the start of the latest window ever opened on this boot. A window that starts at or before it (the
    clock was set back, or a part of the window was sent before) gets the next number of `parts_used`, so that no key
    recurs. `names` are the pods in `sample`: a pod that ended while no agent ran still has its name.
    """

    boot_id: str
    baselines: dict[str, Baseline] = field(default_factory=dict)
    sample: Sample | None = None
    carry_us: dict[str, int] = field(default_factory=dict)
    newest_start: int = -1
    parts_used: int = 0
    pending: list[PackedReport] = field(default_factory=list)
    names: Mapping[str, PodInfo] = field(default_factory=dict)

    def next_part(self, start: int) -> int:
        """The part number of a window that is opened at `start`."""
        if start > self.newest_start:
            self.newest_start = start
            return 0
        self.parts_used += 1
        return self.parts_used


class DurableProgress:
    """Writes the checkpoint first and the outbox second, so that a kill loses no report and repeats none."""

    def __init__(self, checkpoint: Checkpoint, path: Path, outbox: Outbox, counts: WorkCounters) -> None:
        self._checkpoint, self._path, self._outbox, self._counts = checkpoint, path, outbox, counts
        self._failing = False

    def store(self, report: NodeReport | None) -> None:
        """Store the checkpoint, and `report` with it. While the disk cannot be written, both stay in memory.

        A report enters the outbox only after the checkpoint that accounts for it is on disk. Otherwise a report could
        be sent while an older checkpoint is in place, and a kill would attribute its window again.
        """
        self._store(report)
        self._counts.in_memory = len(self._checkpoint.pending)

    def _store(self, report: NodeReport | None) -> None:
        pending = self._checkpoint.pending
        if report is not None:
            pending.append(pack(report))
            if len(pending) > _MAX_PENDING:
                pending.pop(0)
                self._counts.dropped += 1
        try:
            save_checkpoint(self._path, self._checkpoint)
        except OSError as error:
            self._counts.checkpoint_errors += 1
            self._log_once(f"checkpoint {self._path} cannot be written: {error.strerror}")
            return
        try:
            while pending:
                self._outbox.put(pending[0])
                pending.pop(0)
            self._outbox.trim()
            self._failing = False
        except OSError as error:
            self._counts.outbox_errors += 1
            self._log_once(f"outbox {self._outbox.directory} cannot be written: {error.strerror}")

    def _log_once(self, message: str) -> None:
        """Log the first failure; the next one is logged after the disk has worked again."""
        if not self._failing:
            _log.error("%s: free space or repair the volume; reports stay in memory meanwhile", message)
        self._failing = True


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint file durably. Raises OSError; then the previous file is unchanged."""
    value = {
        "boot_id": checkpoint.boot_id,
        "sample": sample_to_json(checkpoint.sample) if checkpoint.sample else None,
        "carry_us": checkpoint.carry_us,
        "newest_start": checkpoint.newest_start,
        "parts_used": checkpoint.parts_used,
        "names": [info_to_json(pod) for pod in checkpoint.names.values()],
        "pending": [b64encode(packed.body).decode() for packed in checkpoint.pending],
        "baselines": {name: asdict(baseline) for name, baseline in checkpoint.baselines.items()},
    }
    write_durably(path, json.dumps(value, separators=(",", ":")).encode())


def load_checkpoint(path: Path, boot_id: str) -> Checkpoint:
    """The stored checkpoint. Of another boot's checkpoint only the pending reports and the baselines are used."""
    try:
        value = parse_json(path.read_bytes())
        baselines = {name: _baseline(fields) for name, fields in value["baselines"].items()}
        pending = [packed for text in value["pending"] if (packed := _pending(text)) is not None]
        if value["boot_id"] != boot_id:
            return Checkpoint(boot_id, baselines, pending=pending)
        amounts({key: value[key] for key in ("newest_start", "parts_used")}, least=-1)
        names = [info_from_json(pod) for pod in value.get("names", ())]
        return Checkpoint(
            boot_id,
            baselines,
            sample=sample_from_json(value["sample"]) if value["sample"] else None,
            carry_us=amounts(value["carry_us"], least=-(2**62)),
            newest_start=value["newest_start"],
            parts_used=value["parts_used"],
            pending=pending,
            names={pod.cgroup_uid: pod for pod in names},
        )
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.error("checkpoint %s cannot be used, starting without it: %s", path, error)
    return Checkpoint(boot_id)


def _pending(text: str) -> PackedReport | None:
    """One pending report; None, and a log line, if it cannot be decoded. The other reports are still used."""
    try:
        return pack(decode_report(zlib.decompress(b64decode(text))))
    except (ValueError, TypeError, zlib.error) as error:
        _log.error("a report in the checkpoint cannot be used: %s", error)
        return None


def _baseline(fields: Mapping[str, Any]) -> Baseline:
    days = {
        int(day): {int(step): int(power_mw) for step, power_mw in steps.items()}
        for day, steps in fields["lowest_mw"].items()
    }
    for steps in days.values():
        if not steps:
            raise ValueError("a day of a baseline has no power")
        amounts({str(step): power_mw for step, power_mw in steps.items()})
    amounts({"idle_uw": fields["idle_uw"]}, least=-1)
    return Baseline(days, fields["idle_uw"])
