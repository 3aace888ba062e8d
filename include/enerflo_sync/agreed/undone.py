"""Rows that an undo deleted or restored: agreed pairs note it, so that no plan reverses the undo."""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import once_agreed
from enerflo_sync.reconcile.mismatched import mirror_side
from enerflo_sync.reconcile.on_its_way import names_array

CREATION_UNDONE = "its creation was undone, and Enerflo has not changed it since"
DELETION_UNDONE = "its deletion was undone"

# The pairs hold Enerflo's values of a record whose CRM row an undo deleted, or restored although Enerflo had
# deleted the record.
_APART = Template("""
/* enerflo-sync agree $name: rows that an undo leaves on one side only */
insert into sync.agreed
  (account, table_name, key, field, value, agreed_at, agreed_by, is_link, enerflo_key)
select distinct on (o.key, f.field) %(account)s, $table, o.key, f.field, f.mine, %(now)s, %(by)s, f.is_link,
       $record_key
from (
  select p.key, m.* from sync.plan_changes p join ($mirror) m on $on
  where p.account = %(account)s and p.plan_hash = %(plan_hash)s
    and p.position = any(%(positions)s::bigint[]) and p.table_name = $table
    and (p.op = 'delete' or p.op = 'insert' and not m.lives)
) o cross join lateral ($fields) f
on conflict (account, table_name, key, field) do update
set value = excluded.value, crm_value = null, agreed_at = excluded.agreed_at, agreed_by = excluded.agreed_by,
    is_link = excluded.is_link, enerflo_key = excluded.enerflo_key
""")

# A pair of a field that is mapped otherwise by now has no value. There it counts whether the mirror took in
# another version of the record since. Enerflo's own time would not tell: it has whole seconds, of another
# clock, and a change from before the undo may come with a later poll.
_CREATION_UNDONE = Template("""(o.was_agreed and exists (
        select from sync.agreed a where $which and a.agreed_by in ($undone) and not exists (
          select from sync.agreed b join lateral ($fields) f on f.field = b.field
          where b.account = a.account and b.table_name = a.table_name and b.key = a.key$of_record
            and case when b.agreed_by like 'former%%' and b.agreed_by not like 'former_row%%'
              then o.observed_at > b.agreed_at else not f.same or $by_others end)$no_row_since))""")
# A record whose row had another key since the undo had a row, whatever the two sides say of its fields.
_NO_ROW_SINCE = Template("""
        and not exists (
          select from sync.agreed c
          where c.account = a.account and c.table_name = a.table_name and c.link = a.link
            and c.enerflo_key = a.enerflo_key and c.key <> a.key and c.agreed_at > a.agreed_at
            and c.agreed_by not in ($undone))""")
# If an undo deleted the row, all pairs of the row are marked as undone. If only some are, the undo restored
# single values, and somebody deleted the row later.
_BY_OTHERS = "b.agreed_by not in ({}) or b.crm_value is not null"
# The words in ``agreed_by`` for undone values. With a prefix, the field's mapping or the row's key changed
# since.
_UNDONE = "'undo', 'former_undo', 'former_row_undo'"


def apart_statement(comparison: Comparison) -> str:
    """Return the statement that stores agreed pairs for rows which an undo deleted or restored.

    Its parameters are ``account``, ``plan_hash``, ``positions``, ``now`` and ``by``.
    """
    return _APART.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        mirror=mirror_side(comparison),
        on=" and ".join(
            f"m.p{n} = (p.enerflo_key ->> {literal(name)})::bigint"
            for n, name in enumerate(comparison.mirror_key, 1)
        ),
        fields=_fields(comparison),
        record_key=comparison.record_key("o"),
    )


def creation_undone(comparison: Comparison) -> str:
    """Return the condition that an undo deleted the CRM row of ``o`` and Enerflo's record is unchanged."""
    return _CREATION_UNDONE.substitute(
        which=once_agreed(comparison),
        undone=_UNDONE,
        by_others=_BY_OTHERS.format(_UNDONE),
        fields=_same_fields(comparison),
        of_record=comparison.of_record("b", "a.enerflo_key"),
        no_row_since=_NO_ROW_SINCE.substitute(undone=_UNDONE) if comparison.links else "",
    )


def deletion_undone(comparison: Comparison) -> str:
    """Return the condition that an undo restored the CRM row of ``o``, whose record Enerflo deleted.

    The row may have come since from another table of the same CRM table, or have got another key; or the
    record's row may have gone to another CRM table.
    """
    of_table = [f"q.table_name = {literal(comparison.name)}"]
    of_table += [
        f"q.table_name = {literal(name)} and q.field = any({names_array(sorted(sibling.same_fields))})"
        " and o.is_alone"
        for name, sibling in comparison.siblings.items()
    ]
    undone = [
        f"select from sync.agreed q where q.account = %(account)s and ({' or '.join(of_table)})"
        f" and q.key = o.key{comparison.of_record('q', 'o.enerflo_key')}"
    ]
    undone += [
        f"select from sync.agreed q where q.account = %(account)s and q.table_name = {literal(name)}"
        f" and {relative.of_record} and not {relative.stands('q.key', 'q.enerflo_key')}"
        for name, relative in comparison.earlier.items()
    ]
    record = " and ".join(f"e.{quoted(name)} = o.p{n}" for n, name in enumerate(comparison.mirror_key, 1))
    # An undo from before the deletion at Enerflo did not restore the row.
    since = f"select e.deleted_at from {comparison.mirror} e where e.account = %(account)s and {record}"  # noqa: S608
    return " or ".join(
        f"exists ({one} and q.agreed_by in ({_UNDONE}) and q.agreed_at > ({since}))" for one in undone
    )


def _same_fields(comparison: Comparison) -> str:
    """Return one select for each field: whether Enerflo's value equals, as declared, that of pair ``b``."""
    links = {join.crm_name for join in comparison.links}
    same = {field.name: field.same_shown(field.enerflo.shown, "b.value") for field in comparison.fields}
    for n, join in enumerate(comparison.joins, 1):
        if join.crm_name in links:
            same[join.crm_name] = f"to_jsonb(o.j{n}) is not distinct from b.value"
    return " union all ".join(
        f"select {literal(name)} as field, {condition} as same" for name, condition in same.items()
    )


def _fields(comparison: Comparison) -> str:
    """Return one select for each field with Enerflo's value, and for its id if a CRM column holds it."""
    links = {join.crm_name for join in comparison.links}
    selects = [
        f"select {literal(field.name)} as field, {field.enerflo.shown} as mine, false as is_link"
        for field in comparison.fields
        if field.name not in links
    ]
    selects += [
        f"select {literal(join.crm_name)} as field, to_jsonb(j{n}) as mine, true as is_link"
        for n, join in enumerate(comparison.joins, 1)
        if join.crm_name in links
    ]
    return " union all ".join(selects)
