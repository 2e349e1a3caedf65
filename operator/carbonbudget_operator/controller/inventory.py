"""The budgets that the watch has shown, by uid, and a bell that rings when a spec changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

Body = Mapping[str, object]


class Inventory:
    """Filled by kopf's watch, read by the evaluation loop; one event loop, so no lock."""

    def __init__(self) -> None:
        self._bodies: dict[str, Body] = {}
        self._generations: dict[str, object] = {}
        self.changed = asyncio.Event()

    def seen(self, event: str | None, uid: str, generation: object, body: Body) -> None:
        """One watch event. A new generation rings the bell; our own status patches do not."""
        if event == "DELETED":
            self.forget(uid)
            return
        self._bodies[uid] = body
        if self._generations.get(uid) != generation:
            self._generations[uid] = generation
            self.changed.set()

    def forget(self, uid: str) -> None:
        """The object is gone; also when a write finds it gone, as a watch may have missed its end."""
        self._bodies.pop(uid, None)
        self._generations.pop(uid, None)

    def bodies(self) -> dict[str, Body]:
        """A snapshot."""
        return dict(self._bodies)
