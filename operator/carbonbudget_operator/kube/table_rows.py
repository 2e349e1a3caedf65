"""Reads the API server's tables: each row is an object's metadata and the columns that `kubectl get -o wide` prints.

Metadata alone does not have the node that a pod runs on. A table of pods has it as a column, and is half the size of
whole objects. https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from typing import Final

from carbonbudget_core.jsons import items, objects
from carbonbudget_operator.kube.connection import JsonObject

TABLE_PARAMS: Final = {"includeObject": "Metadata"}


class TableRows:
    """Reads the tables of one collection. It stores the columns, because a watch sends them in its first event only."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def items(self, table: JsonObject) -> list[JsonObject]:
        """Each row as an object with `metadata` and `cells`: a mapping from column name to value."""
        columns = table.get("columnDefinitions")
        if items(columns):
            self._columns = [str(column.get("name")) for column in objects(columns)]
        found: list[JsonObject] = []
        for row in objects(table.get("rows")):
            its, cells = row.get("object"), row.get("cells")
            if isinstance(its, dict) and isinstance(cells, list):
                found.append({"metadata": its.get("metadata"), "cells": dict(zip(self._columns, cells, strict=False))})
        return found
