"""A process that exports one step and is killed at a point; its arguments are those of `main`.

It kills itself, as the kernel does when memory is short, at the Nth time that it comes to the point.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from tests.exports.exporting import Export, settings_of

from carbonbudget_operator.exports.export_target_http import RowsRefused, TargetHttp
from carbonbudget_operator.ledger.export_cursor import ExportCursor
from carbonbudget_operator.ledger.ledger_engine import open_ledger

POINTS = (
    "before it is written down what is sent", "before a request", "before an answer is read",
    "before it is written down that all was sent", "after it is written down that all was sent",
)  # fmt: skip


def main(url: str, target_json: str, cluster: str, now: str, point: str, times: str) -> None:
    left = int(times)

    def pass_by(here: str) -> None:
        nonlocal left
        if here == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    begin, finish, send = ExportCursor.begin, ExportCursor.finish, TargetHttp.send

    def beginning(self: ExportCursor, *args: Any) -> None:
        pass_by(POINTS[0])
        begin(self, *args)

    async def sending(self: TargetHttp, body: bytes) -> RowsRefused | None:
        pass_by(POINTS[1])
        result = await send(self, body)
        pass_by(POINTS[2])
        return result

    def finishing(self: ExportCursor, *args: Any) -> None:
        pass_by(POINTS[3])
        finish(self, *args)
        pass_by(POINTS[4])

    ExportCursor.begin, ExportCursor.finish = beginning, finishing  # type: ignore[method-assign]
    TargetHttp.send = sending  # type: ignore[method-assign]
    settings = settings_of(json.loads(target_json)).model_copy(update={"cluster": cluster})
    asyncio.run(Export(open_ledger(url), settings, holder="killed").step(int(now)))


if __name__ == "__main__":
    main(*sys.argv[1:])
