"""YAML that people write, read without surprises: a key that stands twice in a mapping is an error.

YAML's own rule is that keys are unique. PyYAML takes the last one without a word, and half of what somebody wrote is
silently not there.
"""

from __future__ import annotations

from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader; a key that stands twice is a yaml.YAMLError that names the key and both lines."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written, before `<<` brings in keys of others, which may be there already."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            first = lines.get((key.tag, key.value))
            if first is not None:
                reason = f"the key {key.value!r} stands twice in one mapping, first in line {first}"
                raise yaml.constructor.ConstructorError(None, None, reason, key.start_mark)
            lines[(key.tag, key.value)] = key.start_mark.line + 1
        return node
