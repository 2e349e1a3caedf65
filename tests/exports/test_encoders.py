"""What the encoders write is read back equal by others' parsers, whatever the names and figures are."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from line_protocol_parser import parse_line
from tests.exports.exporting import HOSTILE, HOUR, hour_rows

from carbonbudget_operator.exports.exported_rows import (
    FIGURES,
    Tags,
    content_digest,
    exported_rows,
    packed,
    unpacked,
    with_vanished,
)
from carbonbudget_operator.exports.line_protocol import LineProtocol
from carbonbudget_operator.exports.remote_write import RemoteWrite, snappy_block, varint
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow
from carbonbudget_operator.line_protocol_text import tag_text, tag_value

AT = 1_764_000_000
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=253) | st.sampled_from(HOSTILE)
figures = st.integers(0, 2**62) | st.integers(0, 5)
tagged = st.builds(
    lambda namespace, workload, label: tuple(
        (name, value)
        for name, value in (("label_team", label), ("namespace", namespace), ("workload", workload))
        if value
    ),
    names, names | st.just(""), names | st.just(""),
)  # fmt: skip
rows_of_hours = st.dictionaries(tagged, st.tuples(*[figures] * len(FIGURES)), max_size=5)


@given(names)
def test_a_tag_of_line_protocol_is_read_back(name: str) -> None:
    line = f"m,tag={tag_text(name)} x=1i 5"
    assert "\n" not in line
    (value,) = parse_line(line)["tags"].values()
    assert tag_value(value) == name


@given(names, names)
def test_two_names_are_never_the_same_tag(one: str, other: str) -> None:
    assert (tag_text(one) == tag_text(other)) == (one == other)


@given(rows_of_hours, names, st.integers(1, 3))
def test_line_protocol_has_each_figure_exactly(rows: dict[Tags, tuple[int, ...]], cluster: str, revision: int) -> None:
    made = LineProtocol(cluster)
    lines = gzip.decompress(made.body(list(made.pieces(AT, rows, revision)))).decode().split("\n")
    found: dict[tuple[object, ...], int] = {}
    for line in filter(None, lines):
        point = parse_line(line)
        tags = {name: tag_value(value) for name, value in point["tags"].items()}
        assert (point["time"], tags.pop("cluster")) == (AT, cluster)
        kind = (point["measurement"], tags.pop("accounting", ""), tags.pop("component", ""))
        fields = point["fields"]
        exact = fields["microjoules" if kind[0] == "carbonbudget_energy" else "micrograms"]
        assert isinstance(exact, int)
        if kind[0] == "carbonbudget_emissions":
            assert fields["grams"] == exact / 1_000_000
        else:
            digits = Decimal("1e-13" if exact < 4 else "1e-12")
            assert fields["kwh"] == float((Decimal(exact) / 3_600_000_000_000).quantize(digits, ROUND_DOWN))
        found[(*kind, *sorted(tags.items()))] = exact
    assert found == expected(rows, revision)


def expected(rows: dict[Tags, tuple[int, ...]], revision: int) -> dict[tuple[object, ...], int]:
    return {
        (
            "carbonbudget_energy" if figure.is_energy else "carbonbudget_emissions", figure.accounting,
            figure.component, *sorted(tags),
        ): value
        for tags, values in rows.items()
        for figure, value in zip(FIGURES, values, strict=True)
        if value or revision > 1
    }  # fmt: skip


def test_a_sum_that_no_integer_of_the_format_holds_is_sent_as_a_decimal_alone() -> None:
    rows = {(("namespace", "a"),): (2**63, *[0] * 9), (("namespace", "b"),): (2**63 - 1, *[0] * 9)}
    first, second = (parse_line(piece.decode())["fields"] for piece in LineProtocol("c").pieces(AT, rows, 1))
    assert first == {"kwh": pytest.approx(2**63 / 3.6e12)}
    assert second["microjoules"] == 2**63 - 1


def fields_of(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: number, and the value of a varint, or the bytes of others."""
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            byte = data[at]
            at += 1
            found |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return found

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
            continue
        length = 8 if key & 7 == 1 else number()
        yield key >> 3, data[at : at + length]
        at += length


def unsnapped(block: bytes) -> bytes:
    """A snappy block of literals, by its format_description.txt."""
    length = shift = at = 0
    while True:
        byte = block[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    found = b""
    while at < len(block):
        tag = block[at]
        assert tag & 3 == 0, "a literal"
        size, extra = tag >> 2, 0
        if size >= 60:
            extra = size - 59
            size = int.from_bytes(block[at + 1 : at + 1 + extra], "little")
        at += 1 + extra
        found += block[at : at + size + 1]
        at += size + 1
    assert len(found) == length
    return found


def series_of(body: bytes) -> Iterator[tuple[list[tuple[str, str]], float, int]]:
    for number, series in fields_of(unsnapped(body)):
        assert (number, isinstance(series, bytes)) == (1, True)
        labels: list[tuple[str, str]] = []
        value, at = 0.0, 0
        for inner, data in fields_of(series):  # type: ignore[arg-type]
            if inner == 1:
                name, text = (part for _, part in fields_of(data))  # type: ignore[arg-type]
                labels.append((name.decode(), text.decode()))  # type: ignore[union-attr]
            else:
                packed_value, at = (part for _, part in fields_of(data))  # type: ignore[arg-type,assignment]
                (value,) = struct.unpack("<d", packed_value)  # type: ignore[arg-type]
        yield labels, value, at


@given(rows_of_hours, names, st.integers(1, 300))
def test_remote_write_has_each_figure_as_the_nearest_float(
    rows: dict[Tags, tuple[int, ...]], cluster: str, revision: int
) -> None:
    made = RemoteWrite(cluster)
    found: dict[tuple[object, ...], float] = {}
    for labels, value, at in series_of(made.body(list(made.pieces(AT, rows, revision)))):
        assert labels == sorted(labels), "receivers demand labels in order"
        assert all(text for _, text in labels), "an empty label is none"
        assert at == (AT + HOUR) * 1000
        given_ = dict(labels)
        assert (given_.pop("cluster"), given_.pop("revision")) == (cluster, str(revision))
        kind = (given_.pop("__name__"), given_.pop("accounting", ""), given_.pop("component", ""))
        found[(*kind, *sorted(given_.items()))] = value
    assert found == {
        (f"{key[0]}_{'kwh' if key[0] == 'carbonbudget_energy' else 'grams'}", *key[1:]):
            value / (3_600_000_000_000 if key[0] == "carbonbudget_energy" else 1_000_000)
        for key, value in expected(rows, revision).items()
    }  # fmt: skip
    closing = made.closing(AT, revision)
    assert closing is not None
    ((labels, value, at),) = series_of(made.body([closing]))
    assert dict(labels) == {
        "__name__": "carbonbudget_hour_revision", "cluster": cluster, "revision": str(revision)
    }  # fmt: skip
    assert (value, at) == (revision, (AT + HOUR) * 1000)


@given(st.binary(max_size=300))
@example(b"x" * 65_535)
@example(b"x" * 65_536)
@example(b"x" * 65_537)
@example(b"x" * 200_001)
def test_a_snappy_block_holds_what_was_given(data: bytes) -> None:
    assert unsnapped(snappy_block(data)) == data


@pytest.mark.parametrize(("number", "data"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")])
def test_varints_are_those_of_protobuf(number: int, data: bytes) -> None:
    assert varint(number) == data


valued = st.builds(
    lambda namespace, workload, labels, values: ValuedRow(
        0, HOUR, "", "", namespace, workload, labels, values, frozenset()
    ),
    st.sampled_from(["a", "b", "__idle__"]), st.sampled_from(["Job/x", "Job/y", ""]),
    st.dictionaries(st.sampled_from(["team", "x"]), st.sampled_from(["", "t", "u"])),
    st.lists(st.integers(0, 2**62), min_size=COLUMNS, max_size=COLUMNS),
)  # fmt: skip


@given(st.lists(valued, max_size=12), st.sampled_from([{}, {"team": "label_team"}]))
def test_exported_rows_add_up_to_the_hour(rows: list[ValuedRow], labels: dict[str, str]) -> None:
    found = exported_rows(rows, labels)
    for index, columns in enumerate((0, 1, 2, 4, 5, 6, 7, 8, 9, 10)):
        assert sum(its[index] for its in found.values()) == sum(row.figures[columns] for row in rows)
    for tags in found:
        assert list(tags) == sorted(tags)
        assert all(value for _, value in tags)
        if dict(tags)["namespace"] == "__idle__":
            assert tags == (("namespace", "__idle__"),)


@given(st.lists(valued, max_size=6), st.lists(valued, max_size=6), st.randoms())
def test_a_digest_is_of_the_content_and_not_of_its_order(
    one: list[ValuedRow], other: list[ValuedRow], random: object
) -> None:
    first, second = exported_rows(one, {}), exported_rows(other, {})
    items = list(first.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert content_digest(dict(items)) == content_digest(first)
    assert (content_digest(first) == content_digest(second)) == (first == second)


@given(rows_of_hours, rows_of_hours)
def test_what_vanished_is_0_and_what_is_there_is_kept(
    rows: dict[Tags, tuple[int, ...]], earlier: dict[Tags, tuple[int, ...]]
) -> None:
    assert set(unpacked(packed(earlier))) == set(earlier)
    found = with_vanished(rows, unpacked(packed(earlier)))
    assert list(found) == sorted(rows.keys() | earlier.keys())
    for tags, values in found.items():
        assert tuple(values) == rows.get(tags, (0,) * len(FIGURES))


def test_hostile_rows_of_an_hour_stay_apart() -> None:
    assert len(exported_rows(hour_rows((name, f"Job/{name}", 1) for name in HOSTILE), {})) == len(HOSTILE)
