"""What may be written behind --group-by and --filter, and what one is told of anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.answers.allocation_groups import (
    GroupingError,
    field_of,
    parse_filter,
    parse_group_by,
)
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow
from carbonbudget_operator.name_rules import is_label_value
from carbonbudget_operator.run_labels import MODEL, RUN, as_label
from carbonbudget_operator.special_label_values import UNLABELLED

USE = "use namespace, workload, node, run, model, model-version, stage or label:KEY"


def test_a_filter_is_fields_with_their_values() -> None:
    parts = (("namespace", "a"), ("label:project", "x"), ("node", "n=1"))
    assert parse_filter("namespace=a, label:project = x ,node=n=1") == parts
    assert parse_filter("") == ()


@pytest.mark.parametrize("field", ["ns", "label:", ""])
def test_a_field_that_is_none_is_refused_as_a_filter(field: str) -> None:
    with pytest.raises(GroupingError, match=rf"^cannot filter by '{field}': {USE}$"):
        parse_filter(f"{field}=team-a")


@pytest.mark.parametrize("field", ["ns", "label:"])
def test_a_field_that_is_none_is_refused_as_a_grouping(field: str) -> None:
    with pytest.raises(GroupingError, match=rf"^cannot group by '{field}': {USE}$"):
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


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("run", ("namespace", "run")),
        ("model", ("namespace", "model")),
        ("model-version", ("namespace", "model", "model-version")),
        ("stage", ("stage",)),
        ("model,namespace", ("model", "namespace")),
        ("model-version,model", ("namespace", "model-version", "model")),
        ("stage,run,run", ("stage", "namespace", "run")),
        ("namespace,workload", ("namespace", "workload")),
    ],
)
def test_a_run_and_a_model_are_never_grouped_without_their_namespace(text: str, fields: tuple[str, ...]) -> None:
    assert parse_group_by(text) == fields


def test_the_short_names_read_the_labels_and_an_empty_label_names_nothing() -> None:
    row = ValuedRow(0, 3600, "", "", "team-a", "Job/x", {RUN: "exp-1", MODEL: ""}, [0] * COLUMNS, frozenset())
    assert field_of(row, "run") == "exp-1"
    assert field_of(row, "model") == field_of(row, "stage") == UNLABELLED
    idle = ValuedRow(0, 3600, "", "", "__idle__", "", {}, [0] * COLUMNS, frozenset())
    assert field_of(idle, "model") == "__idle__"
    assert parse_filter("run=exp-1,namespace=team-a") == (("run", "exp-1"), ("namespace", "team-a"))
    with pytest.raises(GroupingError, match="filter 'run' has no value: write run=VALUE"):
        parse_filter("run=")


@given(st.text(max_size=200))
def test_any_name_becomes_a_valid_label_value_and_a_valid_one_stays(name: str) -> None:
    made = as_label(name)
    assert is_label_value(made)
    assert as_label(made) == made
    if is_label_value(name):
        assert made == name


def test_the_name_of_an_organisation_and_its_model_stays_readable() -> None:
    assert as_label("mistralai/Mixtral 8x7B:latest") == "mistralai.Mixtral.8x7B.latest"
    assert as_label("/") == ""
