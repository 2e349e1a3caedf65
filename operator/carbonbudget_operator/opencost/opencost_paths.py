"""The paths of OpenCost's allocation API. The server answers them, and the proxy passes them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

IGNORED_HEADER: Final = "X-Carbonbudget-Ignored-Parameters"
PREFIXES: Final = ("/allocation", "/model/allocation")
# Whether each is a summary. OpenCost's own UI asks under /model.
PATHS: Final[Mapping[str, bool]] = {
    prefix + path: path.endswith("summary")
    for prefix in PREFIXES
    for path in ("", "/compute", "/summary", "/compute/summary")
}
MAX_QUERY: Final = 16_000  # characters of all parameters together
