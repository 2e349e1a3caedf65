"""`kubectl carbon top --by run` and `--by model`: the largest runs or models, by the server's figures."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from carbonbudget_operator.cli.answer_source_options import exit_on_unknown_answer, exit_without_answer
from carbonbudget_operator.cli.common_options import OutputFormat, check_namespace
from carbonbudget_operator.cli.service_account import parse_service_account

if TYPE_CHECKING:
    from carbonbudget_operator.kube.credentials import Credentials


class TopBy(StrEnum):
    """What the rows are."""

    RUN = "run"
    MODEL = "model"


def top_by(
    who: Credentials, by: TopBy, namespace: str, window: str, limit: int, output: OutputFormat, server_namespace: str,
    service_account: str, timeout: float,
) -> None:  # fmt: skip
    """Print them, largest first, `limit` at most (0: all). An empty namespace stands for all that the account may read.

    Ends the process with one line where there is no answer.
    """
    # Imported here: `--help` should not wait for it.
    from carbonbudget_operator.cli.answers_from_server import ApiServerTransport, ServerSource
    from carbonbudget_operator.cli.run_rows import MODEL_HEADINGS, RUN_HEADINGS, largest_first, print_rows

    for option, name in (("--namespace", namespace), ("--server-namespace", server_namespace)):
        if name:
            check_namespace(option, name)
    source = ServerSource(ApiServerTransport(who, server_namespace, timeout, parse_service_account(service_account)))
    with exit_without_answer():
        if by is TopBy.RUN:
            answer = source.rows("runs", _given({"window": window, "namespace": namespace}))
        else:
            named = f"namespace={namespace}" if namespace else ""
            answer = source.rows("emissions", _given({"window": window, "by": "model", "filter": named}))
    with exit_on_unknown_answer():
        rows = largest_first(row for row in answer["rows"] if _is_named(row, by, namespace))
        if not rows:
            where = f"of namespace {namespace} " if namespace else ""
            print(f"note: no pod {where}had the label carbonbudget.dev/{by} in that time", file=sys.stderr)
        if limit and len(rows) > limit:
            print(f"note: {limit} of {len(rows)} rows", file=sys.stderr)
        headings = RUN_HEADINGS if by is TopBy.RUN else MODEL_HEADINGS
        print_rows(answer, rows[: limit or None], headings, output, None)


def _given(params: dict[str, str]) -> dict[str, str | int]:
    return {**{key: value for key, value in params.items() if value}, "limit": 10_000}


def _is_named(row: dict[str, Any], by: TopBy, namespace: str) -> bool:
    """Whether it is of pods with the label, and of that namespace."""
    return not str(row[by.value]).startswith("__") and namespace in ("", row["namespace"])
