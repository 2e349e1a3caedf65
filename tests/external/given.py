"""What the tests of external figures are given: the files, and a moment after all of them."""

from __future__ import annotations

from pathlib import Path

from carbonbudget_operator.external.file_formats import read_external_file
from carbonbudget_operator.external.import_request import ImportRequest
from carbonbudget_operator.ledger.external_figure import ExternalFile

FILES = Path(__file__).resolve().parent / "files"
NOW = 1_764_003_600 + 3 * 86_400  # 2025-11-27
LOG = "train_4242.0_2025-11-03T120000Z_carbontracker_output.log"


def content(name: str) -> bytes:
    return (FILES / name).read_bytes()


def read(form: str, text: bytes | str, name: str = "", **more: str) -> ExternalFile:
    """A file's bytes as that format."""
    given = text.encode() if isinstance(text, str) else text
    return read_external_file(given, ImportRequest(form, name, **more), NOW)


def read_file(form: str, name: str, **more: str) -> ExternalFile:
    return read(form, content(name), name, **more)
