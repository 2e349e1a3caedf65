"""Restarts a watch when the code that processes its events fails.

Without it, a task that died unnoticed would leave old data that looks current.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from carbonbudget_core.backoff import Backoff
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.kube.client import KubeClient

_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 60.0

_log = logging.getLogger(__name__)


async def keep_following(client: KubeClient, path: ApiPath, follow: Callable[[], Awaitable[None]]) -> None:
    """Run `follow`, which watches `path`, until cancelled. After an error, log and count it, and run it again.

    The data that `follow` stored stays in use until then, and the watch counts as not current.
    """
    backoff = Backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
    try:
        while True:
            pause_s = backoff.pause_seconds()
            try:
                await follow()
                _log.error("the watch of %s ended and restarts in %.0f s", path, pause_s)
            except Exception:  # any defect: it may concern a single object
                _log.exception("the watch of %s failed and restarts in %.0f s", path, pause_s)
            client.watches.failed(str(path))
            await asyncio.sleep(pause_s)
    finally:
        client.watches.forget(str(path))
