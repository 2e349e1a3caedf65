"""A status is what we wrote ourselves: what another version wrote, and this one cannot read, counts as unwritten."""

from __future__ import annotations

import copy
import datetime as dt
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from carbonbudget_operator.api.base_model import Status
from carbonbudget_operator.api.budget_status import CarbonBudgetStatus
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.api.carbontransfer import CarbonTransferStatus
from carbonbudget_operator.api.target_status import CarbonTargetStatus

STATUSES: dict[str, type[BaseModel]] = {"budget": CarbonBudgetStatus, "target": CarbonTargetStatus}
Path = tuple[str | int, ...]


def whole(annotation: Any) -> Any:
    """A value of this type with every field, two items in each list, as JSON has it."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return whole(next(one for one in inner if one is not type(None)))
    if origin is list:
        return [whole(inner[0]), whole(inner[0])]
    if origin is typing.Annotated:
        return whole(inner[0])
    if origin is typing.Literal:
        return inner[0]
    if issubclass(annotation, BaseModel):
        return {field.alias: whole(field.annotation) for field in annotation.model_fields.values()}
    return {str: "5kg", int: 5, bool: True, dt.datetime: "2026-11-01T00:00:00Z"}[annotation]


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every field and item."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from paths(inner, (*path, key))


def spoiled(status: dict[str, Any], path: Path, value: object) -> dict[str, Any]:
    made: Any = copy.deepcopy(status)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return typing.cast("dict[str, Any]", made)


CASES = [(name, path) for name, model in STATUSES.items() for path in paths(whole(model))]


@pytest.mark.parametrize(("name", "path"), CASES, ids=[f"{name}.{'.'.join(map(str, path))}" for name, path in CASES])
def test_one_field_that_cannot_be_read_leaves_all_others(name: str, path: Path) -> None:
    model, status = STATUSES[name], whole(STATUSES[name])
    before = model.model_validate(status).model_dump(by_alias=True, mode="json")
    for word in ({"new": "form"}, [{"new": "form"}], "another word", -1.5):
        after = model.model_validate(spoiled(status, path, word)).model_dump(by_alias=True, mode="json")
        assert {key for key in before if before[key] != after[key]} <= {path[0]}
        if len(path) > 1 and isinstance(path[1], int) and isinstance(after[path[0]], list):
            assert before[path[0]][1 - path[1]] in after[path[0]], "the other item"


def test_figures_that_belong_together_are_read_together_or_not_at_all() -> None:
    """Part of a baseline is another baseline, and a settled use without its own figures counts use as a revision."""
    for name, path in (
        ("target", ("baseline", "measured", "units")), ("budget", ("settled", "ownFiguresMicrograms")),
        ("budget", ("enforcement", "action")), ("budget", ("counted", "generation")),
    ):  # fmt: skip
        status = spoiled(whole(STATUSES[name]), path, {"new": "form"})
        read = STATUSES[name].model_validate(status).model_dump(by_alias=True)
        assert read[path[0]] is None, path


def test_more_items_than_this_version_writes_are_read() -> None:
    status = whole(CarbonBudgetStatus)
    status["conditions"] = [status["conditions"][0] | {"type": f"T{n}"} for n in range(100)]
    assert len(CarbonBudgetStatus.model_validate(status).conditions or ()) == 100


def test_a_spec_is_input_and_stays_strict() -> None:
    body = {"metadata": {"name": "monthly"}, "spec": {"limit": "5kg", "period": "Fortnight"}}
    with pytest.raises(ValidationError, match="period"):
        CarbonBudget.model_validate(body)


def test_a_transfers_state_is_never_taken_for_undecided() -> None:
    assert not issubclass(CarbonTransferStatus, Status)
    with pytest.raises(ValidationError, match="state"):
        CarbonTransferStatus.model_validate({"state": "Reversed"})
