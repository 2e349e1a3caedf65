"""The budgets that the watch has shown, by key, and a bell that rings when a spec changed.

Of an object only what is used is kept, and of all objects of a namespace a bounded sum: whoever may create budgets in
one namespace must not fill the controller, which judges those of all.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.api.names import BLOCKING_LABEL, Resource
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.evaluate import State

Body = Mapping[str, object]

_log = logging.getLogger(__name__)
# Bytes of JSON: some thousand budgets with all that a status may have.
_MOST_OF_A_NAMESPACE: Final = 4 * 2**20
# What the CRDs allow takes half of it; a budget from before their bounds may be larger.
_MOST_OF_A_BUDGET: Final = 2**20
_METADATA: Final = ("name", "namespace", "uid", "generation", "resourceVersion")
# What is kept of a status that does not fit: what is written about such a budget.
_TOLD: Final = ("state", "message", "action", "enforcement", "conditions")
_TOO_LARGE: Final = "the budget is too large to be judged: make its selectors shorter"
_CROWDED: Final = (
    f"the budgets of this namespace are together larger than the {_MOST_OF_A_NAMESPACE // 2**20} MiB that are kept: "
    "delete some, or make their selectors shorter, then change this one"
)


class Held:
    """One object as the watch showed it last; `left_out` says why it is kept without its spec."""

    def __init__(self, resource: Resource, body: Body, left_out: str = "") -> None:
        self.resource, self.body, self.left_out = resource, body, left_out

    @cached_property
    def budget(self) -> AnyBudget:
        """Parsed, once for each change. Raises pydantic's ValidationError."""
        model = CarbonBudget if self.resource.namespaced else ClusterCarbonBudget
        return model.model_validate(self.body)

    @property
    def metadata(self) -> Mapping[str, object]:
        """Its metadata."""
        found = self.body.get("metadata")
        return found if isinstance(found, Mapping) else {}

    @property
    def uid(self) -> str:
        """Its uid: another one under the same name is another budget."""
        return str(self.metadata.get("uid", ""))

    @property
    def version(self) -> tuple[str, object]:
        """Its uid and generation: changes with what is asked for, and not with its status."""
        return self.uid, self.metadata.get("generation")

    @property
    def namespace(self) -> str:
        """Its namespace; empty for a cluster-wide budget."""
        return str(self.metadata.get("namespace") or "")

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.metadata.get("name", ""))

    @property
    def state(self) -> State | None:
        """The state that its status shows; None before the first."""
        status = self.body.get("status")
        word = status.get("state") if isinstance(status, Mapping) else None
        return next((state for state in State if state.value == word), None)

    @property
    def key(self) -> str:
        """namespace/name, or /name for a cluster-wide budget: how all rooms speak of it."""
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> ApiPath:
        """Where the API server has it."""
        return self.resource.path(self.namespace, self.name)


class Inventory:
    """Filled by kopf's watch, read by the evaluation loop; one event loop, so no lock.

    By key and not by uid: a budget that was deleted and made anew while the watch was away takes the place
    of the one whose end was missed.
    """

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._bytes: dict[str, int] = {}  # of specs and statuses, by key
        self._sums: dict[str, int] = {}  # the same, by namespace
        self.changed = asyncio.Event()
        # Rings with our own status patches too: what enforcement waits for.
        self.moved = asyncio.Event()

    def seen(self, resource: Resource, event: str | None, body: Body) -> None:
        """One watch event. A new generation rings the bell; our own status patches do not."""
        held, size = _kept(resource, body)
        if event == "DELETED":
            self.forget(held.key, held.uid)
            return
        former = self._held.get(held.key)
        self._count(held, 0)
        if held.namespace and self._sums.get(held.namespace, 0) + size > _MOST_OF_A_NAMESPACE:
            if former is None or not former.left_out:
                _log.warning("%s is not judged: %s", held.key, _CROWDED)
            held = _without_spec(held, _CROWDED)
        else:
            self._count(held, size)
        self._held[held.key] = held
        self.moved.set()
        if former is None or former.version != held.version:
            self.changed.set()

    def _count(self, held: Held, size: int) -> None:
        """Of this object so many bytes are kept now."""
        self._sums[held.namespace] = self._sums.get(held.namespace, 0) + size - self._bytes.pop(held.key, 0)
        if size:
            self._bytes[held.key] = size
        if not self._sums[held.namespace]:
            del self._sums[held.namespace]

    def forget(self, key: str, uid: str) -> None:
        """The object is gone; also when a write finds it gone, as a watch may have missed its end."""
        if key in self._held and self._held[key].uid == uid:
            self._count(self._held.pop(key), 0)
            self.moved.set()

    def keep_only(self, uids: Iterable[str], among: Mapping[str, Held]) -> int:
        """Forget what of `among`, an earlier snapshot, is not in a complete list made since; how many that were."""
        listed = set(uids)
        gone = [held for held in among.values() if held.uid not in listed]
        for held in gone:
            self.forget(held.key, held.uid)
        return len(gone)

    def held(self) -> dict[str, Held]:
        """A snapshot by key."""
        return dict(self._held)


def _kept(resource: Resource, body: Body) -> tuple[Held, int]:
    """What is used of an object, and how many bytes of JSON its spec and its status are."""
    found = body.get("metadata")
    metadata = found if isinstance(found, Mapping) else {}
    labels = metadata.get("labels")
    label = labels.get(BLOCKING_LABEL) if isinstance(labels, Mapping) else None
    used: dict[str, object] = {key: metadata[key] for key in _METADATA if key in metadata}
    used["labels"] = {BLOCKING_LABEL: label} if label is not None else {}
    parts = {key: body[key] for key in ("spec", "status") if key in body}
    held = Held(resource, {"metadata": used} | parts)
    size = len(json.dumps(parts))
    return (_without_spec(held, _TOO_LARGE), 0) if size > _MOST_OF_A_BUDGET else (held, size)


def _without_spec(held: Held, why: str) -> Held:
    status = held.body.get("status")
    told = {key: status[key] for key in _TOLD if key in status} if isinstance(status, Mapping) else {}
    return Held(held.resource, {"metadata": held.metadata, "status": told}, why)
