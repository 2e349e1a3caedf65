"""The bases of our custom resources' models, how a CEL rule is attached to one, and a text that bodies share."""

from __future__ import annotations

from typing import Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.alias_generators import to_camel

NEXT_PAGE: Final = "The `cursor` of the next page; null on the last one"  # the description of `next` in a page of rows


class Model(BaseModel):
    """Part of a custom resource; camelCase on the wire."""

    # What the API server has let in may have fields of a later version: they are ignored, not refused.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Status(Model):
    """Part of a status: what we wrote ourselves, and may have written in another version.

    A field that cannot be read has its default, as if it was never written; of a list only the items that cannot be
    read are left out. The next evaluation writes them anew. A spec is input, and stays strict. So does a part whose
    figures belong together: it is a `Model`, and is left out as a whole.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def _unreadable_is_unwritten(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> object:
        try:
            return handler(value)
        except ValidationError:
            field = cls.model_fields[info.field_name or ""]
            if field.is_required():  # then the part that has it cannot be read
                raise
            if isinstance(value, list) and (readable := [one for each in value for one in _readable(each, handler)]):
                return readable
            return field.get_default(call_default_factory=True)


def _readable(item: object, handler: ValidatorFunctionWrapHandler) -> list[object]:
    """The item as a list of one; an empty list if it cannot be read."""
    try:
        return list(handler([item]))
    except ValidationError:
        return []


SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}  # of a list of texts: none twice, in any order


def keyed_by(*keys: str) -> dict[str, Any]:
    """A list as a map: no two items with the same `keys`, and each manager of server-side apply has items of its own.

    Each of the keys is a required field of the item, or has a default.
    """
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [*keys]}


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as the API server reads them: (expression, what to write instead)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}
