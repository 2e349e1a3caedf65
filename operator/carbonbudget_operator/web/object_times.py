"""Instants in Kubernetes objects as UTC seconds that the page can show."""

from __future__ import annotations

import datetime as dt

from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.web.views.answer_figures import UNTIL


def second_of(instant: dt.datetime | None) -> int | None:
    """The UTC second of an instant; None for none, and for one beyond the years of calendars."""
    try:
        found = None if instant is None else seconds(instant)
    except (OverflowError, ValueError, OSError):
        return None
    return found if found is not None and 0 <= found < UNTIL else None
