"""Answers of `allocate` and `report` from the ledger's database, without a server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa

from carbonbudget_operator.answers import report_closing
from carbonbudget_operator.answers.allocation_groups import (
    GroupingError,
    allocation_json,
    group_rows,
    needs_nodes,
    parse_filter,
    parse_group_by,
)
from carbonbudget_operator.answers.time_ranges import TimeRangeError, covered_range
from carbonbudget_operator.carbon.grid_factors import UnknownZone
from carbonbudget_operator.cli.answer_source import AnswerSourceError, JsonObject, Span
from carbonbudget_operator.cli.common_options import code_of
from carbonbudget_operator.external.file_formats import read_external_file
from carbonbudget_operator.external.import_errors import ExternalFileError
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger import external_figure_store
from carbonbudget_operator.ledger.closed_reports import ClosedReport
from carbonbudget_operator.ledger.clusters import require_cluster
from carbonbudget_operator.ledger.external_figure import imported
from carbonbudget_operator.ledger.ledger_engine import LedgerError, ledger_errors, open_ledger
from carbonbudget_operator.ledger.schema_migration import require_schema
from carbonbudget_operator.ledger.seal import sealed_hours
from carbonbudget_operator.printable import numbered
from carbonbudget_operator.server.public.run_answers import runs_answer
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valuation.node_factors import check_all_places
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

T = TypeVar("T")
_BESIDE = "beside the ledger"


class LedgerSource:
    """Opens the ledger at the first question. Implements `AnswerSource`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._noted: set[str] = set()  # an export asks about many steps: each note is printed once

    def allocation(self, span: Span, group_by: str, filter_by: str) -> JsonObject:
        """Total, rows and factors, and `settings`."""

        def made(engine: sa.Engine) -> JsonObject:
            fields, filters = parse_group_by(group_by), parse_filter(filter_by)
            known = covered_range(*span)
            with engine.connect() as connection:
                sealed = len(sealed_hours(connection, self._settings.cluster, *known))
            rows = ValuedReader(engine, self._settings).rows(*known, needs_nodes(fields, filters))
            found = allocation_json(group_rows(rows, fields, filters), known) | {
                "cluster": self._settings.cluster,
                "settings": self._settings.source,
            }
            if sealed:
                hours = numbered(sealed, "hour of that time is", "hours of that time are")
                note = f"note: {hours} sealed: as allocated under the policy of then"
                if note not in self._noted:
                    print(note, file=sys.stderr)
                self._noted.add(note)
            return found

        return self._ask(made)

    def runs(self, span: Span, namespace: str, labels: Mapping[str, str]) -> JsonObject:
        """All rows and the total, and `settings`."""
        given = {
            "start": span[0], "end": span[1], "namespaces": [namespace], "labels": list(labels.items()),
            "unlabelled": True, "limit": sys.maxsize, "cursor": "", "format": "json",
        }  # fmt: skip

        def made(engine: sa.Engine) -> JsonObject:
            found: JsonObject = json.loads(runs_answer(ValuedReader(engine, self._settings), given))
            return found | {"settings": self._settings.source}

        try:
            return self._ask(made)
        except Refusal as refusal:
            raise AnswerSourceError(refusal.reason, 2) from None

    def report(self, span: Span, period: str, compare: bool = False) -> JsonObject:
        """A report, and `settings`."""
        with _progress() as progress:
            return self._ask(
                lambda engine: report_closing.period_report(
                    engine, self._settings, span, int(time.time()), period, progress, compare
                )
            )

    def closures(self) -> JsonObject:
        """All closed reports and all closures that were undone, without their texts."""
        return self._ask(lambda engine: report_closing.closures(engine, self._settings.cluster))

    def closed(self, period: str) -> ClosedReport:
        """One closed report."""
        return self._ask(lambda engine: report_closing.find_closure(engine, self._settings.cluster, period))

    def close(self, period: str, incomplete: bool) -> ClosedReport:
        """Close a period's report."""
        with _progress() as progress:
            return self._ask(
                lambda engine: report_closing.close_period(
                    engine, self._settings, period, int(time.time()), incomplete, progress
                ),
                writes=True,
            )

    def reopen(self, period: str, reason: str) -> ClosedReport:
        """Undo a closure; what was closed."""
        return self._ask(
            lambda engine: report_closing.reopen_period(
                engine, self._settings.cluster, period, int(time.time()), reason
            ),
            writes=True,
        )

    def external_files(self) -> JsonObject:
        """All imported files of external figures, and all that were removed."""

        def listed(engine: sa.Engine) -> JsonObject:
            with engine.connect() as connection:
                return external_figure_store.listed(connection, self._settings.cluster)

        return self._ask(listed)

    def import_external(self, content: bytes, request: ImportRequest) -> JsonObject:
        """Import a file of external figures; what was imported."""

        def stored(engine: sa.Engine) -> JsonObject:
            now = int(time.time())
            file = read_external_file(content, request, now)
            external_figure_store.store_file(engine, self._settings.cluster, file, now, _BESIDE)
            return imported(file)

        return self._ask(stored, writes=True)

    def remove_external(self, source: str, sha256: str, reason: str) -> JsonObject:
        """Remove an imported file's figures; what was removed."""
        return self._ask(
            lambda engine: external_figure_store.remove_file(
                engine, self._settings.cluster, source, sha256, int(time.time()), _BESIDE, reason
            ),
            writes=True,
        )

    def _ask(self, question: Callable[[sa.Engine], T], writes: bool = False) -> T:
        try:
            check_all_places(self._settings.carbon)
            engine = open_ledger(self._settings.server.ledger, may_be_standby=not writes)
            try:
                require_schema(engine)
                with ledger_errors(engine):
                    require_cluster(engine, self._settings.cluster)
                    return question(engine)
            finally:
                engine.dispose()
        except (GroupingError, TimeRangeError, UnknownZone, ExternalFileError) as error:
            raise AnswerSourceError(str(error), 2) from None
        except (external_figure_store.ExternalConflict, external_figure_store.NoExternalFile) as error:
            raise AnswerSourceError(str(error)) from None
        except (LedgerError, report_closing.ClosingError) as error:
            raise AnswerSourceError(str(error), code_of(error)) from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console

    with Console(stderr=True).status("reading") as status:
        yield lambda done, parts: status.update(f"part {done} of {parts}")
