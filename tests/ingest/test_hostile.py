"""Hostile reports harm nobody: each is refused in a line, good ones between are stored, memory stays bounded."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Callable

import sqlalchemy as sa
from tests.ingest.hostile import hostile
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import a_face

from carbonbudget_operator.ledger.consistency import check_ledger

# `CARBONBUDGET_HOSTILE=100000` sends as many as a night would bring.
COUNT = int(os.environ.get("CARBONBUDGET_HOSTILE", "3000"))
EVERY = 50
MAX_GROWTH_MIB = 64


def rss_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def test_hostile_reports_are_refused_in_a_line_and_good_ones_between_are_stored(
    url: str, open_engine: Callable[[str], sa.Engine]
) -> None:
    answers: Counter[int] = Counter()
    good = taken = before = 0
    async with a_face(url) as face:
        for index, request in enumerate(hostile(7, COUNT)):
            answer = await face.report(request.body, request.token, **request.headers)
            answers[answer.status_code] += 1
            if answer.status_code == 200:
                taken += answer.json()["result"] == "stored"  # what was changed was harmless
            else:
                assert 400 <= answer.status_code < 500, (answer.status_code, request)
                reason = answer.json()["reason"]
                assert reason
                assert "\n" not in reason
                assert len(reason) < 500, reason
            if index % EVERY == 0:
                said = await face.report(a_report(HOUR - 60 * (index // EVERY), "node-3"), "node:node-3")
                assert said.json() == {"result": "stored"}
                good += 1
            if index == COUNT // 3:
                before = rss_mib()
        assert rss_mib() - before < MAX_GROWTH_MIB
    assert set(answers) >= {200, 400, 401, 403, 415, 422}
    assert answers[400] > COUNT // 4
    *_, checked = check_ledger(open_engine(url))
    assert checked.defects == []
    assert checked.windows == good + taken
