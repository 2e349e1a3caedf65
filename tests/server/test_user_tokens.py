"""server.user_tokens: tokens that are good for the API server are accepted for GET under /api/v1 alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.server_face import Face, a_face

PERSON = {"Authorization": "Bearer person:sharer@*"}


async def statuses(face: Face, *paths: str) -> list[int]:
    return [(await face.client.get(path, headers=PERSON)).status_code for path in paths]


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_persons_token_reads_the_public_api_where_that_is_set(tmp_path: Path, accepted: bool) -> None:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db", user_tokens=accepted) as face:
        answer = await face.client.get("/api/v1/whoami", headers=PERSON)
        assert answer.status_code == (200 if accepted else 401)
        if accepted:
            assert answer.json()["user"] == "sharer@*"


async def test_it_is_good_for_nothing_else_also_once_it_was_accepted(tmp_path: Path) -> None:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db", user_tokens=True) as face:
        assert await statuses(face, "/api/v1/whoami", "/api/v1/budgets") == [200, 200]
        assert await statuses(face, "/v1/tokens", "/metrics", "/v1/external", "/v1/report?period=2025") == [401] * 4
        for path in ("/v1/tokens", "/v1/reports", "/v1/budgets/query", "/v1/external?format=aws"):
            assert (await face.client.post(path, json={}, headers=PERSON)).status_code == 401
        assert (await face.client.post("/api/v1/budgets", json={}, headers=PERSON)).status_code in (401, 405)


async def test_a_token_of_another_service_is_accepted_nowhere(tmp_path: Path) -> None:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db", user_tokens=True) as face:
        headers = {"Authorization": "Bearer user:foreign@*"}
        assert (await face.client.get("/api/v1/whoami", headers=headers)).status_code == 401
        assert (
            await face.client.get("/api/v1/whoami", headers={"Authorization": "Bearer nonsense"})
        ).status_code == 401
