"""All formats of external figures, and the one function that reads a file of any of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from carbonbudget_operator.external.aws_file import read_aws
from carbonbudget_operator.external.azure_file import read_azure
from carbonbudget_operator.external.carbontracker_file import read_carbontracker
from carbonbudget_operator.external.codecarbon_file import read_codecarbon
from carbonbudget_operator.external.file_draft import FileDraft
from carbonbudget_operator.external.file_rows import text_of
from carbonbudget_operator.external.gcp_file import read_gcp
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ledger.external_figure import ExternalFile

_READERS: Final[Mapping[str, Callable[[str, ImportRequest, int], FileDraft]]] = {
    "codecarbon": read_codecarbon,
    "carbontracker": read_carbontracker,
    "aws": read_aws,
    "gcp": read_gcp,
    "azure": read_azure,
}


def read_external_file(content: bytes, request: ImportRequest, now: int) -> ExternalFile:
    """What a file holds, all of it or nothing; `now` is the UTC second, nothing may end after it.

    Raises:
        ExternalFileError: it is of another format, damaged, too large, or states something that cannot be.
    """
    request.check()
    draft = _READERS[request.form](text_of(content), request, now)
    draft.check()
    digest = hashlib.sha256(content).hexdigest()
    return ExternalFile(request.form, digest, request.name, tuple(draft.figures), draft.rounded, draft.superseded)
