"""The interface through which `allocate` and `report` get their answers: from the ledger or from a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from carbonbudget_operator.external.import_request import ImportRequest
    from carbonbudget_operator.ledger.closed_reports import ClosedReport

JsonObject = dict[str, Any]
Span = tuple[int, int]


class AnswerSourceError(Exception):
    """There is no answer; one line says why and what to do. `code`: how the command ends.

    `missing_right`: the API server refused it for want of a right.
    """

    def __init__(self, sentence: str, code: int = 1, *, missing_right: bool = False) -> None:
        super().__init__(sentence)
        self.code, self.missing_right = code, missing_right


class AnswerSource(Protocol):
    """Answers about a cluster's ledger. Spans are [start, end) in UTC seconds. Each method raises AnswerSourceError."""

    def allocation(self, span: Span, group_by: str, filter_by: str) -> JsonObject:
        """Total, rows and factors (`allocation_groups.allocation_json`), and `settings`."""

    def runs(self, span: Span, namespace: str, labels: Mapping[str, str]) -> JsonObject:
        """The pods of a namespace with these labels, as GET /api/v1/runs has them: `rows` by run, `total` with `pods`.

        `settings` names the settings of the figures where the source has them.
        """

    def report(self, span: Span, period: str, compare: bool = False) -> JsonObject:
        """A report; of a named period beside what was closed of it. `compare`: also beside the period before."""

    def closures(self) -> JsonObject:
        """`items`: `period`, `closed_at` and `sha256` of all closed reports; `reopened`: of all closures that were
        undone too, with `reopened_at` and `reason`.
        """

    def closed(self, period: str) -> ClosedReport:
        """One closed report."""

    def close(self, period: str, incomplete: bool) -> ClosedReport:
        """Close a period's report."""

    def reopen(self, period: str, reason: str) -> ClosedReport:
        """Undo a closure; what was closed."""

    def external_files(self) -> JsonObject:
        """`items`: all imported files of external figures; `removed`: all that were removed."""

    def import_external(self, content: bytes, request: ImportRequest) -> JsonObject:
        """Import a file of external figures; what was imported."""

    def remove_external(self, source: str, sha256: str, reason: str) -> JsonObject:
        """Remove an imported file's figures; what was removed."""
