"""What may be written behind --group-by and --filter, and what one is told of anything else."""

from __future__ import annotations

import pytest

from carbonbudget_operator.answers.grouping import GroupingError, parse_filter, parse_group_by


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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("workload=train-a", "has no kind: write workload=KIND/train-a, for example Job/train-a"),
        ("namespace=a,workload=train-a", "has no kind"),
        ("namespace=a,namespace=b", "names namespace twice, and no row has two: ask once for each"),
        ("label:x=1,label:x=2", "names label:x twice"),
        ("namespace=", "has no value: write namespace=VALUE"),
    ],
)
def test_a_filter_that_no_row_can_pass_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(GroupingError, match=sentence):
        parse_filter(text)


def test_a_filter_by_workload_names_its_kind_or_a_row_that_is_of_no_pod() -> None:
    for text in ("workload=Job/train-a", "workload=__idle__", "label:x="):
        assert len(parse_filter(text)) == 1
