"""What is said beside a file, which the file itself does not tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.external.file_instants import month_of, zone_of
from carbonbudget_operator.external.file_rows import name_of
from carbonbudget_operator.external.import_errors import ExternalFileError
from carbonbudget_operator.ledger.external_figure import SCOPES, SOURCES

_LOCAL_TIMES = ("codecarbon", "carbontracker")


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """`form` is one of SOURCES, `name` the file's name.

    `timezone` is that of times without an offset (CodeCarbon, Carbontracker). `month`, `account` and `scope` are what
    Azure's rows are about, where they do not say so.
    """

    form: str
    name: str = ""
    timezone: str = ""
    month: str = ""
    account: str = ""
    scope: str = ""

    def check(self) -> None:
        """Raise ExternalFileError for what cannot be meant."""
        if self.form not in SOURCES:
            raise ExternalFileError(f"the format must be {', '.join(SOURCES[:-1])} or {SOURCES[-1]}")
        name_of(self.name, "the file's name", needed=False)
        name_of(self.account, "--account", needed=False)
        if self.timezone and self.form not in _LOCAL_TIMES:
            raise ExternalFileError(f"--time-zone is of {' and '.join(_LOCAL_TIMES)} files: months of a cloud are UTC")
        if (self.month or self.account or self.scope) and self.form != "azure":
            raise ExternalFileError("--month, --account and --scope are of azure files: other files say it themselves")
        if self.scope and self.scope not in SCOPES:
            raise ExternalFileError(f"--scope must be one of {', '.join(SCOPES)}")
        if self.month:
            month_of(self.month, "--month")
        zone_of(self.timezone)
