"""Special values in place of a namespace's name: "*" for every namespace, and the names of rows without a pod. Pure.

Budget queries, the ledger's cuts and its selected labels use the same value for every namespace.
"""

from __future__ import annotations

from typing import Final

# No namespace can have this name, so no second field is needed.
EVERY_NAMESPACE: Final = "*"
_SPECIAL: Final = "__"


def is_special(name: str) -> bool:
    """Whether this is a row without a pod and namespace (`__idle__`, `__system__`, `__unseen__`)."""
    return name.startswith(_SPECIAL)
