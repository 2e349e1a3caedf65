"""The `carbonbudget-agent` command."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from types import FrameType

from carbonbudget_agent.meters.detect import choose_meter, detect_meters
from carbonbudget_agent.options import parse_options
from carbonbudget_agent.run import run


def main() -> None:
    """Entry point: exit code 0, 1 for what cannot be measured or reached, 2 for a bad option."""
    options = parse_options()
    if options.command == "meters":
        sys.exit(_meters(options))
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        sys.exit(run(options, on_stop=_on_stop))
    except (OSError, ValueError, RuntimeError) as error:
        print(f"carbonbudget-agent: {error}", file=sys.stderr)
        sys.exit(1)


def _meters(options: argparse.Namespace) -> int:
    """Print every source and why it is taken or not; exit code 1 if none is there."""
    detections = detect_meters(options.sysfs, options.procfs)
    try:
        chosen = choose_meter(detections)
    except RuntimeError as error:
        print(f"carbonbudget-agent: {error}", file=sys.stderr)
        return 1
    for detection in detections:
        state = "used" if detection.meter is chosen else "found" if detection.meter else "absent"
        print(f"{detection.name:8} {state:7} {json.dumps(detection.reason, ensure_ascii=False)[1:-1]}")
    return 0


def _on_stop(stop: object) -> None:
    """Call `stop` on SIGTERM and SIGINT."""

    def handler(_signal: int, _frame: FrameType | None) -> None:
        assert callable(stop)
        stop()

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
