"""Finds sections of the settings in the types of their models, also inside lists, unions and timelines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


def tags_of(section: type[BaseModel]) -> set[Any]:
    """The values of `type` or `kind` by which an entry of a list is this section."""
    return {field.default for name, field in section.model_fields.items() if name in ("type", "kind")}


def sections_in(annotation: object) -> list[type[BaseModel]]:
    """All sections in a type, also inside a list, a union or a timeline."""
    return list(_sections(annotation))


def _sections(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
