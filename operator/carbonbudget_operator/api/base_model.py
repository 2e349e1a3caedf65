"""The base of our custom resources' models, how a CEL rule is attached to one, and a text that bodies share."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

NEXT_PAGE: Final = "The `cursor` of the next page; null on the last one"  # the description of `next` in a page of rows


class Model(BaseModel):
    """Part of a custom resource; camelCase on the wire."""

    # What the API server has let in may have fields of a later version: they are ignored, not refused.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}  # of a list of texts: none twice, in any order


def keyed_by(*keys: str) -> dict[str, Any]:
    """A list as a map: no two items with the same `keys`, and each manager of server-side apply has items of its own.

    Each of the keys is a required field of the item, or has a default.
    """
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [*keys]}


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as the API server reads them: (expression, what to write instead)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}
