"""Special values in place of a label's value in sums by label. Pure."""

from __future__ import annotations

from typing import Final

UNLABELLED: Final = "__unlabelled__"  # of pods without the label
# Of all values, or names of namespaces, beyond a limit: they are one row, so that their energy still counts.
OTHER_VALUES: Final = "__other__"
