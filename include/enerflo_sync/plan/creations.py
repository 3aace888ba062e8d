"""Decisions about rows that only one side has: which are created, which deleted, and which are questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import Template
from typing import Any, NamedTuple

import sqlalchemy as sa

from enerflo_sync.agreed.soft_deletes import mark_of, marks, shown_row
from enerflo_sync.agreed.undone import CREATION_UNDONE, DELETION_UNDONE, creation_undone, deletion_undone
from enerflo_sync.agreed.whole_rows import row_digest
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import Direction, RecordKind, Side
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.problems import listed
from enerflo_sync.crm.sent_along import sent_columns
from enerflo_sync.crm.templates import template_sql
from enerflo_sync.plan.adopt import adopted_table
from enerflo_sync.plan.hidden_rows import where_unseen
from enerflo_sync.plan.near_adopted import keep_near_adopted
from enerflo_sync.plan.new_key import mirror_text, new_key, taken
from enerflo_sync.plan.other_accounts import of_another_account
from enerflo_sync.plan.row_kinds import RowKinds
from enerflo_sync.reconcile.causes import cause_of_row
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judge import crm_value_for_enerflo, enerflo_value_for_crm
from enerflo_sync.reconcile.judged_rows import judged_rows, names_nothing_now
from enerflo_sync.reconcile.near_keys import keep_near_keys
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.store import read_whole
from enerflo_sync.reconcile.values import crm_raw
from enerflo_sync.reconcile.waiting import UNWRITTEN

# Enerflo's API creates these (REFERENCE.md §6.3, §6.4).
CREATABLE = (RecordKind.LEADS, RecordKind.NOTES)

FORGOTTEN = "its customer was forgotten: what the CRM says of them is not sent, and not kept"
LINK_LOST = (
    "Enerflo has a record of this row, which names none: let it name that record, or give it another key if"
    " it is a new one"
)
# The question about a record whose row the CRM still has, and that names no record.
ROW_LOST_LINK = "its row in the CRM is still there, but does not name it ({}): let the row name its record"
NO_VALUE = "no mapped field of its record has a value that a new row could get"
OUTSIDE = "its row in the CRM stands outside the table''s where"
# The question about a row whose record Enerflo deleted, if we cannot mark the row.
NO_MARK = (
    "Enerflo deleted its record, and no column of deleted_when is ours to write: mark its row in the CRM as"
    " deleted by hand"
)

_NOT_CREATED = "the CRM's rows are not created here (create_in)"
_NO_RECORD = "the mirror of Enerflo has no record of this id"
# One word for all such rows: a question for each would be the whole table.
_NOT_KNOWN = "not known yet: Enerflo's {} were not all read, so run a poll first"
_NEVER_READ = "Enerflo may have it already: its list of {} was never read whole, so run a poll first"

_COLUMNS = """outcome, table_name, key, enerflo_key, op, field, after, source_value, policy, cause, rule,
  reason, changed_at, observed_at"""

# A question about a row that one side lacks shows the key of the side that has it: Enerflo's key in `before`,
# the CRM's in `source_value`. `offset 0` makes PostgreSQL compute the reason once for each row instead of
# once for each field.
_INTO_CRM = Template("""
/* enerflo-sync plan $name: rows that the CRM lacks */
insert into pg_temp.decided ($columns, before)
select case when f.is_empty then 'keep' when o.reason is null then 'to_crm' else o.otherwise end, $table,
       case when o.reason is null then o.new_key else o.key end,
       o.enerflo_key, 'insert', f.field, f.value, f.own, f.policy,
       case when not o.taken or o.quarantined or o.marked_deleted or o.stands_outside then o.cause
         else 'duplicate_identity' end, 'create', case when f.is_empty then $empty else o.reason end,
       o.said_at, o.observed_at,
       case when o.reason is not null then o.enerflo_key end
from (
  select o.*, case
      when o.quarantined then 'its record stands in quarantine'
      when o.undone then '$creation_undone'
      when o.was_agreed and $names_nothing then $lost_row
      when o.marked_deleted then 'its row in the CRM is marked as deleted (deleted_when)'
      when o.was_agreed then $gone
      when o.stands_outside then '$outside'
      when o.voided then 'a voided install is not created'
      when $near then $other_spelling
      when not $may_create then $not_created$may_be_hidden
      when o.new_key is null then 'no key can be made for it (on_insert)'
      when o.taken then 'another row has, or would get, the key that on_insert makes for it' end as reason,
    case when not o.quarantined and (o.undone or o.stands_outside and not o.was_agreed) then 'keep'
      when (o.voided or not $may_create and not $near) and not o.quarantined and not o.was_agreed then 'keep'
      else 'review' end as otherwise
  from (
    select o.*, k.new_key, $cause as cause, $taken as taken, $undone as undone
    from $judged
    cross join lateral (select $new_key as new_key offset 0) k
    where o.in_enerflo and not o.in_crm $not_adopted offset 0
  ) o offset 0
) o
left join $mirror v on o.reason is null and v.account = %(account)s and $on_record
cross join lateral (
  select f.*, o.reason is null and f.field is null as is_empty from (
    select null as field, null::jsonb as value, null::jsonb as own, 'enerflo' as policy
    where o.reason is not null or $nothing
    $fields
  ) f
) f
where o.reason is not null or f.is_empty or coalesce(f.value, 'null') <> 'null'
""")

_INTO_ENERFLO = Template("""
/* enerflo-sync plan $name: rows that Enerflo lacks */
insert into pg_temp.decided ($columns)
select case when o.reason is null then 'to_enerflo' else o.otherwise end, $table, o.key, null, 'insert',
       f.field, f.value, case when o.reason is null then f.own else o.key end, f.policy, o.cause, 'create',
       o.reason, o.changed_at, %(now)s
from (
  select o.*, $cause as cause, case
      when o.quarantined then 'its record stands in quarantine'
      when not ($loose) then $no_record
      when $unreadable then $no_key
      when not $may_create then $not_created
      when not ($due) then 'it is not due yet (create_when)'
      when $lost_link then $link_lost
      $of_another
      $no_install
      when forgotten.yes then $forgotten end as reason,
    case when o.quarantined then 'review' when not ($loose) then $without_record
      when forgotten.yes or not ($unreadable or $may_create and ($due)) then 'keep'
      else 'review' end as otherwise
  from $judged join $crm t on $on_row
  cross join lateral (select $of_forgotten as yes offset 0) forgotten
  where o.in_crm and not o.in_enerflo and not o.tombstone $not_adopted offset 0
) o
join $crm t on $on_row
cross join lateral (
  select null as field, null::jsonb as value, null::jsonb as own, 'crm' as policy where o.reason is not null
  $fields
) f
where o.reason is not null or coalesce(f.value, 'null') <> 'null'
""")

_LOST_LINK = Template("""exists (
        select from sync.agreed a join $mismatched m on $same and m.in_enerflo and not m.in_crm
        where a.account = %(account)s and a.table_name = $table and a.key = o.key and a.is_link)""")

_DELETES = Template("""
/* enerflo-sync plan $name: rows whose record Enerflo deleted */
insert into pg_temp.decided ($columns, before, row_digest)
select r.outcome, $table, o.key, o.enerflo_key, 'delete', null,
       case when r.outcome = 'to_crm' then $marks end, case when r.outcome = 'review' then o.key end,
       'enerflo', 'deleted_in_enerflo', 'delete',
       case when $undone then '$deletion_undone' else $reason end, o.observed_at, o.observed_at,
       case when r.outcome <> 'review' then $row end, case when r.outcome = 'to_crm' then $digest end
from $judged join $crm t on $on_row
cross join lateral (select case when $undone then 'keep' else '$outcome' end as outcome offset 0) r
where o.tombstone and o.in_crm and not o.quarantined
""")


def decide_rows(
    connection: sa.Connection,
    comparison: Comparison,
    config: SyncConfig,
    values: dict[str, Any],
    kinds: RowKinds,
    *,
    adopted: bool,
) -> None:
    """Decide about every row that only one side has.

    :param values: ``account`` and the parameters of the conditions.
    :param kinds: the kinds of rows in ``mismatched``; statements about other kinds are not run.
    :param adopted: whether the table of adopted rows exists; adopted rows are left out.
    """
    common = {
        "name": comparison.name,
        "table": literal(comparison.name),
        "columns": _COLUMNS,
        "judged": judged_rows(comparison, on_both=False),
        "cause": cause_of_row(comparison, Cause.ON_ITS_WAY),
    }
    known = f"and not exists (select from {adopted_table(comparison)} d where {{}})" if adopted else ""
    near_adopted = keep_near_adopted(connection, comparison, values["account"], kinds)
    common["other_spelling"] = near_adopted.why
    if kinds.only_enerflo:
        declared = config.tables_for(values["account"])[comparison.name]
        not_created = UNWRITTEN if Side.CRM in declared.create_in else _NOT_CREATED
        near = f"({keep_near_keys(connection, comparison, values['account'])} or {near_adopted.record})"
        unseen = where_unseen(connection, comparison, values)
        statement = _into_crm(comparison, common | unseen, known, near, not_created)
        connection.exec_driver_sql(statement, values)
    if kinds.only_crm:
        of_another = of_another_account(connection, comparison, config, values["account"])
        common["of_another"] = f"{of_another} {near_adopted.row}"
        is_read = comparison.kind in read_whole(connection, values["account"])
        connection.exec_driver_sql(_into_enerflo(comparison, config, common, known, is_read=is_read), values)
    if kinds.deleted:
        mark = mark_of(connection, comparison) if Side.CRM in comparison.mapping.delete_in else None
        connection.exec_driver_sql(_deletes(comparison, common, mark), values)


def _into_crm(comparison: Comparison, common: dict[str, Any], known: str, near: str, not_created: str) -> str:
    columns = [*_crm_columns(comparison)]
    return _INTO_CRM.substitute(
        common,
        new_key=new_key(comparison),
        taken=taken(comparison),
        not_adopted=known.format("d.p1 = o.p1"),
        undone=creation_undone(comparison),
        creation_undone=CREATION_UNDONE,
        outside=OUTSIDE,
        names_nothing=names_nothing_now(comparison),
        lost_row=literal(ROW_LOST_LINK.format(listed([one.crm_name for one in comparison.links]))),
        may_create=_yes(Side.CRM in comparison.mapping.create_in),
        not_created=literal(not_created),
        near=near,
        mirror=comparison.mirror,
        on_record=" and ".join(
            f"v.{quoted(name)} = o.p{n}" for n, name in enumerate(comparison.mirror_key, 1)
        ),
        empty=literal(NO_VALUE),
        nothing=_nothing(columns),
        fields="\n    ".join(
            f"union all select {literal(one.name)}, {one.value}, {one.own}, {literal(one.policy)}"
            " where o.reason is null"
            for one in columns
        ),
    )


def _into_enerflo(
    comparison: Comparison, config: SyncConfig, common: dict[str, Any], known: str, *, is_read: bool
) -> str:
    noun = comparison.kind.replace("_", " ")
    may_create = Side.ENERFLO in comparison.mapping.create_in and comparison.kind in CREATABLE
    if comparison.kind not in CREATABLE:
        not_created = f"no call of Enerflo's API creates {noun}: the row waits for its record's id"
    elif not may_create:
        not_created = "Enerflo's records are not created here (create_in)"
    else:
        not_created = _NEVER_READ.format(noun)
    return _INTO_ENERFLO.substitute(
        common,
        not_adopted=known.format("d.key = o.key"),
        may_create=_yes(may_create and is_read),
        not_created=literal(not_created),
        no_record=literal(_NO_RECORD if is_read else _NOT_KNOWN.format(noun)),
        without_record=literal("review" if is_read else "keep"),
        unreadable=" or ".join(join.is_unreadable("t") for join in comparison.joins),
        no_key=literal(
            f"{' or '.join(join.crm_name for join in comparison.joins)} holds no key as it is declared"
        ),
        loose=" or ".join(f"o.j{n} is null" for n, _ in enumerate(comparison.joins, 1)),
        due=due(comparison),
        lost_link=_lost_link(comparison),
        link_lost=literal(LINK_LOST),
        no_install=_no_install(comparison),
        of_forgotten=_of_forgotten(comparison),
        forgotten=literal(FORGOTTEN),
        crm=comparison.crm_rows,
        on_row=_on_row(comparison),
        fields="\n  ".join(_enerflo_fields(comparison, config)),
    )


def _deletes(comparison: Comparison, common: dict[str, Any], mark: str | None) -> str:
    outcome, reason = _deletion(comparison, mark)
    return _DELETES.substitute(
        common,
        outcome=outcome,
        undone=deletion_undone(comparison),
        deletion_undone=DELETION_UNDONE,
        reason=reason,
        marks=marks(comparison, mark),
        row=shown_row(comparison, mark),
        digest=row_digest(comparison),
        crm=comparison.crm_rows,
        on_row=_on_row(comparison),
    )


def _on_row(comparison: Comparison) -> str:
    return " and ".join(
        f"t.{quoted(column)} = o.k{n}" for n, column in enumerate(comparison.mapping.key_columns, 1)
    )


def _deletion(comparison: Comparison, mark: str | None) -> tuple[str, str]:
    """Return the outcome for a row whose record Enerflo deleted, and its reason as SQL.

    :param mark: the column that is set instead of a deletion, if the CRM marks its deleted rows.
    """
    if Side.CRM not in comparison.mapping.delete_in:
        return "keep", "'the CRM''s rows are not deleted here (delete_in)'"
    if comparison.mapping.deleted_when and mark is None and not comparison.hands_over:
        return "review", literal(NO_MARK)
    return "to_crm", "null"


def _yes(value: bool) -> str:
    return str(value).lower()


class _Column(NamedTuple):
    """A column of a new CRM row: its value as the CRM writes it, Enerflo's own, and whose value stands."""

    name: str
    value: str
    own: str
    policy: str


def _nothing(columns: Sequence[_Column]) -> str:
    """Return the condition that a new CRM row would get no value beside its key."""
    return " and ".join(f"coalesce({one.value}, 'null') = 'null'" for one in columns) or "true"


def _crm_columns(comparison: Comparison) -> Iterator[_Column]:
    """Yield each column that a new CRM row gets beside its key."""
    taken = set(comparison.mapping.key_columns)
    for n, join in enumerate(comparison.joins, 1):
        if join.crm_name not in taken:
            taken.add(join.crm_name)
            # The id as Enerflo writes it, not in the form in which ids are compared.
            value = f"to_jsonb(o.j{n})" if join.options is None else f"to_jsonb({join.plain('v')})"
            yield _Column(join.crm_name, value, value, "enerflo")
    for field in comparison.fields:
        if field.name in taken or field.mapping.direction not in {Direction.BOTH, Direction.TO_CRM}:
            continue
        taken.add(field.name)
        value = enerflo_value_for_crm(field)
        yield _Column(field.name, value, field.enerflo.shown, field.mapping.source_of_truth)
    for column, text in comparison.mapping.on_insert.items():
        if column not in taken:
            made = f"to_jsonb({template_sql(text, mirror_text)})"
            yield _Column(column, made, "null::jsonb", "on_insert")


def _enerflo_fields(comparison: Comparison, config: SyncConfig) -> Iterator[str]:
    """Yield one select for each CRM column whose value a new record of Enerflo gets."""
    links = {join.crm_name for join in comparison.joins}
    taken = set(links)
    for field in comparison.fields:
        if field.name not in taken and field.mapping.direction in {Direction.BOTH, Direction.TO_ENERFLO}:
            taken.add(field.name)
            value, policy = crm_value_for_enerflo(comparison, field), literal(field.mapping.source_of_truth)
            yield (
                f"union all select {literal(field.name)}, {value}, {field.crm.shown}, {policy}"
                " where o.reason is null"
            )
    for column in sent_columns(comparison.kind, config):
        if column not in taken and column in comparison.live.columns:
            taken.add(column)
            value = f"to_jsonb({crm_raw(f't.{quoted(column)}', comparison.live.columns[column])})"
            yield f"union all select {literal(column)}, {value}, {value}, 'sent_along' where o.reason is null"


def due(comparison: Comparison) -> str:
    """Return the condition that ``create_when`` allows a CRM row ``t`` to be created at Enerflo."""
    conditions = []
    for column, words in comparison.mapping.create_when.items():
        listed = ", ".join(literal(word.strip().lower()) for word in words)
        conditions.append(f"coalesce(lower(btrim(t.{quoted(column)}::text)) in ({listed}), false)")
    return " and ".join(conditions) or "true"


def _no_install(comparison: Comparison) -> str:
    if not comparison.mirror_has_install:
        return ""
    return (
        "when not exists (select from enerflo.installs i where i.account = %(account)s"
        " and i.install_id = o.owner and i.deleted_at is null) then 'Enerflo has no such install'"
    )


def _lost_link(comparison: Comparison) -> str:
    """Return the condition that a CRM row had a record when both sides agreed, which has no row now."""
    return _LOST_LINK.substitute(
        table=literal(comparison.name),
        mismatched=comparison.mismatched,
        same=" and ".join(
            f"m.p{n} = (a.enerflo_key ->> {literal(name)})::bigint"
            for n, name in enumerate(comparison.mirror_key, 1)
        ),
    )


def _of_forgotten(comparison: Comparison) -> str:
    """Return the condition that a CRM row is about an install of a customer who was forgotten.

    An install that has another owner now counts as well, because a note does not tell which of the two owners
    it is about.
    """
    if not comparison.mirror_has_install:
        return "false"
    return (
        "exists (select from sync.forgotten f where f.account = %(account)s"
        " and (o.owner = any(f.install_ids) or exists (select from enerflo.installs i"
        " where i.account = f.account and i.customer_id = f.customer_id and i.install_id = o.owner)))"
    )
