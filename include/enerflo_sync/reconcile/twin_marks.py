"""How the mark of a CRM row that was one of several ("twin") is found (:mod:`enerflo_sync.agreed.twins`).

A mark is stored under the row's key, and under a key that names the row's record, because the row may get
another key.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison

# No column of a key has this name, so no row of the CRM has such a key.
_OF_RECORD = "jsonb_build_object('', {})"

_BY_KEY = Template("""left join sync.agreed_twins $name on $name.account = %(account)s
    and $name.table_name = $table and $name.key = $key and $name.field = f.field""")

_MARKED_RECORDS = Template("""sync.agreed_twins w join $mirror e on $of_record and $mirror_rows
where w.account = %(account)s and w.table_name = $table and jsonb_exists(w.key, '')""")

_MARKED_ROWS = Template("""select key, field from sync.agreed_twins
  where account = %(account)s and table_name = $table""")
_ROWS_OF_MARKED_RECORDS = Template("""
  union select $key, w.field from $crm t join (
    select $joins, w.field from $marked
  ) w on $same""")


def record_mark(record: str) -> str:
    """Return the key under which a record's mark is stored.

    :param record: SQL of the mirror's key of the record, as JSON.
    """
    return _OF_RECORD.format(record)


def mark_of_field(comparison: Comparison) -> str:
    """Return the join that gives ``n``, the mark of the field ``f`` of a mismatched row ``o``."""
    common = {"table": literal(comparison.name)}
    if comparison.key_is_record:
        return _BY_KEY.substitute(common, name="n", key="o.key")
    of_row = _BY_KEY.substitute(common, name="of_row", key="o.key")
    of_record = _BY_KEY.substitute(common, name="of_record", key=record_mark("o.enerflo_key"))
    return (
        f"{of_row}\n  {of_record}\n"
        "  cross join lateral (select coalesce(of_row.account, of_record.account) as account) n"
    )


def marked_records(comparison: Comparison) -> str:
    """Return the ``from`` part of the marks ``w`` of records, each with its record ``e`` of the mirror."""
    record = "(w.key -> '')"
    return _MARKED_RECORDS.substitute(
        mirror=comparison.mirror,
        mirror_rows=comparison.mirror_rows,
        table=literal(comparison.name),
        of_record=" and ".join(
            f"e.{quoted(name)} = ({record} ->> {literal(name)})::bigint" for name in comparison.mirror_key
        ),
    )


def marked_rows(comparison: Comparison) -> str:
    """Return the select of ``key`` and ``field`` of the CRM's rows that have a mark."""
    statement = _MARKED_ROWS.substitute(table=literal(comparison.name))
    if comparison.key_is_record:
        return statement
    return statement + _ROWS_OF_MARKED_RECORDS.substitute(
        key=comparison.crm_key(f"t.{quoted(name)}" for name in comparison.mapping.key_columns),
        crm=comparison.crm_rows,
        joins=comparison.select_join("mirror"),
        marked=marked_records(comparison),
        same=" and ".join(
            f"({join.crm})::{join.type} = w.j{n}" for n, join in enumerate(comparison.joins, 1)
        ),
    )
