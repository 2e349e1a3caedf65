"""The table of tokens that read the public API: stored as hashes, listed, revoked.

A token is 256 random bits. SHA-256 of it is therefore enough: nobody can try them all, and a slow hash gains nothing.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

PREFIX: Final = "carbonbudget_read_"  # tells people and secret scanners what was found
MAX_LIVE: Final = 1_000  # of a cluster: the server has them in memory
MAX_LIVE_EACH: Final = 50  # of one creator
_KEPT_SECONDS: Final = 90 * 86_400  # how long one that is over stays listed
_DAY: Final = 86_400


class TooManyReadTokens(Exception):
    """The cluster, or the creator, has as many as there may be. One sentence says what to do."""


@dataclass(frozen=True, slots=True)
class ReadToken:
    """A token as it is stored. `creator` is the JSON of whose rights bound it; times are UTC seconds."""

    id: int
    name: str
    namespaces: tuple[str, ...]
    creator: str
    created_by: str
    created_at: int
    expires_at: int
    revoked_at: int | None
    revoked_by: str | None
    last_used: int | None

    def as_json(self) -> dict[str, object]:
        """What people are shown of it."""
        return {
            "id": self.id, "name": self.name, "namespaces": list(self.namespaces), "created_by": self.created_by,
            "created_at": self.created_at, "expires_at": self.expires_at, "revoked_at": self.revoked_at,
            "revoked_by": self.revoked_by, "last_used": self.last_used,
        }  # fmt: skip


def hash_of(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def create_token(
    engine: sa.Engine, cluster: str, name: str, namespaces: Sequence[str], creator: str, created_by: str, now: int,
    expires_at: int,
) -> tuple[str, ReadToken]:  # fmt: skip
    """A new token, which nobody can read again, and its record. Raises TooManyReadTokens."""
    token, c = PREFIX + secrets.token_urlsafe(32), schema.read_token.c
    with write_transaction(engine, AdvisoryLock.READ_TOKENS) as connection:
        over = sa.func.coalesce(c.revoked_at, c.expires_at)
        connection.execute(sa.delete(schema.read_token).where(over < now - _KEPT_SECONDS))
        live = [one for one in _read(connection, cluster) if one.revoked_at is None and one.expires_at > now]
        for found, most, whose in (
            (len(live), MAX_LIVE, "the cluster has"),
            (sum(one.created_by == created_by for one in live), MAX_LIVE_EACH, f"{created_by} has"),
        ):
            if found >= most:
                raise TooManyReadTokens(f"{whose} {found} read tokens, and no more are possible: revoke some")
        connection.execute(
            sa.insert(schema.read_token).values(
                cluster=cluster, hash=hash_of(token), name=name, namespaces=json.dumps(sorted(set(namespaces))),
                creator=creator, created_by=created_by, created_at=now, expires_at=expires_at,
            )
        )  # fmt: skip
        (made,) = _read(connection, cluster, c.hash == hash_of(token))
    return token, made


def list_tokens(engine: sa.Engine, cluster: str) -> list[ReadToken]:
    """All of them, also those that are over since less than 90 days, the oldest first."""
    with engine.connect() as connection:
        return _read(connection, cluster)


def live_tokens(engine: sa.Engine, cluster: str, now: int) -> Mapping[bytes, ReadToken]:
    """The tokens that are neither revoked nor expired, by hash."""
    c = schema.read_token.c
    with engine.connect() as connection:
        wanted = c.cluster == cluster, c.revoked_at.is_(None), c.expires_at > now
        rows = connection.execute(sa.select(schema.read_token).where(*wanted)).mappings().all()
        return {bytes(row["hash"]): _record(row) for row in rows}


def revoke_token(engine: sa.Engine, cluster: str, token_id: int, by: str, now: int) -> None:
    """Revoke one. A second time changes nothing."""
    c = schema.read_token.c
    change = sa.update(schema.read_token).where(c.cluster == cluster, c.id == token_id, c.revoked_at.is_(None))
    with write_transaction(engine) as connection:
        connection.execute(change.values(revoked_at=now, revoked_by=by))


def note_use(engine: sa.Engine, token_id: int, now: int) -> None:
    """Record the day of a use."""
    day, c = now - now % _DAY, schema.read_token.c
    earlier = sa.or_(c.last_used.is_(None), c.last_used < day)
    with write_transaction(engine) as connection:
        connection.execute(sa.update(schema.read_token).where(c.id == token_id, earlier).values(last_used=day))


def _read(connection: sa.Connection, cluster: str, *where: sa.ColumnElement[bool]) -> list[ReadToken]:
    table = schema.read_token
    rows = connection.execute(sa.select(table).where(table.c.cluster == cluster, *where).order_by(table.c.id))
    return [_record(row) for row in rows.mappings()]


def _record(row: sa.RowMapping) -> ReadToken:
    given = {name: value for name, value in row.items() if name not in ("cluster", "hash")}
    return ReadToken(**{**given, "namespaces": tuple(json.loads(row["namespaces"]))})
