"""Reads manifests from files, directories and stdin, for `check` and `when`. What is too large is refused unread."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Final

from carbonbudget_operator.cli.manifests import ManifestError, ManifestObject, read_manifests

MIB: Final = 2**20
_SUFFIXES: Final = (".yaml", ".yml", ".json")


def manifests_of(name: str, most_mib: int, advice: str) -> list[ManifestObject]:
    """All objects of a file, of the manifests in a directory, or of stdin ("-").

    Our YAML parser reads some 100 KB/s, and the API server stores no object above 1.5 MiB. `advice` says what to do
    about a file above `most_mib`.

    Raises ManifestError.
    """
    path = Path(name)
    try:
        if name == "-":
            return read_manifests(_text(sys.stdin.buffer, "stdin", most_mib, advice), "stdin")
        found = sorted(one for one in path.iterdir() if one.suffix in _SUFFIXES) if path.is_dir() else [path]
        entries: list[ManifestObject] = []
        for path in found:
            with path.open("rb") as file:
                entries += read_manifests(_text(file, str(path), most_mib, advice), str(path))
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{name!r} is no file name: {error}") from None  # a null character
    return entries


def _text(file: BinaryIO, source: str, most_mib: int, advice: str) -> str:
    content = file.read(most_mib * MIB + 1)
    if len(content) > most_mib * MIB:
        raise ManifestError(f"{source} is larger than {most_mib} MiB: {advice}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source} is no UTF-8 text: {error.reason}") from None
