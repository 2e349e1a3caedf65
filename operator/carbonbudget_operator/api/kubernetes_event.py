"""Kubernetes Events as the API server takes them: one body for all processes, each of which posts its own."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, Literal

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import GROUP
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.printable import printable

MAX_MESSAGE: Final = 1024  # characters; the API server refuses an Event with more
_MAX_NAME: Final = 200  # of the object's name: an Event's own may have 253 with what makes it unique
_OF_CLUSTER_OBJECTS: Final = "default"  # where Kubernetes puts Events of what has no namespace


@dataclass(frozen=True, slots=True)
class InvolvedObject:
    """The object that an Event is about. `name` and `uid` are empty for one that is not made yet."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""  # empty for a cluster-wide object
    uid: str = ""

    @property
    def events_path(self) -> ApiPath:
        """Where its Events are posted."""
        return ApiPath("", "v1", "events", self.namespace or _OF_CLUSTER_OBJECTS)


def event_body(
    about: InvolvedObject, component: str, kind: Literal["Normal", "Warning"], reason: str, message: str, at: int
) -> dict[str, object]:
    """An Event at `at` (UTC seconds) by `component`, such as "controller"; its texts are printable and cut."""
    time = format_time(at)
    # A name that was cut may end in what no name may end in before the dot.
    name = about.name[:_MAX_NAME].rstrip("-.") or about.kind.lower()
    involved = {
        "apiVersion": about.api_version,
        "kind": about.kind,
        "name": about.name,
        "namespace": about.namespace,
        "uid": about.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name}.{uuid.uuid4().hex[:16]}",
            "namespace": about.namespace or _OF_CLUSTER_OBJECTS,
        },
        "involvedObject": {key: printable(value) for key, value in involved.items() if value},
        "type": kind,
        "reason": reason,
        "message": printable(message, MAX_MESSAGE),
        "source": {"component": f"carbonbudget-{component}"},
        "reportingComponent": f"{GROUP}/{component}",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
