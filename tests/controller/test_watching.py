"""kopf's settings: the traps that were measured stay closed."""

from itertools import islice

import kopf

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


def test_only_a_new_generation_rings_the_bell() -> None:
    inventory = Inventory()
    inventory.seen(None, "u", 1, {})
    assert inventory.changed.is_set()
    inventory.changed.clear()
    inventory.seen("MODIFIED", "u", 1, {"status": "ours"})
    assert not inventory.changed.is_set()
    inventory.seen("MODIFIED", "u", 2, {})
    assert inventory.changed.is_set()
    inventory.seen("DELETED", "u", 2, {})
    assert inventory.bodies() == {}
