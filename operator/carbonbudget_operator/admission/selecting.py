"""Which labels the pods of a Scale have at least. Pure.

A Scale has no pod labels, only the workload's own selector in `status.selector`. Pods carry what that asks for,
and may carry more.
"""

from __future__ import annotations

import re

_EQUALS = re.compile(r"([^\s=!,()]+)\s*==?\s*([^\s=!,()]*)")


def known_labels(selector: str) -> dict[str, str]:
    """Labels that every pod under a selector such as "app=web,tier in (a,b)" has: its equalities."""
    terms = re.split(r",(?![^(]*\))", selector)
    return {match[1]: match[2] for term in terms if (match := _EQUALS.fullmatch(term.strip())) is not None}
