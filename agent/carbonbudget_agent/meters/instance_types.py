"""Which microarchitecture a cloud's machine type runs on, for CPUs whose model numbers are not published.

Figures: data/instance_types.csv, whole names by regular expression, the first that fits. Where a cloud runs one
type on several generations the older stands, and types that it runs on anything are left out.
"""

from __future__ import annotations

import re

from carbonbudget_core.bundled_tables import bundled_rows


def find_by_instance_type(instance_type: str) -> str | None:
    """The name of a row of cpu_power.csv; None for a type that is not known."""
    return next(
        (
            row["microarchitecture"]
            for row in bundled_rows("carbonbudget_agent", "data/instance_types.csv")
            if re.fullmatch(row["instance_type"], instance_type)
        ),
        None,
    )
