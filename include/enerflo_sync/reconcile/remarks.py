"""Sentences about the comparison itself that a reader of the report has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.crm.live.arrivals import LastArrival, longest_silence
from enerflo_sync.crm.live.milestone_titles import retitled
from enerflo_sync.crm.mapping import MIRROR_TABLES, RecordKind, WideColumn
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.masking import PersonalData, mask, shape
from enerflo_sync.mirror.details import milestone_looks
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.counts import Sizes
from enerflo_sync.reconcile.render.wording import size_text
from enerflo_sync.reconcile.report import Cause, LateCopy
from enerflo_sync.reconcile.twin_marks import marked_rows
from enerflo_sync.reconcile.values import Field, normal_text, translated

_QUARANTINED = sa.text("""
/* enerflo-sync reconcile: records whose present version could not be read */
select count(distinct coalesce(key::text, item_id)) from sync.quarantine
where account = :account and table_name = :table and kind = 'record' and state = 'open'
""")
STRANGERS_SHOWN = 10
# Enerflo's list is called old if it was read this long before the newest list.
LATER = timedelta(hours=1)
# If no row of a copy arrived for this long, the copy may have stopped.
QUIET = timedelta(days=1)


def age_remarks(comparison: Comparison, polled: Mapping[str, datetime]) -> list[str]:
    """Return a sentence if Enerflo's list of these records was read long before the other lists."""
    mine = polled.get(comparison.kind)
    if mine is None or max(polled.values()) - mine < LATER:
        return []
    when = f"{mine.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return [f"Enerflo's {comparison.kind} were last read whole at {when}, and other lists later."]


def unread_remarks(connection: sa.Connection, comparison: Comparison, account: str) -> list[str]:
    """Return a sentence on how many installs have unread milestones, which the list of installs lacks."""
    if comparison.kind != RecordKind.MILESTONES:
        return []
    looks = milestone_looks(connection, account)
    if not looks.waiting:
        return []
    never = f" ({looks.never:,} of them never were)" if looks.never else ""
    return [
        f"Milestones of {looks.waiting:,} install(s) wait to be read{never}: Enerflo's list does not tell"
        " them, and each poll reads some."
    ]


def quarantined_records(connection: sa.Connection, comparison: Comparison, account: str) -> int:
    """Return the number of records in quarantine: their present values at Enerflo could not be read."""
    named = {"account": account, "table": MIRROR_TABLES[comparison.kind]}
    return int(connection.execute(_QUARANTINED, named).scalar_one())


def quarantine_remarks(number: int) -> list[str]:
    """Return a sentence on records that stand in quarantine."""
    if not number:
        return []
    records = "record" if number == 1 else "records"
    return [
        f"Enerflo's present values of {number:,} {records} could not be read, and were not compared:"
        " `enerflo-sync quarantine list` says why."
    ]


def size_remarks(comparison: Comparison, sizes: Sizes, polled: datetime | None) -> list[str]:
    """Return sentences on what weakens the comparison: no poll yet, or an empty side."""
    remarks = []
    if polled is None:
        remarks.append(
            f"Enerflo's {comparison.kind} were never polled completely,"
            " so nothing here can be called equal yet."
        )
    if sizes.enerflo == 0:
        remarks.append(f"The mirror holds no {comparison.kind}.")
    if sizes.crm == 0:
        remarks.append(f"{full_name(comparison.mapping)} is empty.")
    return remarks


def duplicate_remarks(mismatched: Mapping[str, int]) -> list[str]:
    """Return how many CRM rows were not compared because several have the same key."""
    if not mismatched["twice_keys"]:
        return []
    noun = "key" if mismatched["twice_keys"] == 1 else "keys"
    return [
        f"{mismatched['twice_rows']:,} CRM rows share {mismatched['twice_keys']:,} {noun};"
        " they are not compared field by field."
    ]


_UNREADABLE = Template("""
/* enerflo-sync reconcile $name: two values that are no key */
select $value as value from $crm t where $unreadable limit 2
""")

_COPY = sa.text("""
/* enerflo-sync reconcile: as of when the copy of a CRM table is */
select read_at, rows, rows_read, bytes_read, statements from sync.crm_copies
where account = :account and table_name = :table
""")


def _cost(copy: Any) -> str:
    """Return what the last refresh of a copy cost; nothing if an older version made it."""
    if copy.statements is None:
        return ""
    read = f"about {size_text(copy.bytes_read)}, " if copy.bytes_read else ""
    return f": {read}{count_of(copy.statements, 'statement')} there"


_OUTSIDE = sa.text("""
/* enerflo-sync reconcile: records whose row stands outside where */
select count(*) from sync.differences
where account = :account and reconciliation_id = :reconciliation_id and table_name = :table
  and field is null and cause = 'policy'
""")


def late_copy(comparison: Comparison, last: LastArrival | None) -> LateCopy | None:
    """Return since when no row of a copy arrived, if that is longer than the mapping says.

    :param last: the newest row's arrival; None if no row says when it arrived.
    """
    hours = comparison.mapping.arrives_within_hours
    if hours is None or (last is not None and last.ago < timedelta(hours=hours)):
        return None
    return LateCopy(None if last is None else last.at, hours)


def chosen_remarks(
    connection: sa.Connection,
    comparison: Comparison,
    sizes: Sizes,
    last: LastArrival | None,
    parameters: dict[str, Any],
) -> list[str]:
    """Return which CRM rows the mapping's options or policies left out, and the age of a copy.

    :param last: when the newest row of a copied table arrived.
    """
    table, found = full_name(comparison.mapping), []
    if comparison.mapping.is_kept:
        copy = connection.execute(_COPY, {**parameters, "table": comparison.name}).one()
        found.append(
            f"{table} is in another database: compared is what it said at"
            f" {copy.read_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({count_of(copy.rows, 'row')}, of which"
            f" {count_of(copy.rows_read, 'was', 'were')} read again{_cost(copy)})."
        )
    if last is not None and last.ago >= longest_silence(comparison.mapping, QUIET):
        found.append(
            f"No row of {table} arrived since {last.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({last.column}):"
            " the table may be a copy that stopped, and what the CRM says by now was not compared then."
        )
    if comparison.live.hides_rows:
        found.append(
            f"Row-level security of {table} may hide rows from this role: a record whose row is hidden"
            " counts as missing or deleted."
        )
    if sizes.unlinked and not comparison.compares_loose:
        found.append(
            f"{count_of(sizes.unlinked, 'row')} of {table} {'has' if sizes.unlinked == 1 else 'have'} no key"
            f" (unlinked: ignore): {'it does' if sizes.unlinked == 1 else 'they do'} not count."
        )
    if sizes.unreadable:
        found.append(_unreadable_sentence(connection, comparison, sizes.unreadable))
    if comparison.mapping.condition is not None:
        outside = connection.scalar(_OUTSIDE, {**parameters, "table": comparison.name})
        if outside:
            found.append(
                f"{outside:,} of Enerflo's {comparison.name} have their row of {table} outside where:"
                " it is not compared, and no other row is made."
            )
    return found


def _unreadable_sentence(connection: sa.Connection, comparison: Comparison, rows: int) -> str:
    typed = [join for join in comparison.joins if join.options is not None]
    join = next(iter(typed))
    samples = connection.exec_driver_sql(
        _UNREADABLE.substitute(
            name=comparison.name,
            value=f"t.{quoted(join.crm_name)}::text",
            crm=comparison.crm_rows,
            unreadable=join.is_unreadable("t"),
        ),
        {},
    ).scalars()
    shapes = ", ".join(shape(one) for one in samples)
    names = " or ".join(one.crm_name for one in typed)
    kinds = " or ".join(dict.fromkeys(str(one.options.type) for one in typed if one.options))
    return (
        f"{count_of(rows, 'row')} of {full_name(comparison.mapping)} {'has' if rows == 1 else 'have'}"
        f" no key of type {kinds} in {names}"
        f"{f', but values of the form {shapes}' if shapes else ''}:"
        f" {'it counts as a row' if rows == 1 else 'they count as rows'} without a key."
    )


_STRANGERS = Template("""
/* enerflo-sync reconcile $name: differing CRM values that no Enerflo value stands for */
select v.value, v.rows from (
  select crm_value #>> '{}' as value, count(*) as rows from sync.differences
  where account = %(account)s and reconciliation_id = %(reconciliation_id)s and table_name = $table
    and field = $field
  group by 1
) v
where v.value is not null and $normal not in (select $allowed_normal from ($allowed) a(value))
order by 2 desc, 1
""")

_STATUS_NAMES = (
    "select {} from enerflo.install_statuses s where s.account = %(account)s and s.name is not null"
)


def stranger_remarks(
    connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any], fold: str
) -> list[str]:
    """Return a sentence per enumerated field whose CRM column holds values that Enerflo does not have."""
    remarks: list[str] = []
    for field in comparison.fields:
        is_status = comparison.kind == RecordKind.INSTALLS and field.mapping.enerflo == "status_name"
        if not (is_status or field.mapping.values):
            continue
        if (
            is_status
            and not connection.exec_driver_sql(_STATUS_NAMES.format("1") + " limit 1", parameters).first()
        ):
            continue
        rows = connection.exec_driver_sql(
            _strangers_query(comparison, field, is_status, fold), parameters
        ).all()
        if rows:
            remarks.append(_stranger_sentence(field, [(row.value, row.rows) for row in rows], is_status))
    return remarks


def _strangers_query(comparison: Comparison, field: Field, is_status: bool, fold: str) -> str:
    mapped = [f"select {literal(theirs)}" for theirs in dict.fromkeys(field.mapping.values.values())]
    names = _STATUS_NAMES.format(translated("s.name", field.mapping, fold))
    return _STRANGERS.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        field=literal(field.name),
        normal=normal_text("v.value", field.mapping, fold),
        allowed_normal=normal_text("a.value", field.mapping, fold),
        allowed=" union all ".join([*mapped, *([names] if is_status else [])]),
    )


def _stranger_sentence(field: Field, found: Sequence[tuple[str, int]], is_status: bool) -> str:
    kind = field.mapping.personal_kind
    shown = [
        f"{mask(value, kind) if kind is not PersonalData.NONE else value} ({rows:,})"
        for value, rows in found[:STRANGERS_SHOWN]
    ]
    more = f" and {len(found) - STRANGERS_SHOWN} more" if len(found) > STRANGERS_SHOWN else ""
    known = "that is no status of the company" if is_status else "that the mapping's values do not list"
    return f"{field.name}: the CRM holds a value {known}: {', '.join(shown)}{more}."


_UNCLEAR = Template("""
/* enerflo-sync reconcile $name: columns whose milestone is missing, or there more than once */
select d.field, d.cause, t.field is not null as was_twin, count(*) as rows
from sync.differences d
left join ($marked) t on d.cause = 'duplicate_identity' and t.key = d.key and t.field = d.field
where d.account = %(account)s and d.reconciliation_id = %(reconciliation_id)s and d.table_name = $table
  and d.field is not null and d.cause in ('duplicate_identity', 'missing_in_enerflo')
group by 1, 2, 3 order by 1, 2, 3
""")


def milestone_remarks(
    connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]
) -> list[str]:
    """Return a sentence per column of a wide table whose milestone some installs lack, or have twice.

    So it is with a milestone that has another title by now, in some installs or in all.

    A field of a row that was one of several of its record has the same cause, whatever its milestones are.
    """
    if not comparison.is_wide:
        return []
    statement = _UNCLEAR.substitute(
        name=comparison.name, table=literal(comparison.name), marked=marked_rows(comparison)
    )
    rows = connection.exec_driver_sql(statement, parameters)
    changed = retitled(connection, comparison.mapping, parameters["account"])
    return [
        *(f"{row.field}: {_unclear(comparison, row)}" for row in rows),
        *(f"{one.column}: {one.found}. {one.next_step}" for one in changed),
    ]


def _unclear(comparison: Comparison, row: Any) -> str:
    if row.was_twin:
        return (
            f"{row.rows:,} row(s) were one of several of their record, and were not equal to Enerflo since;"
            " nothing is written there until both sides agree."
        )
    called = _called(comparison, row.field)
    if row.cause == Cause.DUPLICATE_IDENTITY:
        return (
            f"{row.rows:,} install(s) have more than one {called}; nothing is written there until one is"
            " renamed at Enerflo, or the column names an id."
        )
    return (
        f"missing milestone: {row.rows:,} install(s) have no {called} at Enerflo, and a value in the CRM;"
        " nothing is written there."
    )


def _called(comparison: Comparison, field: str) -> str:
    mapping = comparison.mapping.fields[field]
    return mapping.called if isinstance(mapping, WideColumn) else "milestone"
