"""Objects as the API server's tables: metadata and the columns that `kubectl get -o wide` prints.

Metadata alone lacks what stands in spec: on which node a pod runs. A table of pods has it as a column, and is half of
the whole objects. https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.kube.connection import JsonObject

TABLE_PARAMS: Final = {"includeObject": "Metadata"}


class TableRows:
    """Reads the rows of one collection's tables: a watch names the columns in its first event only."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def items(self, table: JsonObject) -> list[JsonObject]:
        """Each row as an object with `metadata` and `cells`, the latter by the columns' names."""
        columns = table.get("columnDefinitions")
        if isinstance(columns, list) and columns:
            self._columns = [str(column.get("name")) for column in columns if isinstance(column, dict)]
        found: list[JsonObject] = []
        rows = table.get("rows")
        for row in rows if isinstance(rows, list) else ():
            its = row.get("object") if isinstance(row, dict) else None
            cells = row.get("cells") if isinstance(row, dict) else None
            if isinstance(its, dict) and isinstance(cells, list):
                found.append({"metadata": its.get("metadata"), "cells": dict(zip(self._columns, cells, strict=False))})
        return found
