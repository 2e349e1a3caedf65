"""The node report's wire form: what is written is read back, what is wrong is said in one line."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_core.node_report import (
    MAX_INTEGER,
    MAX_TEXT,
    Allocatable,
    DomainUse,
    NodeInfo,
    NodeReport,
    PodController,
    PodRequests,
    PodUsage,
    ReportError,
)
from carbonbudget_core.node_report_json import decode_report, encode_report, report_of_json


def a_report() -> NodeReport:
    """A window of one node with one pod: 100 uJ of CPU, of which the pod has 60."""
    pod = PodUsage(
        uid="5b0c1f7e-0000-4000-8000-000000000001",
        namespace="team-a",
        name="train-x7k2p",
        controller=PodController("Job", "train", "5b0c1f7e-0000-4000-8000-000000000002"),
        labels={"project": "chatbot-v2"},
        energy_uj={"cpu": 60},
        cpu_us=1_000,
        memory_byte_seconds=10,
        requests=PodRequests(100, 16_777_216, 0),
        duration_ms=60_000,
    )
    return NodeReport(
        cluster="default",
        node="node-1",
        boot_id="6f0c",
        window_start=1_764_000_000,
        window_end=1_764_000_060,
        domains=(DomainUse("cpu", "model", "wall", 60_000, 100, 20, 15, 5, low_uj=80, high_uj=120),),
        pods=(pod,),
        node_info=NodeInfo(threads=2, allocatable=Allocatable(2_000, 2**34, 0)),
    )


def test_a_report_survives_the_wire() -> None:
    assert decode_report(encode_report(a_report())) == a_report()


def test_a_report_is_one_line() -> None:
    assert "\n" not in encode_report(a_report())


def test_fields_of_a_later_agent_are_ignored() -> None:
    value = json.loads(encode_report(a_report())) | {"colour": "green"}
    assert decode_report(json.dumps(value)) == a_report()


def test_since_left_out_means_no_gap() -> None:
    value = json.loads(encode_report(a_report()))
    del value["since"]
    assert decode_report(json.dumps(value)).since == 1_764_000_000


DEFECTS: list[tuple[Callable[[dict], object], str]] = [  # type: ignore[type-arg] # raw JSON on purpose
    (lambda v: v.update(version=2), "version 2 is not supported"),
    (lambda v: v.update(window_end=1_764_000_055), "not one of 10, 15, 20, 30, 60 seconds"),
    (lambda v: v.update(window_start=1_764_000_010, window_end=1_764_000_070), "aligned to UTC"),
    (lambda v: v.update(since=1_764_000_001), "lies after window_start"),
    (lambda v: v.pop("node"), "node is missing or not a text"),
    (lambda v: v.update(node="a\nb"), "unprintable"),
    (lambda v: v.update(node="\ud800"), "unprintable"),
    (lambda v: v.update(node="n" * 513), "longer than 512"),
    (lambda v: v.update(domains={}), "domains is missing or not a list"),
    (lambda v: v["domains"].append(v["domains"][0]), "'cpu' appears twice"),
    (lambda v: v["domains"][0].update(method="guess"), "method 'guess' is none of"),
    (lambda v: v["domains"][0].update(boundary="rack"), "boundary 'rack' is none of"),
    (lambda v: v["domains"][0].update(measured_uj=101), "does not conserve"),
    (lambda v: v["domains"][0].update(measured_uj=-1), "outside 0 to"),
    (lambda v: v["domains"][0].update(measured_uj=1.5), "not an integer"),
    (lambda v: v["domains"][0].update(measured_uj=True), "not an integer"),
    (lambda v: v["domains"][0].update(low_uj=101), "low_uj is above"),
    (lambda v: v["domains"][0].update(high_uj=99), "high_uj is below"),
    (lambda v: v["pods"].append(v["pods"][0]), "appears twice"),
    (lambda v: v["pods"][0].update(energy_uj={"gpu:x": 1}), "'gpu:x', which the report lacks"),
    (lambda v: v["pods"][0].update(labels={str(i): "" for i in range(65)}), "64 are allowed"),
    (lambda v: v["pods"][0].update(labels={"n" * 64: ""}), " 63 characters"),
    (lambda v: v["pods"][0].update(labels={"p" * 254 + "/n": ""}), "than 253"),
    (lambda v: v["pods"][0].update(labels={"p/" + "n" * 64: ""}), " 63 characters"),
    (lambda v: v["pods"][0].update(labels={"a\nb": ""}), "unprintable"),
    (lambda v: v["pods"][0].update(labels=[]), "labels is not a JSON object"),
    (lambda v: v["pods"][0].update(controller={"kind": "Job"}), "controller.name is missing"),
]


WHERE: list[tuple[Callable[[dict], object], str]] = [  # type: ignore[type-arg] # raw JSON on purpose
    (lambda v: v["pods"][1].pop("uid"), "pods[1].uid is missing or not a text"),
    (lambda v: v["pods"].append([]), "pods[2] is not a JSON object"),
    (lambda v: v["pods"][1].update(cpu_us="1"), "pods[1].cpu_us is missing or not an integer"),
    (lambda v: v["pods"][1].update(duration_ms=-1), f"pods[1].duration_ms is -1, outside 0 to {MAX_INTEGER}"),
    (lambda v: v["pods"][1].update(requests=3), "pods[1].requests is not a JSON object"),
    (lambda v: v["pods"][1].update(requests={"gpus": None}), "pods[1].requests.gpus is missing or not an integer"),
    (lambda v: v["pods"][1].update(energy_uj={"cpu": True}), "pods[1].energy_uj.cpu is missing or not an integer"),
    (lambda v: v["pods"][1].update(labels={"app": 7}), "pods[1].labels.app is missing or not a text"),
    (
        lambda v: v["pods"][1].update(labels={"app": "a\nb"}),
        f"pods[1].labels.app is longer than {MAX_TEXT} characters or holds unprintable ones",
    ),
    (
        lambda v: v["pods"][1].update(labels={"team": "x" * (MAX_TEXT + 1)}),
        f"pods[1].labels.team is longer than {MAX_TEXT} characters or holds unprintable ones",
    ),
    (
        lambda v: v["pods"][1].update(energy_uj={"cpu": -1}),
        f"pods[1].energy_uj.cpu is -1, outside 0 to {MAX_INTEGER}",
    ),
    (
        lambda v: v["pods"][1].update(idle_uj={"gpu0": MAX_INTEGER + 1}),
        f"pods[1].idle_uj.gpu0 is {MAX_INTEGER + 1}, outside 0 to {MAX_INTEGER}",
    ),
    (lambda v: v["pods"][1].update(controller=7), "pods[1].controller is not a JSON object"),
    (
        lambda v: v["domains"].append(dict(v["domains"][0], idle_uj="")),
        "domains[1].idle_uj is missing or not an integer",
    ),
    (lambda v: v["node_info"].update(threads=""), "node_info.threads is missing or not an integer"),
    (lambda v: v["node_info"].update(allocatable=""), "node_info.allocatable is not a JSON object"),
    (
        lambda v: v["node_info"]["allocatable"].update(gpus=""),
        "node_info.allocatable.gpus is missing or not an integer",
    ),
]


@pytest.mark.parametrize(("spoil", "sentence"), WHERE, ids=[sentence for _, sentence in WHERE])
def test_a_sentence_begins_with_where_the_defect_is(spoil: Callable[[dict], object], sentence: str) -> None:  # type: ignore[type-arg]
    report = a_report()
    value = json.loads(encode_report(report))
    value["pods"] = [value["pods"][0], dict(value["pods"][0], uid="another")]
    spoil(value)
    with pytest.raises(ReportError) as raised:
        decode_report(json.dumps(value))
    assert str(raised.value) == sentence


def test_reading_a_report_changes_nothing_of_the_json_that_its_digest_is_of() -> None:
    text = encode_report(a_report())
    value = json.loads(text)
    report_of_json(value)
    assert value == json.loads(text)


@pytest.mark.parametrize(("spoil", "sentence"), DEFECTS, ids=[sentence for _, sentence in DEFECTS])
def test_a_defect_is_named_in_one_line(
    spoil: Callable[[dict], object],  # type: ignore[type-arg] # raw JSON on purpose
    sentence: str,
) -> None:
    value = json.loads(encode_report(a_report()))
    spoil(value)
    with pytest.raises(ReportError, match=sentence) as error:
        decode_report(json.dumps(value))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"version": 1}'])
def test_what_is_no_report_is_refused(text: bytes) -> None:
    with pytest.raises(ReportError):
        decode_report(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["cluster", "window_start", "domains", "pods", "node_info", "part", "since"]), JSON_VALUES)
def test_any_field_of_any_kind_is_accepted_whole_or_refused_with_a_sentence(field: str, junk: object) -> None:
    value = json.loads(encode_report(a_report())) | {field: junk}
    text = json.dumps(value)
    try:
        report = decode_report(text)
    except ReportError:
        return  # any other exception would be a stack trace in the server
    assert decode_report(encode_report(report)) == report
