"""A right is asked for once a minute, whichever token of an account asks."""

from __future__ import annotations

from typing import Any, cast

import pytest

from carbonbudget_operator.kube.access_reviews import Access, Caller
from carbonbudget_operator.kube.client import KubeClient


class Api:
    """Allows everything, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def request(self, _method: str, _path: object, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body["spec"])
        return {"status": {"allowed": True}}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def access(api: Api) -> Access:
    return Access(cast("KubeClient", api), "carbonbudget-server")


def a_caller(user: str = "bot", groups: tuple[str, ...] = (), **extra: str) -> Caller:
    return Caller(user, "uid", groups, {key: (value,) for key, value in extra.items()}, "")


@pytest.mark.parametrize("name", ["credential-id", "pod-name", "pod-uid", "node-name", "node-uid"])
async def test_a_new_token_of_an_account_asks_for_no_right_again(api: Api, access: Access, name: str) -> None:
    for number in range(5):
        caller = a_caller(**{f"authentication.kubernetes.io/{name}": str(number)})
        assert await access.may_read_budgets(caller, "team-a")
    assert len(api.asked) == 1
    assert api.asked[0]["extra"] == {f"authentication.kubernetes.io/{name}": ["0"]}  # an authorizer may use it


@pytest.mark.parametrize(
    "other",
    [
        a_caller("other"),
        a_caller(groups=("team-b",)),
        a_caller(scopes="team-a"),
        a_caller(**{"authentication.kubernetes.io/other": "x"}),
    ],
)
async def test_whatever_else_differs_is_asked_for(api: Api, access: Access, other: Caller) -> None:
    for caller in (a_caller(), other):
        assert await access.may_read_budgets(caller, "team-a")
    assert len(api.asked) == 2
