"""Counts units from raw samples of counters, exactly as the samples say. Nothing is extrapolated.

The rules, for the hour (hour, hour + 3600 s]:

- What a counter grew by between two samples in a row belongs to the hour of the later sample.
- A counter that fell was reset: all of its value after that is growth.
- The first sample of a series counts nothing: nobody knows when it grew to that value. A sample is the first one if
  there is none before it in the lookback before the hour.
- A sample that is negative, infinite or no number is passed over. One NaN alone is no sample: with it VictoriaMetrics
  marks that a series has ended, which Prometheus keeps to itself. Of several samples of one instant the largest counts.
- An hour is not known, and never zero, in which a pod counted more than can be true, or has only such samples. Of a
  query that reads several namespaces, the hour is not known in that pod's namespace, and known in the others.

Each sample is cut to whole millionths, then all is integers: the hours of a history add up exactly to its growth.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from carbonbudget_operator.printable import printable

HOUR: Final = 3600
MICRO: Final = 1_000_000
PodKey = tuple[str, str]
# Prometheus writes floats without an exponent, others with one. Anything else, such as NaN or +Inf, is no count.
_NUMBER: Final = re.compile(r"(\d{1,30})(?:\.(\d{1,330}))?(?:[eE]([+-]?\d{1,3}))?", re.ASCII)
_MOST_NAME: Final = 253  # characters of a pod's name in Kubernetes
_MOST_MICRO: Final = 10**30  # a counter's value, not its growth


class RawSeries(NamedTuple):
    """A series: its labels, and its samples in order of time, each UTC seconds and the value as text."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, str]]


class HourUnits(NamedTuple):
    """What was counted in an hour.

    `micro`: millionths of a unit by namespace and pod, of those that counted any. `is_absent`: there is no series.
    `is_sampled`: there is at least one sample of the hour itself. `gaps`: samples or namespaces were refused; `refused`
    says why in a sentence. `unknown`: namespaces of a query whose units are not known in this hour.
    """

    micro: Mapping[PodKey, int]
    is_absent: bool
    is_sampled: bool
    gaps: bool = False
    refused: str = ""
    unknown: frozenset[str] = frozenset()


class UnusableAnswer(ValueError):
    """An answer of Prometheus says nothing about the hour. The message says why and what to do.

    `of_counter`: only about this counter. The store itself answers as it should.
    """

    def __init__(self, message: str, of_counter: bool = False) -> None:
        super().__init__(message)
        self.of_counter = of_counter


def micro_of(text: str) -> int | None:
    """A sample's value in millionths, cut to a whole number; None for one that no counter can have."""
    if text.isascii() and text.isdigit() and len(text) <= 18:  # almost all
        return int(text) * MICRO
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    whole, fraction, exponent = found[1], found[2] or "", int(found[3] or 0)
    shift = exponent - len(fraction) + 6
    digits = int(whole + fraction)
    value = digits * 10**shift if shift >= 0 else digits // 10**-shift
    return value if value <= _MOST_MICRO else None


class Growth(NamedTuple):
    """What a series grew by in an hour.

    `is_there`: it has samples of the hour or of the lookback; `is_sampled`: of the hour; `has_bad_sample`: one of these
    was passed over; `is_unreadable`: all of these were.
    """

    micro: int
    is_there: bool
    is_sampled: bool
    has_bad_sample: bool
    is_unreadable: bool


def growth_of(samples: Iterable[tuple[float, str]], hour: int, lookback_seconds: int) -> Growth:
    """The growth of one series in an hour. Samples outside of (hour - lookback, hour + 3600 s] are not looked at.

    Raises:
        UnusableAnswer: the samples are not in order of time.
    """
    begins, ends, first = hour * 1000, (hour + HOUR) * 1000, (hour - lookback_seconds) * 1000
    total, previous = 0, None
    is_there = is_sampled = has_bad = has_good = after_nan = False
    for at_ms, text in _one_an_instant(samples):
        if at_ms <= first or at_ms > ends:
            continue  # Prometheus 2 answers with a sample at the very start of a range, version 3 without it
        is_end, after_nan = text == "NaN" and not after_nan, text == "NaN"
        if is_end:
            continue
        is_there = True
        value = micro_of(text)
        if at_ms > begins:
            is_sampled = True
            if value is None:
                has_bad = True
            else:
                has_good = True
                if previous is not None:
                    total += value - previous if value >= previous else value
        if value is not None:
            previous = value
    return Growth(total, is_there, is_sampled, has_bad, has_bad and not has_good)


def _one_an_instant(samples: Iterable[tuple[float, str]]) -> Iterator[tuple[int, str]]:
    """The samples by milliseconds; of several of one instant the largest, which is what VictoriaMetrics itself keeps.

    It has them where a sender repeated a request, or two of them wrote the same series. The smaller one after the
    larger one would look like a reset.
    """
    held_ms, held = -1, ""
    for at, text in samples:
        at_ms = round(at * 1000)
        if at_ms > held_ms:
            if held_ms >= 0:
                yield held_ms, held
            held_ms, held = at_ms, text
        elif at_ms < held_ms:
            raise UnusableAnswer("samples are not in order of time: the store at units.url answers as no Prometheus")
        elif text != held and _value_or_none(text) > _value_or_none(held):
            held = text
    if held_ms >= 0:
        yield held_ms, held


def _value_or_none(text: str) -> int:
    value = micro_of(text)
    return -1 if value is None else value


def count_hour(
    series: Iterable[RawSeries], namespace: str, hour: int, lookback_seconds: int, namespace_label: str,
    pod_label: str, most_units: int,
) -> HourUnits:  # fmt: skip
    """Count an hour of one namespace. `most_units`: what a pod can at most count in an hour.

    Raises:
        UnusableAnswer: a series is of another namespace, none has the label of pods, or what a pod counted cannot be.
    """
    found: dict[PodKey, int] = defaultdict(int)
    unreadable: set[PodKey] = set()
    number = without_pod = bad = 0
    is_sampled = False
    for labels, samples in series:
        if labels.get(namespace_label) != namespace:
            raise UnusableAnswer(
                f"a series has not the label {namespace_label} that was asked for: the store at units.url does not "
                "obey matchers"
            )
        growth = growth_of(samples, hour, lookback_seconds)
        if not growth.is_there:
            continue
        number += 1
        is_sampled = is_sampled or growth.is_sampled
        pod = labels.get(pod_label, "")
        if not pod:  # an aggregate of a recording rule: its pods are counted by their own series
            without_pod += 1
            continue
        if len(pod) > _MOST_NAME:
            raise UnusableAnswer(
                f"a series has a label {pod_label} of {len(pod)} characters, which is no pod's name: scrape its pods "
                "with honorLabels: false",
                of_counter=True,
            )
        bad += growth.has_bad_sample
        if growth.is_unreadable:
            unreadable.add((namespace, pod))
        found[namespace, pod] += growth.micro
    if number and without_pod == number:
        raise UnusableAnswer(
            f"no series has the label {pod_label}: name the label of pods in units.pod_label, or add it by relabelling",
            of_counter=True,
        )
    if impossible := _impossible(found, unreadable, most_units):
        raise UnusableAnswer(_told(impossible, most_units), of_counter=True)
    told = f"{bad} series have samples that are negative or no numbers: these are passed over" if bad else ""
    return HourUnits(_counted(found), not number, is_sampled, bool(told), told)


def count_vector(
    vector: Iterable[tuple[Mapping[str, str], str]], namespace_label: str, pod_label: str, most_units: int
) -> HourUnits:
    """Count an hour by the values of a query at its end: labels, and the value as text.

    Without the labels of namespace and pod they are empty: such units are of the whole selection.

    Raises:
        UnusableAnswer: a series has only one of these labels, so that nobody knows whose units they are, or units of
            the whole selection cannot be.
    """
    found: dict[PodKey, int] = defaultdict(int)
    unreadable: set[PodKey] = set()
    number = 0
    for labels, text in vector:
        number += 1
        namespace, pod = labels.get(namespace_label, ""), labels.get(pod_label, "")
        if bool(namespace) != bool(pod):
            raise UnusableAnswer(
                f"the query's series need both of the labels {namespace_label} and {pod_label}, or neither: sum by "
                f"({namespace_label}, {pod_label})",
                of_counter=True,
            )
        value = micro_of(text)
        if len(namespace) > _MOST_NAME:  # no namespace: nobody's
            continue
        if value is None or len(pod) > _MOST_NAME:
            unreadable.add((namespace, pod))
        else:
            found[namespace, pod] += value
    impossible = _impossible(found, unreadable, most_units)
    unknown = frozenset(namespace for namespace, _ in impossible)
    told = _told(impossible, most_units) if impossible else ""
    if "" in unknown:
        raise UnusableAnswer(told, of_counter=True)
    micro = {key: count for key, count in _counted(found).items() if key[0] not in unknown}
    return HourUnits(micro, not number, number > 0, bool(told), told, unknown)


def _counted(found: Mapping[PodKey, int]) -> dict[PodKey, int]:
    return {key: count for key, count in found.items() if count}


def _impossible(found: Mapping[PodKey, int], unreadable: Collection[PodKey], most_units: int) -> set[PodKey]:
    """The pods whose units are not known: zero would make the others look as if they had done all of the work."""
    return {key for key, micro in found.items() if micro > most_units * MICRO} | set(unreadable)


def _told(impossible: Collection[PodKey], most_units: int) -> str:
    namespace, pod = min(impossible)
    name = printable(f"{namespace}/{pod}", 120) if namespace else "the query as a whole"
    others = f" and {len(impossible) - 1} more" if len(impossible) > 1 else ""
    return (
        f"{name}{others} counted more than {most_units} units in the hour (units.most_units_per_hour), or negative "
        "values or no numbers alone, or is no pod's name: correct what is exposed; until then the hour is not known"
    )
