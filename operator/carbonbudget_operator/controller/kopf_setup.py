"""Sets up kopf so that its watches never end unnoticed: settings, two handlers, and a check for the probe.

kopf watches our own custom resources only: no pods, nodes, jobs, namespaces, indexes, timers, daemons or finalizers
(docs/design/2026-11-23-kopf.md has the figures).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import kopf

from carbonbudget_operator.api.wire_names import GROUP, RESOURCES, VERSION, Resource
from carbonbudget_operator.controller.budget_store import BudgetStore
from carbonbudget_operator.controller.watch_proxy import BudgetWatchProxy

_FIRST_BACKOFF_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 30.0
_WORKERS = 100
_IDLE_SECONDS = 0.1
_WATCHER = "watcher for "  # how kopf names the task of each; then <plural>.<version>.<group>@<namespace>


class EndlessBackoffs:
    """Delays between attempts, without end.

    With kopf's default a watcher ends for ever after 54 s of 5xx, without an error.
    """

    def __init__(self, first_seconds: float = _FIRST_BACKOFF_SECONDS, most_seconds: float = _MAX_BACKOFF_SECONDS):
        self._first_s, self._most_s = first_seconds, most_seconds

    def __iter__(self) -> Iterator[float]:
        """1, 2, 4, 8, 16, 30, 30, ... seconds."""
        delay = self._first_s
        while True:
            yield min(delay, self._most_s)
            delay = min(delay * 2, self._most_s)


def configure(settings: kopf.OperatorSettings, backoffs: EndlessBackoffs | None = None) -> None:
    """kopf's settings, each with its reason."""
    settings.persistence.finalizer = f"{GROUP}/finalizer"  # none is set; ours if ever
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    settings.networking.error_backoffs = backoffs or EndlessBackoffs()
    # No limit for a whole list: kopf would begin again for ever if it took longer. kopf asks the watch proxy alone, and
    # the proxy's client limits each page to 30 s, so that a list ends or is refused.
    settings.networking.request_timeout = None
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 300  # load balancers drop what is silent for longer
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.posting.enabled = False  # our own Events have stable reasons
    settings.posting.loggers = False
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("kopf").setLevel(logging.WARNING)  # at INFO a line for every event of every budget
    # A worker for each object of a list at once, for 5 s, is what filled the memory where there are many.
    settings.queueing.worker_limit = _WORKERS
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.peering.standalone = True  # one replica, strategy Recreate
    settings.scanning.disabled = True  # no watch of all CRDs and namespaces, nor the right to it


def registry_of(store: BudgetStore, feed: BudgetWatchProxy) -> kopf.OperatorRegistry:
    """The handlers: the API as `feed` shows it, and every event of a budget of either kind into the store."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.AiohttpSession:
        return feed.login()

    for resource in RESOURCES:
        _watch(registry, resource, store)
    return registry


def _watch(registry: kopf.OperatorRegistry, resource: Resource, store: BudgetStore) -> None:
    # An on.event handler alone writes nothing to the object: no finalizer, no annotation, no progress.
    @kopf.on.event(GROUP, VERSION, resource.plural, registry=registry)
    async def seen(type: str | None, body: kopf.Body, **_: object) -> None:
        store.seen(resource, type, body)  # it copies the used metadata


def stopped_watches() -> list[str]:
    """Our kinds whose watcher has ended. The controller does not see their changes and must be restarted."""
    names = [task.get_name() for task in asyncio.all_tasks() if not task.done()]
    watched = {name.removeprefix(_WATCHER).partition(".")[0] for name in names if name.startswith(_WATCHER)}
    return [resource.plural for resource in RESOURCES if resource.plural not in watched]
