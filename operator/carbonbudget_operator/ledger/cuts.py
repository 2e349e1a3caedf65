"""Cuts: instants inside an hour where a budget starts or ends; the facts of its namespace's pods are split there.

A cut belongs to the namespace whose budget asked for it; `*` splits the pods of all namespaces. Facts of nodes are
never split, so a namespace pays for its own cuts in rows and changes no other namespace's rows. Each namespace has its
own bound, and so has `*`: none can use up another's (docs/design/2026-11-29-cuts.md).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from carbonbudget_core.node_report import WINDOW_SECONDS
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import chunks
from carbonbudget_operator.ledger.time_slices import HOUR, slice_start
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

DAY: Final = 86_400
# Of a namespace. Six: a row becomes at most seven in one hour, thirteen with those of `*`. A day's 24: at most twice
# the rows over the day, three times with those of `*`.
MAX_AN_HOUR: Final = 6
MAX_A_DAY: Final = 24
# Of all namespaces; beyond it each may have one more a day.
MAX_A_DAY_IN_ALL: Final = 10_000
# The controller requests cuts each minute: a day ahead is early enough, and a budget that ends in the year 9000 uses no
# place.
_AHEAD: Final = DAY
# Agents store their windows for seven days.
_BEHIND: Final = 8 * DAY
Cut = tuple[int, str]  # UTC second, namespace


class Cuts:
    """The cuts of a span of time, by namespace."""

    def __init__(self, found: Iterable[Cut] = ()) -> None:
        by_namespace: defaultdict[str, set[int]] = defaultdict(set)
        for at, namespace in found:
            by_namespace[namespace].add(at)
        every = by_namespace.pop(EVERY_NAMESPACE, set())
        self.every: Sequence[int] = sorted(every)
        self.own: dict[str, Sequence[int]] = {name: sorted(its | every) for name, its in by_namespace.items()}
        self._starts: dict[int, tuple[int, dict[str, int]]] = {}

    def of(self, namespace: str) -> Sequence[int]:
        """The instants at which the namespace's facts are split, sorted."""
        return self.own.get(namespace, self.every)

    def starts(self, at: int) -> tuple[int, dict[str, int]]:
        """The start of the slice that an instant lies in, and that of namespaces with cuts of their own."""
        if at not in self._starts:
            own = {name: slice_start(at, its) for name, its in self.own.items()}
            self._starts[at] = (slice_start(at, self.every), own)
        return self._starts[at]

    @property
    def most(self) -> int:
        """How many cuts one namespace has at most."""
        return max(map(len, (self.every, *self.own.values())))

    def inside(self, hour: int) -> set[int]:
        """The instants inside an hour at which any namespace's facts are split."""
        return {
            at
            for its in (self.every, *self.own.values())
            for at in its[bisect_right(its, hour) : bisect_left(its, hour + HOUR)]
        }


NO_CUTS: Final = Cuts()


def load_cuts(connection: sa.Connection, start: int = 0, end: int = 2**62) -> Cuts:
    """The cuts of [start, end)."""
    return Cuts(_load(connection, start, end))


def cuts_at(connection: sa.Connection, instants: Iterable[int]) -> set[Cut]:
    """The cuts at these instants."""
    c = schema.cut.c
    return {
        (at, name)
        for some in chunks(sorted(instants))
        for at, name in connection.execute(sa.select(c.at, c.namespace).where(c.at.in_(some)))
    }


def new_cuts(connection: sa.Connection, wanted: Iterable[tuple[str, int]], now: int) -> list[Cut]:
    """The wanted cuts (namespace and instant) that are still to be made and can be.

    An instant on the hour needs none. One that a booked window may already lie beyond cannot split any more, and one
    beyond a bound is left out: a budget that starts or ends there is counted pro rata in time in that hour.
    """
    latest_end = connection.scalar(sa.select(sa.func.max(schema.node_span.c.last_end))) or 0
    # A window that starts at the instant or later ends at least a shortest window after it.
    first, last = max(latest_end - WINDOW_SECONDS[0] + 1, now - _BEHIND), now + _AHEAD
    possible = {(at, namespace) for namespace, at in wanted if at % HOUR and first <= at < last}
    if not possible:
        return []
    return _admitted(possible, set(_load(connection, first - first % DAY, last - last % DAY + DAY)))


def _admitted(wanted: Iterable[Cut], known: set[Cut]) -> list[Cut]:
    """The earliest first, as many as the limits allow in addition to known ones."""
    in_hour, in_day, in_all = Counter[Cut](), Counter[Cut](), Counter[int]()
    admitted: list[Cut] = []

    def count(at: int, namespace: str) -> None:
        in_hour[(at - at % HOUR, namespace)] += 1
        in_day[(at - at % DAY, namespace)] += 1
        in_all[at - at % DAY] += 1

    for at, namespace in known:
        count(at, namespace)
    for at, namespace in sorted(wanted):  # `*` sorts before all names: what it splits no other need split
        if (at, namespace) in known or (at, EVERY_NAMESPACE) in known:
            continue
        day = at - at % DAY
        most = MAX_A_DAY if in_all[day] < MAX_A_DAY_IN_ALL else 1
        if in_hour[(at - at % HOUR, namespace)] < MAX_AN_HOUR and in_day[(day, namespace)] < most:
            count(at, namespace)
            known.add((at, namespace))
            admitted.append((at, namespace))
    return admitted


# Made once: each batch of reports reads by it.
_BETWEEN: Final = sa.select(schema.cut.c.at, schema.cut.c.namespace).where(
    schema.cut.c.at >= sa.bindparam("start", type_=sa.BigInteger),
    schema.cut.c.at < sa.bindparam("end", type_=sa.BigInteger),
)


def _load(connection: sa.Connection, start: int, end: int) -> list[Cut]:
    return [(at, name) for at, name in connection.execute(_BETWEEN, {"start": start, "end": end})]
