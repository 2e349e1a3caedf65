"""A YAML loader that refuses a mapping with a repeated key, and texts that cost far more than their length.

YAML requires unique keys, but PyYAML uses the last one without an error, so that a part of the file has no effect.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

_MOST_KEYS: Final = 10_000  # that all `<<` of one text add: each costs as much as one that is written
_MOST_MERGED: Final = 100  # mappings in one `<<`
_MERGE: Final = "tag:yaml.org,2002:merge"
_DATE: Final = "tag:yaml.org,2002:timestamp"
_LONGEST_NUMBER: Final = 100  # characters; the time of base 60, as in 1:59:59, grows with their square


class StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader. For a repeated key it raises yaml.YAMLError with the key and both lines.

    It is the one in Python: libyaml's parser ends the process with a segmentation fault where a text is nested deeply.
    """

    _merged_keys = 0

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
        if named and not too_many:
            before = len(node.value)
            super().flatten_mapping(node)
            # Of the whole text: thousands of mappings may each merge one that is large.
            self._merged_keys += max(0, len(node.value) - before + 1)
        elif not too_many:
            super().flatten_mapping(node)
        if too_many or self._merged_keys > _MOST_KEYS:
            reason = f"<< merges more than {_MOST_MERGED} mappings, or all of them more than {_MOST_KEYS:,} keys"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)

    def number_or_date(self, node: yaml.ScalarNode) -> object:
        """A scalar that looks like a number or a date. Python's words for one that is none are for programmers."""
        if len(node.value) > _LONGEST_NUMBER:
            reason = f"a number has more than {_LONGEST_NUMBER} characters: put a text in quotes"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)
        try:
            return _MAKERS[node.tag](self, node)
        except (ValueError, OverflowError):
            reason = f"{node.value} is no {'date' if node.tag == _DATE else 'number'}: put a text in quotes"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from None


def yaml_defect(error: yaml.YAMLError) -> str:
    """What is wrong with a text, and where: "line 4, column 1: expected <block end>, but found '-'"."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None and error.problem:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(error.problem.split())}"
    return " ".join(str(error).split())


_MAKERS: Final = {
    f"tag:yaml.org,2002:{kind}": yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{kind}"]
    for kind in ("int", "float", "timestamp")
}
for _tag in _MAKERS:
    StrictLoader.add_constructor(_tag, StrictLoader.number_or_date)
