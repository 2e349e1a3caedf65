"""Answers from the ledger itself, for commands that run beside it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa

from carbonbudget_operator.carbon.factors import UnknownZone
from carbonbudget_operator.cli.options import code_of
from carbonbudget_operator.cli.source import JsonObject, SourceError, Span
from carbonbudget_operator.ledger.closed import Closed
from carbonbudget_operator.ledger.clusters import require_cluster
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.ledger.store import LedgerError, open_ledger, require_schema, told
from carbonbudget_operator.reporting import closing
from carbonbudget_operator.reporting.book import Book
from carbonbudget_operator.reporting.grouping import (
    GroupingError,
    answer,
    group,
    needs_nodes,
    parse_filter,
    parse_group_by,
)
from carbonbudget_operator.reporting.places import check_all_places
from carbonbudget_operator.reporting.spans import SpanError, covered
from carbonbudget_operator.settings import Settings

T = TypeVar("T")


class LedgerSource:
    """Opens the ledger at the first question. See `Source`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def allocation(self, span: Span, group_by: str, filter_by: str) -> JsonObject:
        """Total, rows and factors, and `settings`."""

        def made(engine: sa.Engine) -> JsonObject:
            fields, filters = parse_group_by(group_by), parse_filter(filter_by)
            known = covered(*span)
            with engine.connect() as connection:
                sealed = len(sealed_hours(connection, self._settings.cluster, *known))
            rows = Book(engine, self._settings).rows(*known, needs_nodes(fields, filters))
            found = answer(group(rows, fields, filters), known) | {"settings": self._settings.source}
            if sealed:
                note = f"note: {sealed} hours of that time are sealed: they stay as allocated under their time's policy"
                print(note, file=sys.stderr)
            return found

        return self._ask(made)

    def report(self, span: Span, period: str) -> JsonObject:
        """A report, and `settings`."""
        with _progress() as progress:
            return self._ask(
                lambda engine: closing.report(engine, self._settings, span, int(time.time()), period, progress)
            )

    def closures(self) -> JsonObject:
        """All closed reports and all closures that were undone, without their texts."""
        return self._ask(lambda engine: closing.closures(engine, self._settings.cluster))

    def closed(self, period: str) -> Closed:
        """One closed report."""
        return self._ask(lambda engine: closing.find(engine, self._settings.cluster, period))

    def close(self, period: str, incomplete: bool) -> Closed:
        """Close a period's report."""
        with _progress() as progress:
            return self._ask(
                lambda engine: closing.close(engine, self._settings, period, int(time.time()), incomplete, progress)
            )

    def reopen(self, period: str, reason: str) -> Closed:
        """Undo a closure; what was closed."""
        return self._ask(
            lambda engine: closing.reopen(engine, self._settings.cluster, period, int(time.time()), reason)
        )

    def _ask(self, question: Callable[[sa.Engine], T]) -> T:
        try:
            check_all_places(self._settings.carbon)
            engine = open_ledger(self._settings.server.ledger)
            try:
                require_schema(engine)
                with told(engine):
                    require_cluster(engine, self._settings.cluster)
                    return question(engine)
            finally:
                engine.dispose()
        except (GroupingError, SpanError, UnknownZone) as error:
            raise SourceError(str(error), 2) from None
        except (LedgerError, closing.ClosingError) as error:
            raise SourceError(str(error), code_of(error)) from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console

    with Console(stderr=True).status("reading") as status:
        yield lambda done, parts: status.update(f"part {done} of {parts}")
