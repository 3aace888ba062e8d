"""Two CRM tables or columns with different values for one field of Enerflo: a person decides.

Otherwise each would overwrite the other's value, in the same plan or in the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import of_key
from enerflo_sync.crm.mapping import Direction, FieldMapping, Mode, SourceOfTruth, WideColumn
from enerflo_sync.crm.names import literal
from enerflo_sync.crm.wide import is_milestone, same_milestone
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judge import crm_value_for_enerflo, enerflo_value_for_crm
from enerflo_sync.reconcile.meanings import means_the_same
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.values import Field

# If Enerflo already has the other table's value, the two contradict each other only if the CRM always wins
# there: only then would that value be sent again.
_ASK = Template("""
/* enerflo-sync plan $name: values that differ from those of $other */
update pg_temp.decided d set outcome = 'review', after = null, reason = $reason
from ($crm_side) o
where d.table_name = $table and d.field = $field and d.op = 'update' and d.outcome = 'to_enerflo'
  and $same_record and $value is distinct from d.after
  and ($wins or exists (
    select from pg_temp.decided x
    where x.table_name = $other_table and x.field = $other_field and x.op = 'update'
      and x.enerflo_key = d.enerflo_key and x.outcome in ('to_enerflo', 'review')))
""")
# Otherwise each table would write its own value into the column in every plan.
_ASK_IN_CRM = Template("""
/* enerflo-sync plan $name: values for a column that $other fills with something else */
update pg_temp.decided d set outcome = 'review', before = d.source_value, source_value = d.before,
  after = null, reason = $reason
where d.table_name = $table and d.field = $field and d.op = 'update' and d.outcome = 'to_crm'
  and exists (select from $rows t where $on and $known)
""")
# A row may name one record by one table and another record by the other table. Then each of the two tables
# would overwrite the column in turn.
_ASK_OF_OTHER_RECORD = Template("""
/* enerflo-sync plan $name: values for a column that $other fills from another record */
update pg_temp.decided d set outcome = 'review', before = d.source_value, source_value = d.before,
  after = null, reason = $reason
from ($mirror_side) m join $rows t on $matched
where d.table_name = $table and d.field = $field and d.op = 'update' and d.outcome = 'to_crm'
  and $on and m.lives and not ($same_record) and $value is distinct from d.after
""")
# A row of a wide table is an install; the column tells which of its milestones is meant.
_ITS_MILESTONE = Template("""exists (
      select from enerflo.milestones m where m.account = %(account)s and m.deleted_at is null
        and m.install_id = (d.enerflo_key ->> 'install_id')::bigint
        and m.milestone_id = (d.enerflo_key ->> 'milestone_id')::bigint and $named)""")
_TO_ENERFLO = {Direction.BOTH, Direction.TO_ENERFLO}
_TO_CRM = {Direction.BOTH, Direction.TO_CRM}


def ask_where_tables_contradict(
    connection: sa.Connection, comparisons: Sequence[Comparison], values: Mapping[str, Any]
) -> None:
    """Make questions in ``decided`` of changes to fields of Enerflo for which two tables have two values.

    The same holds for two columns of one table that are mapped to one field. No row is read if no field of
    Enerflo is mapped twice.
    """
    for comparison, field, other, theirs in _pairs(comparisons):
        same = [
            f"o.p{n} = (d.enerflo_key ->> {literal(name)})::bigint"
            for n, name in enumerate(other.mirror_key, 1)
        ]
        if isinstance(theirs.mapping, WideColumn):
            same.append(_ITS_MILESTONE.substitute(named=is_milestone(theirs.mapping.milestone, "m")))
        statement = _ASK.substitute(
            name=comparison.name,
            other=other.name,
            reason=literal(_said_by(comparison, other, theirs)),
            crm_side=crm_side(other),
            table=literal(comparison.name),
            field=literal(field.name),
            same_record=" and ".join(same),
            value=crm_value_for_enerflo(other, theirs),
            wins=str(theirs.mapping.source_of_truth is SourceOfTruth.CRM).lower(),
            other_table=literal(other.name),
            other_field=literal(theirs.name),
        )
        connection.exec_driver_sql(statement, dict(values))


def ask_where_tables_share_a_column(
    connection: sa.Connection, comparisons: Sequence[Comparison], values: Mapping[str, Any]
) -> None:
    """Make questions in ``decided`` of changes to a CRM column that two mapped tables map differently."""
    written = _going(comparisons, "to_crm", _TO_CRM)
    for comparison, field in written:
        for other, theirs in written:
            if (other.crm, theirs.name) != (comparison.crm, field.name) or other is comparison:
                continue
            if means_the_same(comparison, field.name, other, field.name):
                statement = _of_other_record(comparison, other, theirs)
            else:
                statement = _ASK_IN_CRM.substitute(
                    name=comparison.name,
                    other=other.name,
                    reason=literal(f"the table {other.name} maps its column to something else"),
                    table=literal(comparison.name),
                    field=literal(field.name),
                    rows=other.crm_rows,
                    on=of_key(comparison, "d.key"),
                    known=other.crm_key_known,
                )
            connection.exec_driver_sql(statement, dict(values))


def _of_other_record(comparison: Comparison, other: Comparison, theirs: Field) -> str:
    return _ASK_OF_OTHER_RECORD.substitute(
        name=comparison.name,
        other=other.name,
        reason=literal(f"in the table {other.name} its row names another record, which says something else"),
        table=literal(comparison.name),
        field=literal(theirs.name),
        mirror_side=mirror_side(other),
        rows=other.crm_rows,
        matched=" and ".join(f"m.j{n} = ({join.crm})::{join.type}" for n, join in enumerate(other.joins, 1)),
        on=of_key(comparison, "d.key"),
        same_record=" and ".join(
            f"m.p{n} = (d.enerflo_key ->> {literal(name)})::bigint"
            for n, name in enumerate(other.mirror_key, 1)
        ),
        value=enerflo_value_for_crm(theirs),
    )


def _said_by(comparison: Comparison, other: Comparison, theirs: Field) -> str:
    if other is comparison:
        return f"the column {theirs.name} says something else of the same field"
    return f"the table {other.name} says something else of the same record"


def _going(
    comparisons: Sequence[Comparison], to: str, directions: Collection[Direction]
) -> list[tuple[Comparison, Field]]:
    """Return the fields that a plan may write to one side, each with its comparison."""
    return [
        (comparison, field)
        for comparison in comparisons
        if comparison.mode is Mode.REPORT or to in comparison.mode.writes
        for field in comparison.fields
        if field.mapping.direction in directions and not comparison.mapping.create_only
    ]


def _pairs(comparisons: Sequence[Comparison]) -> Iterator[tuple[Comparison, Field, Comparison, Field]]:
    """Yield each field that may be sent to Enerflo, with another one that may be sent to the same place."""
    sent = _going(comparisons, "to_enerflo", _TO_ENERFLO)
    for comparison, field in sent:
        for other, theirs in sent:
            if (
                other.kind == comparison.kind
                and theirs.mapping.enerflo == field.mapping.enerflo
                and (other is not comparison or theirs is not field)
                and _may_be_one(field.mapping, theirs.mapping)
            ):
                yield comparison, field, other, theirs


def _may_be_one(field: FieldMapping, theirs: FieldMapping) -> bool:
    """Return whether two fields may be about one milestone; two wide columns may name different ones."""
    if isinstance(field, WideColumn) and isinstance(theirs, WideColumn):
        return same_milestone(field, theirs) is not False
    return True
