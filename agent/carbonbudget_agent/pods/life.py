"""When a pod began and ended, from its status in the API's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from carbonbudget_agent.sample import Life

FINISHED = ("Succeeded", "Failed")


def life_of(status: Mapping[str, object]) -> Life:
    """From `startTime`, which the kubelet sets when it takes the pod, to the end of the last container that finished.

    A pod ends when its phase says that all of its containers have ended for good. What is no time is not known.
    """
    ended_ms = None
    if status.get("phase") in FINISHED:
        ended_ms = max(filter(None, map(_finished_ms, _list(status.get("containerStatuses")))), default=None)
    return Life(_milliseconds(status.get("startTime")), ended_ms)


def _finished_ms(container: object) -> int | None:
    state = container.get("state") if isinstance(container, dict) else None
    terminated = state.get("terminated") if isinstance(state, dict) else None
    return _milliseconds(terminated.get("finishedAt")) if isinstance(terminated, dict) else None


def _milliseconds(time: object) -> int | None:
    """A time of the Kubernetes API (RFC 3339, UTC) as milliseconds; None for anything else."""
    if not isinstance(time, str) or not time.endswith("Z"):
        return None
    try:
        return max(0, int(datetime.fromisoformat(time).timestamp() * 1000))
    except (ValueError, OverflowError):
        return None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
