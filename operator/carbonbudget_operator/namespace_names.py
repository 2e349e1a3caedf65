"""What stands in the place of a namespace's name: the sign for every namespace, and the rows of no pod. Pure.

Budgets' questions, the ledger's cuts and the ledger's selected labels all use this one sign.
"""

from __future__ import annotations

from typing import Final

# No namespace can have this name, so that it needs no second field beside the names.
EVERY_NAMESPACE: Final = "*"
_SPECIAL: Final = "__"


def is_special(name: str) -> bool:
    """Whether this is the row of no pod (`__idle__`, `__system__`, `__unseen__`), which lies in no namespace."""
    return name.startswith(_SPECIAL)
