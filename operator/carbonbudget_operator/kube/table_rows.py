"""Objects as the API server's tables: metadata and the columns that `kubectl get -o wide` prints.

Metadata alone lacks what stands in spec: on which node a pod runs. A table of pods has it as a column, and is half of
the whole objects. https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from typing import Final

from carbonbudget_core.jsons import items, objects
from carbonbudget_operator.kube.connection import JsonObject

TABLE_PARAMS: Final = {"includeObject": "Metadata"}


class TableRows:
    """Reads the rows of one collection's tables: a watch names the columns in its first event only."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def items(self, table: JsonObject) -> list[JsonObject]:
        """Each row as an object with `metadata` and `cells`, the latter by the columns' names."""
        columns = table.get("columnDefinitions")
        if items(columns):
            self._columns = [str(column.get("name")) for column in objects(columns)]
        found: list[JsonObject] = []
        for row in objects(table.get("rows")):
            its, cells = row.get("object"), row.get("cells")
            if isinstance(its, dict) and isinstance(cells, list):
                found.append({"metadata": its.get("metadata"), "cells": dict(zip(self._columns, cells, strict=False))})
        return found
