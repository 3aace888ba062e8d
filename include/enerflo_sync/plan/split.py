"""Splits the changes of a round into those that wait for a person and those that need no approval.

The latter become a plan of their own. Rules about one change (protected, nulling, deletions,
first_to_enerflo, new_mapping) make that change wait. Rules about an amount (changes, percent,
backfill_changes) count the changes that would be made without a person; if there are too many, all counted
changes wait. A waiting change keeps waiting until a person decides about it or until one of its values
differs. Later rounds do not count it (decision 15).
"""

from __future__ import annotations

import hashlib
import json
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.changed_clocks import changed_clocks
from enerflo_sync.agreed.key_changes import key_change_reasons
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import MIRROR_TABLES, RecordKind
from enerflo_sync.crm.names import literal
from enerflo_sync.plan.approval import (
    TAKES_AWAY,
    approval_reasons,
    changed_mapping,
    exceeds_percent,
    protected_fields,
    with_two_persons,
    wrote_to_enerflo,
)
from enerflo_sync.plan.backfilled import changes_from_backfills
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

_MARK = Template("""
/* enerflo-sync plan: changes that wait for a person */
update pg_temp.planned p set waits = true where not p.waits and ($condition)
""")

# A person who approved a part of a plan did not decide about the changes in state ``left_out``.
_UNDECIDED = """(c.state = 'left_out' or q.decided_by is null and c.state in ('planned', 'superseded')
      and q.state in ('open', 'expired', 'superseded', 'rejected'))"""
_SAME = """c.table_name = p.table_name and c.key = p.key and c.op = p.op and c.direction = p.direction
  and c.enerflo_key is not distinct from p.enerflo_key and c.field is not distinct from p.field
  and c.before is not distinct from p.before and c.after is not distinct from p.after"""

# Changes of the last waiting plan that nobody decided about, if the approval rules are the same.
_WAITED = sa.text(f"""
/* enerflo-sync plan: changes that waited for a person before, and nobody decided */
with last as (
  select account, plan_hash from sync.plans
  where account = :account and kind = 'sync' and needs_approval and mode <> 'report' and change_count > 0
  order by created_at desc, part desc limit 1
), waiting as (
  select c.* from sync.plan_changes c join last using (account, plan_hash)
  join sync.plans q using (account, plan_hash)
  where q.summary ->> 'rules' = :rules and {_UNDECIDED}
)
update pg_temp.planned p set waits = true from waiting c where {_SAME}
""")  # noqa: S608 - constants

# The last waiting plan lacks a waiting change that was not due in its round, for example because its record
# was in quarantine. So each change is searched in earlier plans by its key. That is slow for many changes, so
# it runs only if few changes would need no approval.
_WAITED_EARLIER = sa.text(f"""
/* enerflo-sync plan: changes that waited for a person in an earlier round, and nobody decided since */
update pg_temp.planned p set waits = true
from (
  select p.position, (
      select q.needs_approval and q.summary ->> 'rules' = :rules and {_UNDECIDED}
      from sync.plan_changes c join sync.plans q using (account, plan_hash)
      where c.account = :account and q.kind = 'sync' and q.mode <> 'report' and {_SAME}
        and c.agreed_at is not distinct from p.agreed_at
      order by q.created_at desc, q.part desc limit 1) as undecided
  from pg_temp.planned p where not p.waits
) n
where n.position = p.position and n.undecided
""")  # noqa: S608 - constants

# A new row is created as a whole.
_WHOLE_ROWS = """
/* enerflo-sync plan: all values of a new row wait with one of them */
update pg_temp.planned p set waits = true
from (select distinct table_name, direction, key from pg_temp.planned where op = 'insert' and waits) w
where p.op = 'insert' and not p.waits and p.table_name = w.table_name and p.direction = w.direction
  and p.key = w.key
"""

# If only the milestone were applied, the install would stay uncompleted, and no later plan would complete it.
_COMPLETIONS = f"""
/* enerflo-sync plan: the last milestone and the completed install wait together */
with pairs as (
  select m.position as one, c.position as other, m.waits or c.waits as waits
  from pg_temp.planned c join pg_temp.planned m
    on jsonb_exists(m.enerflo_key, 'milestone_id') and m.direction = 'to_enerflo' and m.after = c.source_value
   and m.enerflo_key -> 'install_id' = c.enerflo_key -> 'install_id'
  where c.rule = '{LAST_MILESTONE}'
)
update pg_temp.planned p set waits = true from pairs
where pairs.waits and not p.waits and p.position in (pairs.one, pairs.other)
"""  # noqa: S608 - a constant

# A new CRM row that belongs to an install must not be created before the install's own row, whichever table
# that is in.
_BELONGINGS = Template("""
/* enerflo-sync plan: new $name of installs whose new row waits */
update pg_temp.planned p set waits = true
from enerflo.$mirror m
join (select distinct (enerflo_key ->> 'install_id')::bigint as install_id from pg_temp.planned
      where table_name = any(:installs) and op = 'insert' and direction = 'to_crm' and waits) i
  on i.install_id = m.install_id
where m.account = :account and $same
  and p.table_name = :table and p.op = 'insert' and p.direction = 'to_crm' and not p.waits
""")

_FREE = """
/* enerflo-sync plan: what would be made without a person */
select count(*) filter (where not waits) as free, count(*) filter (where waits) as waiting
from pg_temp.planned
"""

_WAITING_TOO = "It waited for a person in the plan before, and nobody decided about it."


def rules_hash(config: SyncConfig) -> str:
    """Return the hash of the approval rules: under other rules a waiting change is judged again."""
    rules = config.approval.model_dump(mode="json", exclude={"expires_hours", "second_person"})
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def mark_waiting(connection: sa.Connection, config: SyncConfig, account: str) -> tuple[int, int]:
    """Mark the changes in ``planned`` that wait for a person; return how many do not wait, and how many do.

    If all changes wait, they may stay unmarked.
    """
    rules = config.approval
    free, waiting = _counts(connection)
    if not free or rules.always or (rules.new_mapping and changed_mapping(connection, config, account)):
        return 0, free + waiting
    _mark_each(connection, config, account)
    under_rules = {"account": account, "rules": rules_hash(config)}
    connection.execute(_WAITED, under_rules)
    # If more changes than ``approval.changes`` are unmarked, all of them will wait anyway.
    if _counts(connection)[0] <= rules.changes:
        connection.execute(_WAITED_EARLIER, under_rules)
    _keep_together(connection, config, account)
    _mark_amounts(connection, config, account)
    free, waiting = _counts(connection)
    return (0, free + waiting) if free > rules.changes else (free, waiting)


def why_waiting(connection: sa.Connection, config: SyncConfig, account: str) -> list[str]:
    """Return the reasons why the changes in ``planned`` wait, if all of them wait."""
    return approval_reasons(connection, config, account) or with_two_persons(config, [_WAITING_TOO])


def _counts(connection: sa.Connection) -> tuple[int, int]:
    row = connection.exec_driver_sql(_FREE).one()
    return row.free, row.waiting


def _mark(connection: sa.Connection, condition: str, values: dict[str, Any] | None = None) -> None:
    connection.exec_driver_sql(_MARK.substitute(condition=condition), values or {})


def _mark_each(connection: sa.Connection, config: SyncConfig, account: str) -> None:
    """Mark the changes that wait because of a rule about one change."""
    rules = config.approval
    conditions = []
    if rules.deletions:
        conditions.append("p.op = 'delete'")
    if rules.nulling:
        conditions.append(TAKES_AWAY)
    conditions += [
        f"p.table_name = {literal(table)} and p.field = {literal(field)}"
        for table, field, _ in changed_clocks(connection, account)
    ]
    if fields := protected_fields(config, account):
        listed = ", ".join(f"({literal(table)}, {literal(field)})" for table, field in fields)
        conditions.append(f"p.op = 'update' and (p.table_name, p.field) in ({listed})")
    if rules.first_to_enerflo and not wrote_to_enerflo(connection, account):
        conditions.append("p.direction = 'to_enerflo'")
    # If the key of a table changed, a record that is already in the table may look like a new one.
    conditions += [f"p.table_name = {literal(table)}" for table, _ in key_change_reasons(connection, account)]
    if conditions:
        _mark(connection, " or ".join(f"({one})" for one in conditions))


def _mark_amounts(connection: sa.Connection, config: SyncConfig, account: str) -> None:
    """Mark the changes of a table, or of backfills, if there are too many to make without a person."""
    rules = config.approval
    if changes_from_backfills(connection, among="not p.waits") > rules.backfill_changes:
        _mark(connection, "p.from_backfill")
        _keep_together(connection, config, account)
    for table in exceeds_percent(connection, config, account, among="not waits"):
        _mark(connection, f"p.table_name = {literal(table)}")
    _keep_together(connection, config, account)


def _keep_together(connection: sa.Connection, config: SyncConfig, account: str) -> None:
    """Mark changes that can only be made together with a waiting change."""
    connection.exec_driver_sql(_WHOLE_ROWS)
    connection.exec_driver_sql(_COMPLETIONS)
    installs = config.tables_of(account, RecordKind.INSTALLS)
    for name, mapping in config.tables_for(account).items() if installs else ():
        mirror = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[mapping.kind(name)]}"]
        if name in installs or "install_id" not in mirror.c:
            continue
        keys = [column.name for column in mirror.primary_key.columns if column.name != "account"]
        same = " and ".join(f"m.{key} = (p.enerflo_key ->> '{key}')::bigint" for key in keys)
        statement = _BELONGINGS.substitute(name=name, mirror=mirror.name, same=same)
        connection.execute(sa.text(statement), {"account": account, "table": name, "installs": installs})
