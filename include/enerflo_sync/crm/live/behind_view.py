"""Tables behind a view that may hide rows: a row that the view does not show can be looked for there."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable, live_tables
from enerflo_sync.crm.names import quoted

_BEHIND = sa.text("""
/* enerflo-sync view: the relations that one view reads, and the text of each view among them */
with recursive behind as (
  select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = :schema and c.relname = :name and c.relkind = 'v'
    and pg_relation_is_updatable(c.oid, true) & 8 = 8
  union
  select d.refobjid
  from behind b join pg_catalog.pg_class v on v.oid = b.oid and v.relkind in ('v', 'm')
  join pg_catalog.pg_rewrite r on r.ev_class = v.oid and r.ev_type = '1'
  join pg_catalog.pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid
)
select n.nspname::text as schema, c.relname::text as name,
       case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end as definition,
       c.relkind in ('r', 'p') as stores
from behind b join pg_catalog.pg_class c on c.oid = b.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f')
""")

# PostgreSQL writes the text of a view itself: keywords in capitals, and `AS name` only where a column is
# computed or has another name in the table.
_SHOWS_ALL = re.compile(r"\sFROM (ONLY )?\S+( \S+)?;\s*\Z")
_WHERE = re.compile(r"\bWHERE\b")


@dataclass(frozen=True)
class BehindView:
    """Where the rows stand that a view takes and may not show.

    ``tables`` are those in which a row can be looked for by the view's names of the columns, as SQL names.
    ``is_known`` is whether they are all tables in which a row of the view may stand.
    """

    tables: Sequence[str]
    is_known: bool


def behind_view(connection: sa.Connection, view: LiveTable, columns: Collection[str]) -> BehindView | None:
    """Return the tables behind a view that takes new rows and may hide others.

    ``None`` for a table, for a view that takes no new rows, and for one that shows every row of its table.
    A table with a unique index on the columns is left out, since it refuses a second row by itself.

    :param columns: the columns that name a row's record.
    """
    if not view.view:
        return None
    found = connection.execute(_BEHIND, {"schema": view.schema, "name": view.name}).all()
    texts = [one.definition for one in found if one.definition is not None]
    if all(_SHOWS_ALL.search(text) and not _WHERE.search(text) for text in texts):
        return None
    names = [(one.schema, one.name) for one in found if one.stores]
    bases = [one for one in live_tables(connection, names).values() if set(columns) <= set(one.columns)]
    renames = any(_renames(text, column) for text in texts for column in columns)
    looked = [one for one in bases if not one.unique_by(list(columns))]
    return BehindView(
        tables=[quoted(one.schema, one.name) for one in looked if one.readable],
        is_known=bool(bases) and not renames and all(one.readable and not one.hides_rows for one in looked),
    )


def _renames(text: str, column: str) -> bool:
    plain, escaped = re.escape(column), re.escape(column.replace('"', '""'))
    return re.search(rf'\bAS ({plain}\b|"{escaped}")', text) is not None
