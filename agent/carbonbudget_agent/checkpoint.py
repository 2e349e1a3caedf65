"""The checkpoint: the last sample that was reported, and the reports that are not in the outbox yet.

Both stand in one file, so that a kill at any moment leaves either the old pair or the new one: a window
is never attributed twice, and a report that was made is never lost. A report that is put into the
outbox a second time after a kill carries the same key and content, and the ledger counts it once.
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
from carbonbudget_agent.outbox import PackedReport, pack, write_durably
from carbonbudget_agent.pods.info import PodInfo, info_from_json, info_to_json
from carbonbudget_agent.sample import Sample, amounts, sample_from_json, sample_to_json
from carbonbudget_core.jsons import parse_json
from carbonbudget_core.node_report_json import decode_report

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class AttributionProgress:
    """Where attribution stands.

    `newest_start` is the latest window ever opened on this boot; a window at or before it (the clock was
    set back, or a part was sent before) gets the next number of `parts_used`, so that no key recurs.
    `names` are those of the pods in `sample`: who ended while no agent looked still has one.
    """

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


@dataclass(slots=True)
class Checkpoint:
    """What survives a restart: the progress of one boot, and the baselines of all."""

    boot_id: str
    progress: AttributionProgress
    baselines: dict[str, Baseline]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it durably. Raises OSError; then the former one stands."""
    progress = checkpoint.progress
    value = {
        "boot_id": checkpoint.boot_id,
        "sample": sample_to_json(progress.sample) if progress.sample else None,
        "carry_us": progress.carry_us,
        "newest_start": progress.newest_start,
        "parts_used": progress.parts_used,
        "names": [info_to_json(pod) for pod in progress.names.values()],
        "pending": [b64encode(packed.body).decode() for packed in progress.pending],
        "baselines": {name: asdict(baseline) for name, baseline in checkpoint.baselines.items()},
    }
    write_durably(path, json.dumps(value, separators=(",", ":")).encode())


def load_checkpoint(path: Path, boot_id: str) -> Checkpoint:
    """The stored checkpoint. After another boot its counters mean nothing: reports and baselines stay."""
    try:
        value = parse_json(path.read_bytes())
        baselines = {name: _baseline(fields) for name, fields in value["baselines"].items()}
        pending = [packed for text in value["pending"] if (packed := _pending(text)) is not None]
        if value["boot_id"] != boot_id:
            return Checkpoint(boot_id, AttributionProgress(pending=pending), baselines)
        amounts({key: value[key] for key in ("newest_start", "parts_used")}, least=-1)
        names = [info_from_json(pod) for pod in value.get("names", ())]
        progress = AttributionProgress(
            sample=sample_from_json(value["sample"]) if value["sample"] else None,
            carry_us=amounts(value["carry_us"], least=-(2**62)),
            newest_start=value["newest_start"],
            parts_used=value["parts_used"],
            pending=pending,
            names={pod.cgroup_uid: pod for pod in names},
        )
        return Checkpoint(boot_id, progress, baselines)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.error("checkpoint %s cannot be used, starting without it: %s", path, error)
    return Checkpoint(boot_id, AttributionProgress(), {})


def _pending(text: str) -> PackedReport | None:
    """One report; None if it is none, which hinders no other."""
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
