"""OpenCost's filter language: what matches, what is an error and where, and that no text breaks the parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.opencost.allocation_properties import AllocationProperties, properties_of
from carbonbudget_operator.opencost.filter_language import (
    MAX_DEPTH,
    MAX_LENGTH,
    FilterError,
    named_namespaces,
    parse_allocation_filter,
)

JOB = properties_of("c", "n1", "team-a", "Job/train-1", {"app.kubernetes.io/name": "train", "team": "ml"})
WEB = properties_of("c", "n2", "team-b", "Deployment/web", {"app.kubernetes.io/name": "web"})
BARE = properties_of("c", "n2", "team-b", "Pod/shell", {})
IDLE = AllocationProperties("c", "n1", "", "", "", "", {}, idle=True)
SYSTEM = AllocationProperties("c", "n1", "", "", "", "", {})
EVERYONE = {"job": JOB, "web": WEB, "bare": BARE, "idle": IDLE, "system": SYSTEM}


def matched(text: str) -> set[str]:
    found = parse_allocation_filter(text)
    return {name for name, properties in EVERYONE.items() if found.matches(properties)}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set(EVERYONE)),
        ('namespace:"team-a"', {"job"}),
        ('namespace:"team-a","team-b"', {"job", "web", "bare"}),
        ('namespace!:"team-a","team-b"', {"idle", "system"}),
        ('namespace~:"eam"', {"job", "web", "bare"}),
        ('namespace!~:"eam"', {"idle", "system"}),
        ('namespace<~:"team"', {"job", "web", "bare"}),
        ('namespace!<~:"team"', {"idle", "system"}),
        ('namespace~>:"-b"', {"web", "bare"}),
        ('namespace!~>:"-b"', {"job", "idle", "system"}),
        ('namespace:"__idle__"', {"idle"}),
        ('namespace:"__unallocated__"', {"system"}),
        ('controllerKind:"job"', {"job"}),
        ('controllerkind:"Job"', {"job"}),
        ('controllerKind:"__unallocated__"', {"bare", "idle", "system"}),
        ('controllerName:"web"', {"web"}),
        ('pod:"shell"', {"bare"}),
        ('cluster:"c"+node:"n2"', {"web", "bare"}),
        ('label[app.kubernetes.io/name]:"web"', {"web"}),
        ('label[app_kubernetes_io_name]!:"web"', {"job", "bare", "idle", "system"}),
        ('label:"team"', {"job"}),
        ('label<~:"app_"', {"job", "web"}),
        ('label!:"team"', {"web", "bare", "idle", "system"}),
        ('team:"ml"', {"job"}),
        ('annotation[x]:"y"', set()),
        ('services!:"y"', set(EVERYONE)),
        ('namespace:"team-b"+controllerKind:"deployment"', {"web"}),
        ('namespace:"team-b" controllerKind:"deployment"', {"web"}),
        ('namespace:"team-a"|pod:"shell"', {"job", "bare"}),
        ('namespace:"team-b"+(pod:"shell"|controllerName:"web")', {"web", "bare"}),
        ('(namespace:"team-a")|(namespace:"team-b"+pod:"shell")', {"job", "bare"}),
        ("namespace:team-a, team-b", {"job", "web", "bare"}),
        (' namespace : "team-a" , "team-b" ', {"job", "web", "bare"}),
        (r'namespace:"team\-a"', {"job"}),
    ],
)
def test_a_filter_means_what_opencost_says(text: str, names: set[str]) -> None:
    assert matched(text) == names


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("nonsense", 1),
        ('namespace"a"', 10),
        ("namespace:", 11),
        ('namespace:"a', 11),
        ('namespace:"a"+', 15),
        ('namespace:"a"+pod:"b"|pod:"c"', 22),
        ('(namespace:"a"', 1),
        ('namespace:"a")', 14),
        ('label[app:"a"', 6),
        ('label[]:"a"', 6),
        ('namespace>"a"', 10),
        ('namespace:"a",', 15),
    ],
)
def test_an_error_names_its_position(text: str, position: int) -> None:
    with pytest.raises(FilterError, match=rf"^filter, position {position}, "):
        parse_allocation_filter(text)


def test_depth_and_length_are_bounded() -> None:
    inner = 'pod:"a"'
    deep = "(" * MAX_DEPTH + inner + ")" * MAX_DEPTH
    assert parse_allocation_filter(deep).matches(BARE) is False
    with pytest.raises(FilterError, match="nested more than"):
        parse_allocation_filter(f"({deep})")
    with pytest.raises(FilterError, match="at most 4000"):
        parse_allocation_filter("(" * (MAX_LENGTH + 1))
    with pytest.raises(FilterError, match="more than 500 values"):
        parse_allocation_filter("pod:" + ",".join("a" * 501))


def test_an_error_does_not_repeat_unprintable_text() -> None:
    with pytest.raises(FilterError) as error:
        parse_allocation_filter("\x1b[31m\u202e")
    assert str(error.value).isascii()
    assert str(error.value).isprintable()


@given(st.text(max_size=200) | st.text(alphabet='()+|:!~<>,"[]\\ namespcelb-a_', max_size=200))
def test_every_text_is_a_filter_or_an_error_of_one_line(text: str) -> None:
    said = ""
    try:
        assert isinstance(parse_allocation_filter(text).matches(JOB), bool)
    except FilterError as error:
        said = str(error)
    assert "\n" not in said
    assert said.startswith("filter, position ") or not said


FIELDS = st.sampled_from(
    ["namespace", "controllerKind", "controllerName", "pod", "node", "label[team]", "label", "team", "services"]
)
VALUES = st.lists(
    st.sampled_from(["team-a", "team-b", "a", "job", "ml", "web", "", "__idle__"]), min_size=1, max_size=3
)


@given(FIELDS, st.sampled_from([":", "~:", "<~:", "~>:"]), VALUES)
def test_a_negated_operator_matches_exactly_the_others(field: str, operator: str, values: list[str]) -> None:
    listed = ",".join(f'"{value}"' for value in values)
    taken, left = matched(f"{field}{operator}{listed}"), matched(f"{field}!{operator}{listed}")
    assert taken | left == set(EVERYONE)
    assert not taken & left


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('namespace:"a","b"', {"a", "b"}),
        ('namespace:"a"+pod:"x"', {"a"}),
        ('namespace:"a","b"+namespace:"b","c"', {"b"}),
        ('namespace:"a"|namespace:"b"', {"a", "b"}),
        ('namespace:"a"|pod:"x"', None),
        ('namespace!:"a"', None),
        ('namespace~:"a"', None),
        ("", None),
    ],
)
def test_the_namespaces_that_a_filter_is_about(text: str, names: set[str] | None) -> None:
    assert named_namespaces(parse_allocation_filter(text)) == names
