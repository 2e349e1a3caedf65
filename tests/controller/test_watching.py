"""kopf's settings: the traps that were measured stay closed."""

from itertools import islice

import kopf
from tests.controller.objects import a_body

from carbonbudget_operator.api.names import BUDGET
from carbonbudget_operator.controller.inventory import Inventory
from carbonbudget_operator.controller.watching import EndlessBackoffs, configure


def test_attempts_never_run_out_and_never_wait_longer_than_half_a_minute() -> None:
    delays = list(islice(EndlessBackoffs(), 1000))
    assert delays[:6] == [1, 2, 4, 8, 16, 30]
    assert set(delays[5:]) == {30}


def test_kopf_posts_nothing_and_watches_no_other_resource() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.peering.standalone is True
    assert settings.watching.client_timeout is not None
    assert settings.watching.server_timeout is not None
    assert settings.watching.client_timeout > settings.watching.server_timeout


def test_only_a_new_budget_or_generation_rings_the_bell() -> None:
    inventory = Inventory()

    def rings(event: str | None, **metadata: object) -> bool:
        inventory.changed.clear()
        body = a_body()
        inventory.seen(BUDGET, event, body | {"metadata": body["metadata"] | metadata})
        return inventory.changed.is_set()

    assert rings(None)
    assert not rings("MODIFIED", labels={"ours": "true"})
    assert rings("MODIFIED", generation=4)
    assert rings("ADDED", generation=4, uid="another")
    assert not rings("DELETED", uid="u")  # the end of the former one, told late
    assert list(inventory.held()) == ["team-a/monthly"]
    assert not rings("DELETED", uid="another")
    assert inventory.held() == {}
