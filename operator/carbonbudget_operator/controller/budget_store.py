"""The budgets that the watch has shown, by key, and an event that is set when a spec changes.

Only the used fields of an object are stored, and the objects of one namespace have a limit in bytes. So the budgets of
one namespace cannot fill the memory of the controller.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from functools import cached_property

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.kubernetes_event import InvolvedObject
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import GROUP, VERSION, Resource
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.verdict import State
from carbonbudget_operator.controller.object_trimming import (
    CROWDED,
    MOST_OF_A_NAMESPACE,
    Body,
    missing_spec_reason,
    trimmed,
    without_spec,
)

_log = logging.getLogger(__name__)


class StoredObject:
    """One object as the watch showed it last. `resource` is its kind in the API.

    `missing_spec_reason` says why it is stored without its spec.
    """

    def __init__(self, resource: Resource, body: Body) -> None:
        self.resource, self.body, self.missing_spec_reason = resource, body, missing_spec_reason(body)

    @cached_property
    def metadata(self) -> Mapping[str, object]:
        """The object's metadata."""
        return at(self.body, "metadata")

    @cached_property
    def uid(self) -> str:
        """The object's uid: another one under the same name is another object."""
        return str(self.metadata.get("uid", ""))

    @property
    def version(self) -> tuple[str, object]:
        """The object's uid and generation: changes with the spec, and not with the status."""
        return self.uid, self.metadata.get("generation")

    @cached_property
    def namespace(self) -> str:
        """The object's namespace; empty for a cluster-wide object."""
        return str(self.metadata.get("namespace") or "")

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.metadata.get("name", ""))

    @property
    def key(self) -> str:
        """namespace/name, or /name for a cluster-wide object."""
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> ApiPath:
        """The object's path in the API."""
        return self.resource.path(self.namespace, self.name)

    @property
    def involved(self) -> InvolvedObject:
        """The object of Events about it."""
        return InvolvedObject(f"{GROUP}/{VERSION}", self.resource.kind, self.name, self.namespace, self.uid)


class StoredBudget(StoredObject):
    """A budget of either kind."""

    @cached_property
    def budget_object(self) -> AnyBudget:
        """The body as a typed object, parsed once for each change. Raises pydantic's ValidationError."""
        model = CarbonBudget if self.resource.namespaced else ClusterCarbonBudget
        return model.model_validate(self.body)

    @property
    def state(self) -> State | None:
        """The state that its status shows; None before the first."""
        word = at(self.body, "status").get("state")
        return next((state for state in State if state.value == word), None)

    @property
    def data_through(self) -> int:
        """The time up to which there were data when its status was written (UTC seconds); 0 if it has none."""
        try:
            return seconds(dt.datetime.fromisoformat(str(at(self.body, "status").get("dataThrough"))))
        except (ValueError, OverflowError):
            return 0


class BudgetStore:
    """Filled by kopf's watch, read by the evaluation loop; one event loop, so no lock.

    By key and not by uid: a budget that was deleted and made anew while the watch was away takes the place
    of the one whose end was missed.
    """

    def __init__(self) -> None:
        self._stored: dict[str, StoredBudget] = {}
        self._bytes: dict[str, int] = {}  # of specs and statuses, by key
        self._sums: dict[str, int] = {}  # the same, by namespace
        self.changed = asyncio.Event()
        # Set also by our own status patches: enforcement waits for these.
        self.moved = asyncio.Event()

    def seen(self, resource: Resource, event: str | None, body: Body) -> None:
        """Take one watch event. A new generation sets `changed`; our own status patches do not."""
        used_fields, size = trimmed(body)
        stored = StoredBudget(resource, used_fields)
        if event == "DELETED":
            self.forget(stored.key, stored.uid)
            return
        previous = self._stored.get(stored.key)
        self._count(stored, 0)
        if stored.namespace and self._sums.get(stored.namespace, 0) + size > MOST_OF_A_NAMESPACE:
            if previous is None or not previous.missing_spec_reason:
                _log.warning("%s is not evaluated: %s", stored.key, CROWDED)
            stored = StoredBudget(resource, without_spec(used_fields, CROWDED))
        else:
            self._count(stored, size)
        self._stored[stored.key] = stored
        self.moved.set()
        if previous is None or previous.version != stored.version:
            self.changed.set()

    def _count(self, stored: StoredBudget, size: int) -> None:
        """Set how many bytes of this object are stored."""
        self._sums[stored.namespace] = self._sums.get(stored.namespace, 0) + size - self._bytes.pop(stored.key, 0)
        if size:
            self._bytes[stored.key] = size
        if not self._sums[stored.namespace]:
            del self._sums[stored.namespace]

    def forget(self, key: str, uid: str) -> None:
        """Remove an object that was deleted, by the watch or because a write found it missing."""
        if key in self._stored and self._stored[key].uid == uid:
            self._count(self._stored.pop(key), 0)
            self.moved.set()

    def keep_only(self, uids: Iterable[str], among: Mapping[str, StoredBudget]) -> int:
        """Remove the objects of `among`, an earlier snapshot, that a later list lacks. Returns their number."""
        listed = set(uids)
        gone = [stored for stored in among.values() if stored.uid not in listed]
        for stored in gone:
            self.forget(stored.key, stored.uid)
        return len(gone)

    def snapshot(self) -> dict[str, StoredBudget]:
        """A snapshot by key."""
        return dict(self._stored)
