"""How commands that people run reach their API server: a kubeconfig's context, with their own rights."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from carbonbudget_operator.cli.options import fail
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


def credentials(kubeconfig: str, context: str, code: int = _WRONG_USE, hint: str = "") -> Credentials:
    """Who we are; ends the process with `code` and a sentence (`hint` behind it) if nobody."""
    try:
        found = find_credentials(kubeconfig, context)
        if found.url.startswith("https"):
            found.ssl_context()  # a CA or key that is no longer there is told here
        if code == _WRONG_USE and not _URL.match(found.url):  # `check` says of each object why it is not answerable
            raise ValueError(f"the kubeconfig's server {found.url!r} is no http or https URL")
    except (ValueError, OSError) as error:
        fail(f"{error}; {hint}" if hint else str(error), code=code)
    return found
