"""kopf, set up so that it cannot go blind: its settings, our two handlers, the probe.

What kopf is for here: it watches our own custom resources. What it is not used for: pods, nodes, jobs,
indexes, timers, daemons, finalizers (docs/design/2026-11-23-kopf.md has the figures).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import kopf

from carbonbudget_operator.api.names import BUDGET, GROUP, VERSION
from carbonbudget_operator.controller.inventory import Inventory

_MAX_BACKOFF_SECONDS = 30.0


class EndlessBackoffs:
    """Delays between attempts that never run out.

    With kopf's default a watcher ends for good after 54 s of 5xx, and nobody notices.
    """

    def __iter__(self) -> Iterator[float]:
        """1, 2, 4, 8, 16, 30, 30, ... seconds."""
        delay = 1.0
        while True:
            yield delay
            delay = min(delay * 2, _MAX_BACKOFF_SECONDS)


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf's settings, each with its reason."""
    settings.persistence.finalizer = f"{GROUP}/finalizer"  # none is set; ours if ever
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 300  # load balancers drop what is silent for longer
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.posting.enabled = False  # our own Events have stable reasons
    settings.posting.loggers = False
    settings.peering.standalone = True  # one replica, strategy Recreate
    settings.scanning.disabled = True  # no watch of all CRDs and namespaces, nor the right to it


def registry_of(inventory: Inventory) -> kopf.OperatorRegistry:
    """The handlers: credentials, and every event of a budget into the inventory."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: object) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)  # type: ignore[arg-type] # kopf's own keywords

    @kopf.on.event(GROUP, VERSION, BUDGET.plural, registry=registry)
    async def seen(type: str | None, uid: str, body: kopf.Body, **_: object) -> None:
        plain = {key: _plain(value) for key, value in body.items()}
        metadata = plain["metadata"]
        generation = metadata.get("generation") if isinstance(metadata, dict) else None
        inventory.seen(type, uid, generation, plain)

    return registry


def watching() -> bool:
    """Whether kopf's watcher of our resource still runs; without it the controller is blind."""
    names = [task.get_name() for task in asyncio.all_tasks() if not task.done()]
    return any(name.startswith("watcher for") and BUDGET.plural in name for name in names)


def _plain(value: object) -> object:
    """kopf's views as ordinary dicts and lists."""
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
