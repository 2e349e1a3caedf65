"""`track` as a decorator of functions, methods and classes' methods, with and without a name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.client.test_spans import names

import carbonbudget as cb

pytestmark = pytest.mark.usefixtures("recorded")


def test_a_function_keeps_its_name_its_answer_and_its_recursion(recorded: list[cb.Span]) -> None:
    @cb.track("factorial")
    def factorial(number: int) -> int:
        """Of a number."""
        return number * factorial(number - 1) if number else 1

    assert factorial(4) == 24
    assert (factorial.__name__, factorial.__doc__) == ("factorial", "Of a number.")
    assert len({span.id for span in recorded}) == 5


def test_a_method_can_be_tracked(recorded: list[cb.Span]) -> None:
    class Model:
        @cb.track("fit")
        def fit(self, data: int, *, weight: int) -> int:
            return data * weight

    assert Model().fit(3, weight=2) == 6
    assert names(recorded) == ["fit"]


def test_static_and_class_methods_can_be_tracked_and_classes_stay_as_they_are(recorded: list[cb.Span]) -> None:
    class Model:
        @cb.track("static")
        @staticmethod
        def static(data: int) -> int:
            return data

        @cb.track("of the class")
        @classmethod
        def named(cls) -> str:
            return cls.__name__

    assert (Model.static(3), Model().static(4), Model.named()) == (3, 4, "Model")
    assert names(recorded) == ["static", "static", "of the class"]
    assert cb.track("class")(Model) is Model
    assert cb.track("no function")(7) == 7  # type: ignore[type-var]


def test_a_decorator_without_a_name_takes_that_of_the_function(recorded: list[cb.Span]) -> None:
    @cb.track
    def load() -> int:
        return 7

    @cb.track
    async def fetch() -> int:
        return 8

    @cb.track
    def batches() -> Iterator[int]:
        yield 9

    class Model:
        @cb.track
        def fit(self) -> int:
            return 10

        @staticmethod
        @cb.track
        def inner() -> int:
            return 11

        @cb.track
        @staticmethod
        def outer() -> int:
            return 12

    assert [load(), asyncio.run(fetch()), *batches(), Model().fit(), Model.inner(), Model.outer()] == [*range(7, 13)]
    assert names(recorded) == ["load", "fetch", "batches", "fit", "inner", "outer"]
    assert cb.track(Model) is Model
