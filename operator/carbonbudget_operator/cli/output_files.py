"""Writes the files that commands produce: a file is complete or absent, and replaces no other."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from carbonbudget_operator.cli.common_options import fail

_NO_PLACE: Final = {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EACCES, errno.EPERM, errno.EROFS,
}  # fmt: skip


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A path to write to, in a directory of its own beside `file`; at the end it becomes `file`, else all of it goes.

    Ends the process with one line: exit code 2 where `file` exists or is no path to write to, 1 where writing fails.
    """
    made = ""
    try:
        if file.is_symlink() or file.exists():
            raise FileExistsError
        made = tempfile.mkdtemp(prefix=f".{file.name}.", dir=file.parent)
        partial = Path(made, file.name)
        yield partial
        try:
            os.link(partial, file)  # fails where `file` was made meanwhile; a rename would overwrite it
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            partial.replace(file)
    except FileExistsError:
        fail(f"{file} exists already, and nothing is overwritten: give another name", code=2)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror or error}", code=2 if error.errno in _NO_PLACE else 1)
    finally:
        if made:
            shutil.rmtree(made, ignore_errors=True)
