"""What a caller is told that is shown no namespace of an answer: whose right is missing, and where."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from carbonbudget_operator.kube.access_reviews import Caller
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

ANOTHER = ": create another one"


@pytest.mark.parametrize(
    ("token", "asked", "said"),
    [
        (None, ["a"], "ada may not get carbonbudgets in namespace a"),
        (None, ["a", "b"], "ada may not get carbonbudgets in any of these namespaces"),
        (None, [], "ada may not get carbonbudgets in any namespace"),
        (None, [EVERY_NAMESPACE], "ada may not get carbonbudgets in all namespaces"),
        (["a"], ["b"], f"the read token is not for namespace b{ANOTHER}"),
        (["a"], ["b", "c"], f"the read token is not for any of these namespaces{ANOTHER}"),
        (["a"], [EVERY_NAMESPACE], f"the read token is not for all namespaces (`--namespaces '*'`){ANOTHER}"),
        # From here on the token is for it, and who created it has lost the right.
        (["a"], ["a"], "the read token's creator ada may not get carbonbudgets in namespace a"),
        (["a"], ["a", "b"], "the read token's creator ada may not get carbonbudgets in any namespace of the token"),
        (["a"], [], "the read token's creator ada may not get carbonbudgets in any namespace of the token"),
        (["*"], ["a"], "the read token's creator ada may not get carbonbudgets in namespace a"),
        (["*"], [EVERY_NAMESPACE], "the read token's creator ada may not get carbonbudgets in all namespaces"),
    ],
)
def test_the_sentence_names_the_token_where_it_is_the_tokens_and_else_whose_right_is_missing(
    token: Sequence[str] | None, asked: Sequence[str], said: str
) -> None:
    caller = Caller("ada", "", (), {}, "", None if token is None else tuple(token))
    assert caller.missing_right(asked) == said
