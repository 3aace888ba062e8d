"""Handed-over changes that the CRM's copy does not show yet: they are not planned a second time."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.copies import copy_columns
from enerflo_sync.crm.names import literal
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.undoing import COLUMNS, UNDONE, WITHDRAW
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.on_its_way import link_names, names_array

ON_ITS_WAY = "it was handed over, and the CRM''s copy does not show it yet"
LINK_ON_ITS_WAY = "the id of its record was handed over, and the CRM''s copy does not show it yet"
TAKEN = "the id of its record was handed over for another row"
ROW_TAKEN = "a new row of its record was handed over, and a tool took it over"
_ACKNOWLEDGED = "a tool took it over, and the CRM''s copy does not show it yet: undo it when it has arrived"

# One statement for each condition, because each condition uses another index.
_KEEP = Template("""
/* enerflo-sync plan $name: what is on its way is not planned again */
update pg_temp.decided d set outcome = 'keep', reason = '$reason' from sync.crm_changes w
where d.table_name = $table and w.account = %(account)s and w.table_name = $table and w.ended_at is null
  and w.state = 'open' and $which
""")
_SAME_VALUE = "w.after is not distinct from nullif(d.after, 'null')"
_KEPT = (
    (
        ON_ITS_WAY,
        f"d.outcome = 'to_crm' and d.op = 'update' and w.op = 'update' and w.key = d.key"
        f' and w."column" = d.field and {_SAME_VALUE}',
    ),
    # The copy came to show it after the plan had looked for arrivals: it is nobody's edit.
    (
        ON_ITS_WAY,
        "d.outcome = 'to_enerflo' and d.op = 'update' and w.op in ('update', 'insert') and w.key = d.key"
        f" and w.\"column\" = d.field and d.rule is distinct from '{LAST_MILESTONE}'",
    ),
    (ON_ITS_WAY, "d.outcome = 'to_crm' and d.op = 'delete' and w.op = 'delete' and w.key = d.key"),
    (
        ON_ITS_WAY,
        f"d.outcome = 'to_crm' and d.op = 'insert' and w.op = 'insert' and w.enerflo_key = d.enerflo_key"
        f' and w."column" = d.field and {_SAME_VALUE}',
    ),
    (
        LINK_ON_ITS_WAY,
        "d.outcome in ('to_crm', 'review') and d.op = 'insert' and w.kind = 'link'"
        " and w.enerflo_key = d.enerflo_key",
    ),
)
# The id was handed over for another row, which the copy does not show yet.
_TAKEN = (
    "d.outcome in ('to_crm', 'to_enerflo', 'review') and d.op = 'update' and w.op = 'update'"
    " and w.enerflo_key = d.enerflo_key and w.key <> d.key"
)
# Of a new row that no tool took over nothing is open any more: the row that is found takes the id.
_ROW_TAKEN = (
    "d.outcome in ('to_crm', 'review') and d.op = 'update' and d.rule = 'adopted' and w.op = 'insert'"
    " and w.enerflo_key = d.enerflo_key and w.key <> d.key"
)
_KEPT_LINKS = (
    "d.outcome in ('to_enerflo', 'review') and d.op = 'insert' and w.op = 'update' and w.key = d.key"
)

_WRITTEN_COPIES = """
/* enerflo-sync plan: tables of the CRM that a plan writes */
select distinct table_name, case when direction = 'to_crm' then 'to_crm' else 'link' end as how
from pg_temp.planned where direction = 'to_crm' or op = 'insert'
"""

# The changes of the undone plan that were handed over and have not arrived. ``said`` is Enerflo's value when
# an update was planned: what Enerflo says since is a change for the next plan.
_WITHDRAW = Template(f"""
/* enerflo-sync undo $name: changes that were handed over and have not arrived */
insert into pg_temp.decided ({COLUMNS})
select case when x.taken then 'review' else 'to_crm' end, $table, x.key, x.enerflo_key, x.op, f.field,
       f.before, case when not x.taken then f.after end, case when x.taken then f.after else f.said end,
       x.policy, '{UNDONE}', '{WITHDRAW}', case when x.taken then '{_ACKNOWLEDGED}' end, x.made_at
from (
  select w.key, w.enerflo_key, 'update' as op, w."column" as field, w.after as before, w.copy_value as after,
         c.policy, w.made_at, coalesce(w.acknowledged_at, w.sent_as_of) is not null as taken,
         c.source_value as said
  from $changes and w.op = 'update'
  union all
  select w.key, w.enerflo_key, 'delete', null, jsonb_object_agg(w."column", w.after), null, min(c.policy),
         min(w.made_at), bool_or(coalesce(w.acknowledged_at, w.sent_as_of) is not null), null
  from $changes and w.op = 'insert' group by w.key, w.enerflo_key
  union all
  select w.key, w.enerflo_key, 'insert', null, null, w.before, c.policy, w.made_at,
         coalesce(w.acknowledged_at, w.sent_as_of) is not null, null
  from $changes and w.op = 'delete'
) x
cross join lateral (
  select x.field, x.before, x.after, x.said where x.op <> 'insert' or x.taken
  union all
  select s.key, null, s.value, s.value from jsonb_each(jsonb_strip_nulls(x.after)) s
  where x.op = 'insert' and not x.taken
) f
""")  # noqa: S608 - constants
_CHANGES = Template("""sync.crm_changes w join sync.plan_changes c using (account, plan_hash, position)
  where w.account = %(account)s and w.plan_hash = %(plan_hash)s and w.table_name = $table
    and w.state = 'open'""")


def keep_on_its_way(connection: sa.Connection, comparisons: Sequence[Comparison], account: str) -> None:
    """Keep changes in ``decided`` out of the plan if they were handed over and have not arrived yet."""
    for comparison in comparisons:
        if not comparison.hands_over:
            continue
        named = {"name": comparison.name, "table": literal(comparison.name)}
        kept = list(_KEPT)
        if links := link_names(comparison):
            of_link = f'w."column" = any({names_array(links)})'
            kept += [(LINK_ON_ITS_WAY, f"{_KEPT_LINKS} and {of_link}"), (TAKEN, f"{_TAKEN} and {of_link}")]
            kept.append((ROW_TAKEN, _ROW_TAKEN))
        for reason, which in kept:
            statement = _KEEP.substitute(named, reason=reason, which=which)
            connection.exec_driver_sql(statement, {"account": account})


def withdraw_handed_over(
    connection: sa.Connection, comparison: Comparison, account: str, plan_hash: str
) -> None:
    """Decide that handed-over changes of a plan are withdrawn if no tool has acknowledged them.

    A change that a tool acknowledged and that the copy does not show yet becomes a question.
    """
    table = literal(comparison.name)
    statement = _WITHDRAW.substitute(
        name=comparison.name, table=table, changes=_CHANGES.substitute(table=table)
    )
    connection.exec_driver_sql(statement, {"account": account, "plan_hash": plan_hash})


def require_no_copy_is_written(
    connection: sa.Connection, comparisons: Sequence[Comparison], where: str
) -> None:
    """Require that no change of ``planned`` writes a table that seems to be a copy without ``write_to``.

    :param where: the file of the mapping.
    :raises ConfigurationError: a change does. The text names the columns that indicate a copy.
    """
    written = {(row.table_name, row.how) for row in connection.exec_driver_sql(_WRITTEN_COPIES)}
    for comparison in comparisons:
        to_crm = (str(comparison.name), "to_crm") in written and "to_crm" in comparison.mode.writes
        linked = (str(comparison.name), "link") in written and "to_enerflo" in comparison.mode.writes
        if to_crm or (linked and link_names(comparison)):
            require_not_copied(comparison, where)


def require_not_copied(comparison: Comparison, where: str) -> None:
    """Require that a CRM table is no copy, or that its mapping declares ``write_to``.

    :raises ConfigurationError: the table seems to be a copy, and ``write_to`` is not declared.
    """
    columns = copy_columns(comparison.live.columns)
    if not columns or "write_to" in comparison.mapping.model_fields_set:
        return
    shown = f"column{'s' * (len(columns) > 1)} {', '.join(columns[:3])}"
    raise ConfigurationError(
        f"{full_name(comparison.mapping)} seems to be a copy of the CRM's table"
        f" ({shown}): a value that is written there never reaches the CRM, and the next copy overwrites it."
        " Nothing is planned.",
        where=f"{where}, tables.{comparison.name}",
        next_step="Write write_to: changes there (docs/crm.md), or write_to: table to write the table all the"
        " same.",
    )
