"""A YAML loader that refuses a mapping with a repeated key.

YAML requires unique keys, but PyYAML uses the last one without an error, so that a part of the file has no effect.
"""

from __future__ import annotations

from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader. For a repeated key it raises yaml.YAMLError with the key and both lines."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Check a mapping before `<<` merges other keys into it, which may repeat its keys."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            first = lines.get((key.tag, key.value))
            if first is not None:
                reason = f"the key {key.value!r} occurs twice in one mapping, first in line {first}"
                raise yaml.constructor.ConstructorError(None, None, reason, key.start_mark)
            lines[(key.tag, key.value)] = key.start_mark.line + 1
        return node
