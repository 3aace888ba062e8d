"""Adoption: a CRM row without Enerflo's id that matches a record at Enerflo gets that record's id.

This also links a lead or a note that we created at Enerflo if the response to our request was lost.
"""

from __future__ import annotations

from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.adopted import agree_adopted, supersede_given_away
from enerflo_sync.agreed.whole_rows import row_digest
from enerflo_sync.agreed.written import of_key
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.crm.mapping import RecordKind, mirror_type
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.options import KeyColumn
from enerflo_sync.crm.templates import template_sql
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import difference_key
from enerflo_sync.reconcile.join_columns import join_column
from enerflo_sync.reconcile.values import BLANK, Field, crm_raw

# If several rows and records match each other by their fields, they are paired in their order: the first row
# with the first record. By a declared key only one row and one record match. A note can match by its text and
# by its text with the author; then equal ranks alone could give one row two records, or one record two rows.
# So row numbers keep each row and each record once.
_PAIRS = Template("""
/* enerflo-sync plan $name: CRM rows that are a record of Enerflo without saying so */
create temporary table $adopted on commit drop as
select o.p1, o.key, o.link, o.alike from (
  select o.*, row_number() over (partition by o.key order by o.p1) as nth_record,
         row_number() over (partition by o.p1 order by o.key) as nth_row
  from (
  select m.p1, $link as link, c.key,
         dense_rank() over (partition by c.key order by m.p1) as of_record,
         dense_rank() over (partition by m.p1 order by c.key) as of_row,
         array_agg(c.key) over (partition by m.p1) as alike,
         count(*) over (partition by c.key) as records, count(*) over (partition by m.p1) as rows
  from (select o.p1, o.j1, o.owner, $mine from $mismatched o where o.in_enerflo and not o.in_crm $unmarked) m
  join $mirror r on r.account = %(account)s and r.$p1 = m.p1
  cross join (
    select $key as key, o.owner, $key_columns, $theirs from $mismatched o
    where o.in_crm and not o.in_enerflo and o.j1 is null
  ) c
  join $crm t on $on_key
  where $readable and $same
  ) o where o.of_record = o.of_row $alone
) o where o.nth_record = 1 and o.nth_row = 1
""")

_LINK = Template("""
/* enerflo-sync plan $name: CRM rows that take the id of their record */
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, before, after, source_value,
  policy, cause, rule, changed_at, observed_at, row_digest)
select 'to_crm', $table, d.key, jsonb_build_object($p1, d.p1), 'update', $column, $before, d.link, d.link,
       'enerflo', 'missing_in_crm', 'adopted', e.observed_at, e.observed_at, $digest
from $adopted d join $mirror e on e.account = %(account)s and e.$p1_name = d.p1
join $crm t on $of_key
""")


def adopted_table(comparison: Comparison) -> str:
    """Return the name of the temporary table of adopted rows; empty if the table cannot have any.

    Its columns are ``p1``, ``key`` and ``link``, and ``alike``, the keys of all rows that match the record.
    """
    # The rows of a wide table belong to installs, and the table of installs holds their ids.
    return (
        "" if comparison.mapping.joined_by_key or comparison.is_wide else f"pg_temp.adopted_{comparison.name}"
    )


def adopt(
    connection: sa.Connection, comparison: Comparison, config: SyncConfig, values: dict[str, Any]
) -> bool:
    """Find the rows to adopt and decide that each gets its record's id.

    Rows and records match by the columns that ``adopt`` declares, or else by all mapped fields. A note's text
    matches also in the form in which we send it. Returns whether the table can have adopted rows.
    """
    adopted = adopted_table(comparison)
    if not adopted:
        return False
    numbers = range(1, len(comparison.fields) + 1)
    keys = comparison.mapping.key_columns
    p1, join = comparison.mirror_key[0], comparison.joins[0]
    connection.exec_driver_sql(
        _PAIRS.substitute(
            name=comparison.name,
            adopted=adopted,
            mine=", ".join(f"o.e{n}" for n in numbers),
            theirs=", ".join(f"o.c{n}" for n in numbers),
            mismatched=comparison.mismatched,
            unmarked=f"and not {comparison.marked_deleted('o')} and not {comparison.stands_outside('o')}",
            # The id as Enerflo writes it, not in the form in which ids are compared.
            link="to_jsonb(m.j1)" if join.options is None else f"to_jsonb({join.plain('r')})",
            readable=f"not {join.is_unreadable('t')}",
            mirror=comparison.mirror,
            p1=quoted(p1),
            key=difference_key(comparison),
            key_columns=", ".join(f"o.k{n}" for n, _ in enumerate(keys, 1)),
            crm=comparison.crm_rows,
            on_key=" and ".join(f"t.{quoted(column)} = c.k{n}" for n, column in enumerate(keys, 1)),
            alone="and o.records = 1 and o.rows = 1" if comparison.mapping.adopt else "",
            same=" and ".join(_same(comparison, config, case_folding(connection))),
        ),
        values,
    )
    connection.exec_driver_sql(
        _LINK.substitute(
            name=comparison.name,
            table=literal(comparison.name),
            p1=literal(p1),
            p1_name=quoted(p1),
            column=literal(comparison.joins[0].crm_name),
            adopted=adopted,
            mirror=comparison.mirror,
            crm=comparison.crm_rows,
            of_key=of_key(comparison, "d.key"),
            # An empty text also means that the row has no id yet; the write must then expect '' and not null.
            before="null" if join.options is None else f"to_jsonb(t.{quoted(join.crm_name)})",
            digest=row_digest(comparison),
        ),
        values,
    )
    if comparison.hands_over:
        supersede_given_away(connection, comparison, values["account"], adopted)
    if comparison.kind == RecordKind.NOTES and not comparison.mapping.adopt:
        agree_adopted(connection, comparison, adopted, values)
    return True


def _same(comparison: Comparison, config: SyncConfig, fold: str) -> list[str]:
    declared = comparison.mapping.adopt
    if declared:
        return [_same_key(comparison, crm, pair, fold) for crm, pair in declared.items()]
    owner = ["m.owner = c.owner"] if comparison.mirror_has_install else []
    return [*owner, *(_same_field(comparison, config, field) for field in comparison.fields)]


def _same_key(comparison: Comparison, crm: str, pair: str | KeyColumn, fold: str) -> str:
    if isinstance(pair, str):
        return f"{crm_raw(f't.{quoted(crm)}', comparison.live.columns[crm])}::text = r.{quoted(pair)}::text"
    column = mirror_type(comparison.kind, comparison.mapping, pair.enerflo)
    join = join_column(crm, pair.enerflo, column, comparison.live.columns[crm], pair, fold)
    return f"{join.crm} = {join.of_mirror('r')}"


def _same_field(comparison: Comparison, config: SyncConfig, field: Field) -> str:
    if comparison.kind != RecordKind.NOTES or field.mapping.enerflo != "body":
        return field.equal
    live = comparison.live.columns
    written = template_sql(
        config.writes.note.text,
        lambda column: (
            f"{crm_raw(f't.{quoted(column)}', live[column])}::text" if column in live else "null::text"
        ),
    )
    return f"({field.equal} or btrim(r.body, {BLANK}) = btrim({written}, {BLANK}))"
