"""The exit codes of the commands. Pipelines act by those of `carbonbudget check` and `carbonbudget gate`.

0 is success, 1 what could not be done, 2 wrong use; 3, 4 and 5 are verdicts, the same for both commands.
"""

from __future__ import annotations

from typing import Final

COULD_NOT: Final = 1
WRONG_USE: Final = 2
_PASSED: Final = 0
_WARNED: Final = 3
_REFUSED: Final = 4
UNANSWERABLE: Final = 5

# By verdict, as the commands print it.
CHECK_EXIT_CODES: Final = {"yes": _PASSED, "warned": _WARNED, "refused": _REFUSED, "unanswerable": UNANSWERABLE}
GATE_EXIT_CODES: Final = {"passed": _PASSED, "warned": _WARNED, "failed": _REFUSED, "unanswerable": UNANSWERABLE}
