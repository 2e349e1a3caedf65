"""Direct and upstream parts of location-based emissions in valued rows. What was sealed before has one of them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_PARTS = ("direct_ug", "upstream_ug", "unsplit_ug", "stood_in_ug")
_MARKET = ("market_dynamic_ug", "market_idle_ug", "market_overhead_ug")
_KEPT = ("derivation_id", "level", "start")
_LOCATION = ("location_dynamic_ug", "location_idle_ug", "location_overhead_ug")


def upgrade() -> None:
    """Add the columns; unsealed rows are made anew under the rules of this version.

    Sealed rows were valued with one figure: direct where that was the basis and a direct figure was found, else a
    life cycle whose direct share is not known. Where the location's figure stood in for a market factor in a part of a
    sealed row, it is taken for all of it: the part is not known any more.
    """
    for name in _PARTS:
        op.add_column("valued_row", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    table = sa.table("valued_row", *map(sa.column, ("derivation_id", "factor_set_id", *_PARTS, *_LOCATION, *_MARKET)))
    row = table.c
    derivation = sa.table("derivation", *map(sa.column, ("id", "description"))).c
    factors = sa.table("factor_set", *map(sa.column, ("id", "factors"))).c
    sealed = sa.select(sa.table("sealed_hour", sa.column("derivation_id")).c.derivation_id)
    by_direct = sa.select(derivation.id).where(derivation.description.like('%"basis":"direct"%'))
    stood_in = sa.select(factors.id).where(factors.factors.like("%, no direct figure is bundled%"))
    no_market = sa.select(factors.id).where(factors.factors.like("%noMarketFactor:%"))
    is_direct = sa.and_(row.derivation_id.in_(by_direct), row.factor_set_id.not_in(stood_in))
    location = sum((row[name] for name in _LOCATION[1:]), row[_LOCATION[0]])
    market = sum((row[name] for name in _MARKET[1:]), row[_MARKET[0]])
    for part, condition, figure in (
        ("direct_ug", is_direct, location),
        ("unsplit_ug", sa.not_(is_direct), location),
        ("stood_in_ug", row.factor_set_id.in_(no_market), market),
    ):
        op.execute(sa.update(table).where(row.derivation_id.in_(sealed), condition).values({part: figure}))


def downgrade() -> None:
    """Drop the columns: the sums that the parts add up to stay.

    What is kept and not sealed goes too, to be made anew: without its parts it would be taken for whole when the ledger
    comes up again.
    """
    unit, row = sa.table("valued_unit", *map(sa.column, _KEPT)), sa.table("valued_row", *map(sa.column, _KEPT))
    sealed = sa.table("sealed_hour", sa.column("derivation_id"), sa.column("hour")).c
    for table in (unit, row):
        kept = table.c
        of_sealed_hour = sa.exists().where(
            sealed.derivation_id == kept.derivation_id, sealed.hour == kept.start - kept.start % 3600
        )
        op.execute(sa.delete(table).where(sa.or_(kept.level != 0, sa.not_(of_sealed_hour))))
    with op.batch_alter_table("valued_row") as altered:
        for name in _PARTS:
            altered.drop_column(name)
