"""What the cluster tests wait for: an answer that holds something."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import wait_for


@pytest.mark.parametrize("nothing", [None, False, "", [], {}, frozenset()])
@pytest.mark.parametrize("answer", [True, 0, 1, "text", [0], {"key": 0}])
def test_an_answer_that_holds_nothing_is_waited_over(nothing: object, answer: object) -> None:
    answers = iter([nothing, answer])
    assert wait_for("an answer", lambda: next(answers), seconds=30) is answer


def test_the_wait_ends_with_what_did_not_come() -> None:
    with pytest.raises(AssertionError, match="waited 0 s for the hour"):
        wait_for("the hour", dict, seconds=0)
