"""A YAML loader that refuses a mapping with a repeated key.

YAML requires unique keys, but PyYAML uses the last one without an error, so that a part of the file has no effect.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

_MOST_KEYS: Final = 10_000  # of a mapping that merges others
_MOST_MERGED: Final = 100  # mappings in one `<<`
_MERGE: Final = "tag:yaml.org,2002:merge"


class StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader. For a repeated key it raises yaml.YAMLError with the key and both lines.

    It is the one in Python: libyaml's parser ends the process with a segmentation fault where a text is nested deeply.
    """

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

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names, if that is not too much: a few lines of merges of merges can name a billion keys."""
        named = [value for key, value in node.value if key.tag == _MERGE]
        lists = (value.value for value in named if isinstance(value, yaml.SequenceNode))
        too_many = any(len(one) > _MOST_MERGED for one in lists)
        if not too_many:
            super().flatten_mapping(node)
        if too_many or (named and len(node.value) > _MOST_KEYS):
            reason = f"<< merges more than {_MOST_MERGED} mappings or {_MOST_KEYS:,} keys"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)
