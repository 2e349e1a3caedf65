"""How often Python looks for cycles of garbage, in processes that read much JSON and live long."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 100_000


def collect_seldom() -> None:
    """Leave out what is there now (modules live for ever), and look when 100,000 objects came, not 700.

    Parsed JSON is a mass of containers without a cycle in it: looking through them took a third of the server's CPU
    at ingest. What lies uncollected meanwhile is some megabytes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)
