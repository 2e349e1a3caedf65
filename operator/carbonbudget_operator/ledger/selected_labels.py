"""The labels that budgets select by, and with which values: in memory, and in the ledger for all servers behind it.

The controller asks for its budgets each minute, and one server answers. Which labels of a pod are stored depends
on what budgets select by, so every server must know that, also one that has just started. A label is stored until no
budget has asked by it for eight days, as long as a report of that time may come.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Final, NamedTuple

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.bulk_rows import BulkInsert
from carbonbudget_operator.name_rules import is_label_key, is_label_value
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

STORED_SECONDS: Final = 8 * 86_400  # agents store their windows for 7 days
# A label that is requested each minute is written once an hour.
_RENEW_SECONDS: Final = 3_600
# Another server's clock may differ, and what it wrote may be committed later.
_OVERLAP_SECONDS: Final = 600
_MAX_SELECTED: Final = 256  # keys of a namespace's budgets, and values of a key
_MAX_NAMED: Final = 4_096  # values of a namespace's keys: some 400 kB
_ANY: Final = "*"  # stands for the key itself: no label has this value

Asked = tuple[Iterable[str], str, Iterable[str]]  # a budget's namespaces, a key, the values that it names
_Keys = Mapping[str, Mapping[str, int]]  # by key and value, the UTC second at which a budget last asked
_COLUMNS: Final = ("namespace", "several", "key", "value", "asked_at")


class SelectedLabelRow(NamedTuple):
    """One value of a label that budgets of a namespace select by; `*` for any value."""

    namespace: str
    several: bool  # by a budget over several namespaces
    key: str
    value: str
    asked_at: int  # UTC second


class SelectedLabels:
    """The selected labels that this process knows, the latest 256 keys of each namespace.

    They are stored by namespace, and those of budgets over several namespaces apart, so that an editor of budgets in
    one namespace cannot remove another's. Several threads add labels and another one reads them, so each change
    replaces the whole mapping.
    """

    def __init__(self) -> None:
        self._keys: dict[tuple[str, bool], _Keys] = {}
        self._learning = threading.Lock()
        self._version = 0
        self._found: dict[str, tuple[int, frozenset[str]]] = {}

    def learn(self, namespaces: Iterable[str], key: str, values: Iterable[str] = (), now: int = 0) -> None:
        """A budget of these namespaces selects by `key`, with these values if they are named."""
        self.take(self.news([(namespaces, key, values)], now))

    def news(self, asked: Iterable[Asked], now: int) -> list[SelectedLabelRow]:
        """The requested labels that are new or were last written an hour ago. Changes nothing yet."""
        wanted: defaultdict[tuple[str, bool], dict[str, set[str]]] = defaultdict(dict)
        for namespaces, key, values in asked:
            among = list(namespaces)
            several = len(among) != 1 or among[0] == EVERY_NAMESPACE
            for namespace in among:
                wanted[(namespace, several)].setdefault(key, {_ANY}).update(values)
        return [row for place, keys in wanted.items() for row in self._news_of(place, keys, now)]

    def _news_of(self, place: tuple[str, bool], wanted: Mapping[str, set[str]], now: int) -> Iterable[SelectedLabelRow]:
        known, namespace, several = self._keys.get(place, {}), *place
        new = [key for key in wanted if key not in known and is_label_key(key)]
        # Those that are asked and known stay: a namespace with more than its bound would change them each minute.
        del new[max(0, _MAX_SELECTED - sum(key in known for key in wanted)) :]
        full = len(known) + len(new) > _MAX_SELECTED  # then those that were asked latest stay
        room = _MAX_NAMED - sum(map(len, known.values()))
        for key, values in wanted.items():
            its = known.get(key)
            if its is None and key not in new:
                continue
            for value in sorted(values):
                asked_at = None if its is None else its.get(value)
                if asked_at is not None:
                    if full or asked_at <= now - _RENEW_SECONDS:
                        yield SelectedLabelRow(namespace, several, key, value, now)
                elif value == _ANY or (
                    room > 0 and (its is None or len(its) <= _MAX_SELECTED) and is_label_value(value)
                ):
                    room -= 1
                    yield SelectedLabelRow(namespace, several, key, value, now)

    def take(self, rows: Iterable[SelectedLabelRow]) -> list[SelectedLabelRow]:
        """Learn them; the keys (as rows of any value) that had to go for them, those asked longest ago first."""
        gone: list[SelectedLabelRow] = []
        by_place: defaultdict[tuple[str, bool], list[SelectedLabelRow]] = defaultdict(list)
        for row in rows:
            by_place[(row.namespace, row.several)].append(row)
        with self._learning:
            for place, its in by_place.items():
                earlier = self._keys.get(place, {})
                keys = {key: dict(values) for key, values in earlier.items()}
                for row in its:
                    values = keys.setdefault(row.key, {})
                    values[row.value] = max(row.asked_at, values.get(row.value, row.asked_at))
                    values.setdefault(_ANY, row.asked_at)
                if len(keys) > _MAX_SELECTED:
                    latest = {key: max(values.values()) for key, values in keys.items()}
                    for key in sorted(keys, key=latest.__getitem__)[: len(keys) - _MAX_SELECTED]:
                        del keys[key]
                        gone.append(SelectedLabelRow(*place, key, _ANY, latest[key]))
                self._keys[place] = keys
                if keys.keys() != earlier.keys():
                    self._version += 1
        return gone

    def expire(self, now: int) -> None:
        """Forget what no budget has asked by for so long."""
        oldest = now - STORED_SECONDS
        with self._learning:
            for place, keys in list(self._keys.items()):
                left: dict[str, Mapping[str, int]] = {}
                for key, values in keys.items():
                    asked = {value: asked_at for value, asked_at in values.items() if asked_at >= oldest}
                    if asked:
                        left[key] = {_ANY: values[_ANY]} | asked
                if left != keys:
                    self._keys[place] = left
                    self._version += left.keys() != keys.keys()
                if not left:
                    del self._keys[place]

    def keys(self, namespace: str) -> Set[str]:
        """All keys that select pods of the namespace; the same object as long as they are the same."""
        found = self._found.get(namespace)
        version = self._version  # before it is looked up: what changes meanwhile is looked up again
        if found is None or found[0] != version:
            keys = frozenset(key for keys in self._of(namespace) for key in keys)
            found = self._found[namespace] = (version, found[1] if found is not None and found[1] == keys else keys)
            if len(self._found) > 100_000:  # anybody's namespaces come and go
                self._found.clear()
        return found[1]

    def keys_of_several(self, namespace: str) -> Set[str]:
        """The labels of budgets over several namespaces. An editor of one namespace cannot add to them."""
        return frozenset(key for where in (namespace, EVERY_NAMESPACE) for key in self._keys.get((where, True), ()))

    def names(self, namespace: str, key: str, value: str) -> bool:
        """Whether a budget of the namespace names the label with this value."""
        return any(value in keys.get(key, ()) for keys in self._of(namespace))

    def _of(self, namespace: str) -> Iterable[_Keys]:
        yield self._keys.get((namespace, False), {})
        yield self._keys.get((namespace, True), {})
        yield self._keys.get((EVERY_NAMESPACE, True), {})


class StoredLabels:
    """The ledger's part: what one server was asked by, the others read."""

    def __init__(self, dialect: sa.Dialect, labels: SelectedLabels) -> None:
        self._labels = labels
        self._read_until: int | None = None  # UTC second
        self._put = BulkInsert(dialect, schema.selected_label, _COLUMNS, _COLUMNS[:-1], {"asked_at": "max"})

    def store(self, connection: sa.Connection, rows: Iterable[SelectedLabelRow]) -> None:
        """Write what is new; two servers may write the same."""
        self._put.put(connection, sorted(rows))

    def remove(self, connection: sa.Connection, gone: Iterable[SelectedLabelRow]) -> None:
        """Delete keys with all their values, unless another server was asked by them since."""
        c = schema.selected_label.c
        for row in gone:
            connection.execute(
                sa.delete(schema.selected_label).where(
                    c.namespace == row.namespace, c.several == row.several, c.key == row.key,
                    c.asked_at <= row.asked_at,
                )
            )  # fmt: skip

    def load(self, connection: sa.Connection, now: int) -> None:
        """Learn what other servers wrote since the last call, all at the first one, and forget what expired."""
        c, oldest = schema.selected_label.c, now - STORED_SECONDS
        since = oldest if self._read_until is None else max(oldest, self._read_until - _OVERLAP_SECONDS)
        query = sa.select(*(c[name] for name in _COLUMNS)).where(c.asked_at >= since).order_by(c.asked_at)
        self._labels.take(SelectedLabelRow(*row) for row in connection.execute(query))
        self._labels.expire(now)
        self._read_until = now

    @staticmethod
    def has_expired(connection: sa.Connection, now: int) -> bool:
        """Whether the ledger holds what no budget has asked by for so long."""
        return bool(connection.scalar(sa.select(sa.exists().where(_expired(now)))))

    @staticmethod
    def drop_expired(connection: sa.Connection, now: int) -> None:
        """Delete it."""
        connection.execute(sa.delete(schema.selected_label).where(_expired(now)))


def _expired(now: int) -> sa.ColumnElement[bool]:
    return schema.selected_label.c.asked_at < now - STORED_SECONDS
