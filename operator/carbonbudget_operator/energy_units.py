"""How many microjoules a kilowatt-hour has: the one place where it is stated."""

from __future__ import annotations

from typing import Final

UJ_PER_KWH: Final = 3_600_000_000_000
