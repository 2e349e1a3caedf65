"""Each cell of the table of exceptions, on a real API server under a budget that blocks and names all kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.apiserver.attempts import ATTEMPTS, Field
from tests.apiserver.chart_policies import ChartPolicies
from tests.apiserver.exceptions import TABLE, Cell, cells

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

TRIED = [cell for cell in cells() if cell.tried]
SAID = {
    "policy": ("ValidatingAdmissionPolicy 'carbonbudget-", "carbon budget tight: used 110 %"),
    "webhook": ('admission webhook "growth.carbonbudget.dev" denied the request', "carbon budget tight: used 110 %"),
    "account": (
        'admission webhook "accounts.carbonbudget.dev" denied the request',
        "is a controller, name it in enforcement.controllerAccounts",
    ),
    "verb": ("the label carbonbudget.dev/exempt needs the verb exempt on carbonbudgets in namespace",),
    "reserved": ("the label carbonbudget.dev/suspended may be set only by carbonbudget: remove it",),
    "kubernetes": (),
}


@pytest.fixture(scope="module")
def field(policies: ChartPolicies) -> Iterator[Field]:
    with policies.webhook(), policies.namespace() as name:
        made = Field(policies, name)
        try:
            made.prepare()
            yield made
        finally:
            made.remove()


@pytest.mark.parametrize("cell", TRIED, ids=str)
def test_each_cell_is_answered_as_the_table_says(field: Field, cell: Cell) -> None:
    admitted, said = ATTEMPTS[cell.tried](field, cell.kind, field.accounts[cell.account])
    if cell.answer == "passes":
        assert admitted, said
        return
    assert not admitted
    for words in SAID[cell.answer]:
        assert words in said
    if cell.answer == "kubernetes":
        assert not [words for words in ("admission", "(NotFound)", "unknown field", "strict decoding") if words in said]


def test_kinds_without_the_subresource_scale_cannot_be_scaled(field: Field) -> None:
    for kind in set(TABLE["kinds"]) - set(TABLE["scaled"]):
        assert "(NotFound)" in ATTEMPTS["scale"](field, kind, field.accounts["masters"])[1]
