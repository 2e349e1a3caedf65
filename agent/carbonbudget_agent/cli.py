"""The command `carbonbudget-agent`: runs the agent or lists the meters, and maps errors to exit codes."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from types import FrameType

from carbonbudget_agent.log_format import AgentJsonFormatter
from carbonbudget_agent.meters.detect import PREFERENCE, choose_meters, detect_meters, winners
from carbonbudget_agent.options import parse_options
from carbonbudget_agent.run import run


def main() -> None:
    """Entry point: exit code 0, 1 for what cannot be measured or reached, 2 for a bad option."""
    options = parse_options()
    if options.command == "meters":
        sys.exit(_meters(options))
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(AgentJsonFormatter() if options.log_format == "json" else text)
    logging.basicConfig(handlers=[handler], level=options.log_level.upper())
    try:
        sys.exit(run(options, on_stop=_on_stop))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            reason = f"{error.filename} cannot be used: {error.strerror}"
        print(f"carbonbudget-agent: {reason}", file=sys.stderr)
        sys.exit(1)


def _meters(options: argparse.Namespace) -> int:
    """Print every source and why it is taken or not; exit code 1 if none is there."""
    detections = detect_meters(options.sysfs, options.procfs, options.instance_type, options.calibration)
    try:
        choose_meters(detections)
    except RuntimeError as error:
        print(f"carbonbudget-agent: {error}", file=sys.stderr)
        return 1
    chosen = winners(detections)
    for detection in detections:
        kinds = [kind for kind, name in chosen.items() if name == detection.name]
        state = f"measures {', '.join(kinds)}" if kinds else "not used" if detection.meter else "absent"
        print(f"{detection.name:6} {state:18} {json.dumps(detection.reason, ensure_ascii=False)[1:-1]}")
    for kind in (kind for kind in PREFERENCE if kind not in chosen):
        print(f"{kind:6} measured by nobody")
    return 0


def _on_stop(stop: object) -> None:
    """Call `stop` on SIGTERM and SIGINT."""

    def handler(_signal: int, _frame: FrameType | None) -> None:
        assert callable(stop)
        stop()

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
