"""What may be written behind --group-by and --filter, and what one is told of anything else."""

from __future__ import annotations

import pytest

from carbonbudget_operator.reporting.grouping import GroupingError, parse_filter, parse_group_by


def test_a_filter_is_fields_with_their_values() -> None:
    parts = (("namespace", "a"), ("label:project", "x"), ("node", "n=1"))
    assert parse_filter("namespace=a, label:project = x ,node=n=1") == parts
    assert parse_filter("") == ()


@pytest.mark.parametrize("field", ["ns", "label:", ""])
def test_a_field_that_is_none_is_refused_as_a_filter(field: str) -> None:
    with pytest.raises(
        GroupingError, match=rf"^cannot filter by '{field}': use namespace, workload, node or label:KEY$"
    ):
        parse_filter(f"{field}=team-a")


@pytest.mark.parametrize("field", ["ns", "label:"])
def test_a_field_that_is_none_is_refused_as_a_grouping(field: str) -> None:
    with pytest.raises(
        GroupingError, match=rf"^cannot group by '{field}': use namespace, workload, node or label:KEY$"
    ):
        parse_group_by(f"namespace,{field}")


def test_a_filter_without_a_value_is_refused() -> None:
    with pytest.raises(GroupingError, match=r"^filter 'namespace' has no value: write FIELD=VALUE$"):
        parse_filter("namespace")
