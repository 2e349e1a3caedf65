"""Options and credentials of commands that ask the API server with a user's kubeconfig."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

import typer

from carbonbudget_operator.cli.common_options import fail
from carbonbudget_operator.kube.credentials import Credentials, find_credentials

Kubeconfig = Annotated[
    str,
    typer.Option(
        "--kubeconfig", envvar="CARBONBUDGET_KUBECONFIG", help="Kubeconfig file.  [default: KUBECONFIG, ~/.kube/config]"
    ),
]
Context = Annotated[
    str, typer.Option("--context", envvar="CARBONBUDGET_CONTEXT", help="Its context.  [default: the current one]")
]
AsUser = Annotated[
    str, typer.Option("--as", metavar="USER", help="Ask as this user, as with kubectl: needs the right to impersonate.")
]
AsGroups = Annotated[
    list[str] | None, typer.Option("--as-group", metavar="GROUP", help="Ask as this group too; can be repeated.")
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", envvar="CARBONBUDGET_NAMESPACE", help="Namespace.  [default: the context's, default]"
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.1, max=3600, envvar="CARBONBUDGET_TIMEOUT", help="Seconds to wait for each answer."
    ),
]

_WRONG_USE: Final = 2
_URL: Final = re.compile(r"https?://[^\s/]+(/\S*)?$")


def credentials(
    kubeconfig: str,
    context: str,
    code: int = _WRONG_USE,
    hint: str = "",
    as_user: str = "",
    as_groups: Sequence[str] = (),
) -> Credentials:
    """The credentials of a kubeconfig's context; `as_user` and `as_groups` are whom the API server shall take us for.

    Ends the process with `code` and a sentence (`hint` behind it) where there are none, and with exit code 2 where a
    group is given without a user, or a name that no header can hold.
    """
    impersonated = _impersonated(as_user, as_groups)
    try:
        found = replace(find_credentials(kubeconfig, context), impersonated=impersonated)
        if found.url.startswith("https"):
            found.ssl_context()  # a CA or key that is no longer there is reported here
        if code == _WRONG_USE and not _URL.match(found.url):  # `check` says of each object why it is not answerable
            raise ValueError(f"the kubeconfig's server {found.url!r} is no http or https URL")
    except (ValueError, OSError) as error:
        fail(f"{error}; {hint}" if hint else str(error), code=code)
    return found


def _impersonated(user: str, groups: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if groups and not user:
        fail("--as-group needs --as: write the user whose groups these are", code=_WRONG_USE)
    for option, name in (("--as", user), *(("--as-group", group) for group in groups)):
        if not (name.isascii() and name.isprintable()) or (option == "--as-group" and not name.strip()):
            fail(f"{option} must be a name of printable ASCII characters, not {name!r}", code=_WRONG_USE)
    return (*((("Impersonate-User", user),) if user else ()), *(("Impersonate-Group", group) for group in groups))
