"""Answers of the server as its clients read them: those of a newer server are read too."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from enum import Enum

import pytest
from pydantic import BaseModel

from carbonbudget_operator import server_client
from carbonbudget_operator.api.adjustment_bodies import Adjustment, AdjustmentsAnswer

READ = {
    name: model
    for name, model in vars(server_client).items()
    if isinstance(model, type) and issubclass(model, BaseModel) and name.endswith(("Answer", "Answers"))
}


def parts(annotation: object) -> Iterator[object]:
    """The types that an annotation consists of."""
    inner = typing.get_args(annotation)
    yield typing.get_origin(annotation) or annotation
    for each in () if typing.get_origin(annotation) is typing.Literal else inner:
        yield from parts(each)


def refusals(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """What of a newer server's answer the model does not read."""
    if model in seen:
        return
    seen.add(model)
    if model.model_config.get("extra") == "forbid":
        yield f"{model.__name__} forbids fields that it does not know"
    if model.__pydantic_decorators__.model_validators or model.__pydantic_decorators__.field_validators:
        yield f"{model.__name__} has validators"
    for name, field in model.model_fields.items():
        for part in parts(field.annotation):
            if part is typing.Literal or (isinstance(part, type) and issubclass(part, Enum)):
                yield f"{model.__name__}.{name} has a list of words"
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from refusals(part, seen)


@pytest.mark.parametrize("name", sorted(READ))
def test_no_answer_is_refused_for_a_field_or_a_word_that_is_new(name: str) -> None:
    assert list(refusals(READ[name], set())) == []


def test_the_test_above_finds_such_models_inside_of_others() -> None:
    class Outer(BaseModel):
        adjustments: dict[str, list[Adjustment | None]]

    assert {one.partition(" ")[0] for one in refusals(Outer, set())} == {
        "Adjustment", "Adjustment.reason", "BudgetPeriod",
    }  # fmt: skip
    assert len(READ) >= 6


def test_an_adjustment_of_a_later_version_is_read_with_its_micrograms() -> None:
    budget = {"namespace": "team-a", "name": "monthly", "period_start": 0, "period_end": 1, "region": "eu"}
    row = {"budget": budget, "reason": "Donation", "source": "s", "micrograms": -5, "booked_at": 7, "by": "someone"}
    (read,) = AdjustmentsAnswer.model_validate({"adjustments": [row], "page": 1}).adjustments
    assert (read.reason, read.micrograms, read.booked_at) == ("Donation", -5, 7)
    assert read.key == ("team-a", "monthly", 0, "Donation", "s")
