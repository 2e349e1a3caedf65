"""Watches that are restarted when the code that follows them fails."""

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
    """Run `follow`, which watches `path`, for ever: an error in it is logged and counted, and it is started again.

    What it kept stands meanwhile, and ages: a task that died unseen would leave it looking current for ever.
    """
    backoff = Backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
    try:
        while True:
            pause_s = backoff.pause_seconds()
            try:
                await follow()
                _log.error("the watch of %s ended and is started again in %.0f s", path, pause_s)
            except Exception:  # whatever it is: the next object may be no trouble
                _log.exception("the watch of %s failed and is started again in %.0f s", path, pause_s)
            client.watches.failed(str(path))
            await asyncio.sleep(pause_s)
    finally:
        client.watches.forget(str(path))
