"""The lifetime of a pod: when it began and ended, from its status in the API's JSON.

Attribution needs it after an outage, when no sample shows how long a pod ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from carbonbudget_agent.sample import PodLifetime
from carbonbudget_core.jsons import at, objects

FINISHED = ("Succeeded", "Failed")


def life_of(status: Mapping[str, object]) -> PodLifetime:
    """From `startTime`, which the kubelet sets when it takes the pod, to the end of the last container that finished.

    A pod ends when its phase says that all of its containers have ended for good. An invalid time counts as unknown.
    """
    ended_ms = None
    if status.get("phase") in FINISHED:
        ended_ms = max(filter(None, map(_finished_ms, objects(status.get("containerStatuses")))), default=None)
    return PodLifetime(_milliseconds(status.get("startTime")), ended_ms)


def _finished_ms(container: Mapping[str, object]) -> int | None:
    return _milliseconds(at(container, "state", "terminated").get("finishedAt"))


def _milliseconds(time: object) -> int | None:
    """A time of the Kubernetes API (RFC 3339, UTC) as milliseconds; None for anything else."""
    if not isinstance(time, str) or not time.endswith("Z"):
        return None
    try:
        return max(0, int(datetime.fromisoformat(time).timestamp() * 1000))
    except (ValueError, OverflowError):
        return None
