"""How much energy the rows of an inventory cover, and what of a figure that stands in on the market is direct."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_ADDED = ("direct_uj", "upstream_uj", "market_uj", "stood_in_direct_ug", "stood_in_upstream_ug")
_READ = ("derivation_id", "facility_uj", "direct_ug", "upstream_ug", "unsplit_ug", "stood_in_ug")
_LOCATION = ("location_dynamic_ug", "location_idle_ug", "location_overhead_ug")
_MARKET = ("market_dynamic_ug", "market_idle_ug", "market_overhead_ug")
_KEPT = ("derivation_id", "level", "start")


def upgrade() -> None:
    """Add the columns; unsealed rows are made anew under the rules of this version.

    Of sealed rows the energies are not stored: they are taken to be in proportion to the emissions. A row of which
    nothing is without a direct factor is known whole.
    """
    for name in _ADDED:
        op.add_column("valued_row", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    table = sa.table("valued_row", *map(sa.column, (*_READ, *_ADDED, *_LOCATION, *_MARKET)))
    row = table.c
    sealed = sa.select(sa.table("sealed_hour", sa.column("derivation_id")).c.derivation_id)
    location = sum((row[name] for name in _LOCATION[1:]), row[_LOCATION[0]])
    market = sum((row[name] for name in _MARKET[1:]), row[_MARKET[0]])
    is_split = row.unsplit_ug == 0

    def part(whole: sa.ColumnElement[int], numerator: sa.ColumnElement[int], of: sa.ColumnElement[int]) -> object:
        """By floats: the product would not fit 64 bits. Never more than the whole."""
        share = sa.cast(numerator, sa.Double) / sa.cast(of, sa.Double)
        found = sa.cast(sa.cast(whole, sa.Double) * share, sa.BigInteger)
        return sa.case((of == 0, 0), (numerator >= of, whole), (found > whole, whole), else_=found)

    direct = sa.case((is_split, row.facility_uj), else_=part(row.facility_uj, location - row.unsplit_ug, location))
    rest = part(row.facility_uj, market - row.stood_in_ug, market)
    on_market = sa.case((row.stood_in_ug == 0, row.facility_uj), else_=rest)
    stood_in = part(row.stood_in_ug, row.direct_ug, location)
    figures: dict[str, object] = {
        "direct_uj": direct,
        "upstream_uj": sa.case((row.upstream_ug > 0, direct), else_=0),
        "market_uj": sa.case((is_split, row.facility_uj), else_=on_market),
        "stood_in_direct_ug": sa.case((is_split, stood_in), else_=0),
        # With direct factors, the direct part is all of it, and what is upstream is no part of what stands in.
        "stood_in_upstream_ug": sa.case((is_split, row.stood_in_ug - stood_in), else_=0),
    }
    op.execute(sa.update(table).where(row.derivation_id.in_(sealed)).values(figures))


def downgrade() -> None:
    """Drop the columns. What is kept and not sealed goes too, to be made anew: else it would cover nothing later."""
    unit, row = sa.table("valued_unit", *map(sa.column, _KEPT)), sa.table("valued_row", *map(sa.column, _KEPT))
    sealed = sa.table("sealed_hour", sa.column("derivation_id"), sa.column("hour")).c
    for table in (unit, row):
        kept = table.c
        of_sealed_hour = sa.exists().where(
            sealed.derivation_id == kept.derivation_id, sealed.hour == kept.start - kept.start % 3600
        )
        op.execute(sa.delete(table).where(sa.or_(kept.level != 0, sa.not_(of_sealed_hour))))
    with op.batch_alter_table("valued_row") as altered:
        for name in _ADDED:
            altered.drop_column(name)
