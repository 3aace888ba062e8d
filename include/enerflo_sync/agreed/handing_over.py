"""``sync.crm_changes``: approved changes that a tool carries to a CRM of which we see only a copy.

One row is inserted for each change. Later only the tool's acknowledgement and the state are updated. The
state is ``open`` until the copy shows the change (``arrived``), until a later change replaces it or the copy
shows another value (``superseded``), or until it is undone before a tool acknowledged it (``withdrawn``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from string import Template
from typing import NamedTuple

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.crm.catalog import live_table, writable_columns
from enerflo_sync.crm.copies import NEEDED_COLUMNS, OUR_CHANGES
from enerflo_sync.crm.names import literal, quoted, relation
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.warehouse.engine import transaction_time

LATER_CHANGE = "a later change took its place"
WITHDRAWN = "it was undone before a tool took it over"

_CHANGE_ID = "left(encode(sha256(convert_to(concat_ws('|', {}), 'UTF8')), 'hex'), 32)"

# CTEs that follow ``RECORD_OUTCOMES`` in a statement. From the changes in its CTE ``recorded`` they insert
# those that are handed over now, and supersede the older open changes that these replace. Parameters:
# ``kind``, ``decided_by`` and ``now``.
HAND_OVER = Template(f"""older as (
  update sync.crm_changes w set state = 'superseded', reason = '{LATER_CHANGE}', state_at = %(now)s
  from recorded r
  where r.state = '{Decision.HANDED_OVER}' and w.account = r.account and w.table_name = r.table_name
    and w.key = r.key and w.ended_at is null and w.state = 'open'
    and (r.op = 'delete' or w."column" is not distinct from r.field)
), handed as (
  insert into sync.crm_changes (account, change_id, table_name, crm_table, key, enerflo_key, op, "column",
    before, after, plan_hash, position, kind, approved_by, made_at, state, state_at, copy_value)
  select account, {_CHANGE_ID.format("account, plan_hash, position")}, table_name, $crm_table, key,
    enerflo_key, op, field, nullif(before, 'null'), nullif(after, 'null'), plan_hash, position, %(kind)s,
    %(decided_by)s, %(now)s, 'open', %(now)s, case when op = 'update' then nullif(before, 'null') end
  from recorded where state = '{Decision.HANDED_OVER}'
)""")  # noqa: S608 - constants

# A CTE for a statement whose CTE ``due`` has the changes of an undo. The columns of a new row are withdrawn
# all together or not at all. Parameters: ``undone``, the hash of the undone plan, and ``now``.
TAKE_BACK = Template(f"""withdrawn as (
  update sync.crm_changes w set state = 'withdrawn', reason = '{WITHDRAWN}', state_at = %(now)s
  from due p
  where p.rule = $rule and w.account = %(account)s and w.plan_hash = %(undone)s
    and w.table_name = $table and w.key = p.key and $of_change and w.state = 'open'
    and w.acknowledged_at is null and w.sent_as_of is null and not exists (
      select from sync.crm_changes v
      where v.account = w.account and v.plan_hash = w.plan_hash and v.table_name = w.table_name
        and v.key = w.key and v.op = w.op and w.op = 'insert'
        and (v.state <> 'open' or v.acknowledged_at is not null or v.sent_as_of is not null))
  returning p.id
)""")  # noqa: S608 - a constant
_TAKEN_BACK = {
    "update": "w.op = 'update' and w.\"column\" = p.field",
    "delete": "w.op = 'insert'",
    "insert": "w.op = 'delete'",
}

_OF_LINK = "%(account)s::text, %(plan_hash)s::text, $table, %(key)s::text, %(column)s::text"
_LINK = Template(f"""
/* enerflo-sync push: Enerflo's id is handed over for the CRM's row */
insert into sync.crm_changes (account, change_id, table_name, crm_table, key, enerflo_key, op, "column",
  after, plan_hash, kind, approved_by, made_at, state, state_at)
select %(account)s::text, {_CHANGE_ID.format(_OF_LINK)},
  $table, $crm_table, %(key)s::jsonb, %(record)s::jsonb, 'update', %(column)s::text,
  to_jsonb(%(value)s::text::$type),
  %(plan_hash)s::text, 'link', %(decided_by)s::text, now(), 'open', now()
on conflict (account, change_id) do nothing
""")

# Changes that are still ``handed_over`` in their plan although ``sync.crm_changes`` ended them unmade.
_NOT_MADE = sa.text("""
/* enerflo-sync apply: changes that were handed over and are not to be made any more */
select w.plan_hash, w.approved_by, w.reason, array_agg(w.position order by w.position) as positions
from sync.crm_changes w join sync.plan_changes c using (account, plan_hash, position)
where w.account = :account and w.state in ('superseded', 'withdrawn') and w.state_at = :now
  and c.state = 'handed_over'
group by 1, 2, 3 order by 1, 2, 3
""")

_COLUMNS = sa.text("""
select a.attname from pg_catalog.pg_attribute a
where a.attrelid = 'sync.crm_changes'::regclass and a.attnum > 0 and not a.attisdropped
""")

# The next three statements are for changes that we carry to the CRM ourselves (enerflo_sync.copies).
_TAKEN = """
/* enerflo-sync carry: changes that we take to the CRM */
update sync.crm_changes set acknowledged_at = %(now)s
where account = %(account)s and number = any(%(numbers)s::bigint[]) and acknowledged_at is null
"""
_UNMADE = """
/* enerflo-sync carry: changes that are not made */
update sync.crm_changes set state = 'superseded', reason = %(reason)s, state_at = %(now)s, ended_at = %(now)s
where account = %(account)s and number = any(%(numbers)s::bigint[]) and ended_at is null and state = 'open'
returning plan_hash, approved_by, position
"""
# The record was made of this row, so the row makes no second one, whatever it says by then.
_REFUSED_LINKS = f"""
/* enerflo-sync carry: rows that do not take the ids of their records */
insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by, is_link, enerflo_key)
select account, table_name, key, "column", after, %(now)s, '{AgreedBy.PUSH}', true, enerflo_key
from sync.crm_changes
where account = %(account)s and number = any(%(numbers)s::bigint[]) and kind = 'link' and state = 'superseded'
on conflict do nothing
"""  # noqa: S608 - a constant
_SENDING = """
/* enerflo-sync carry: a request with changes goes out, or changed nothing */
update sync.crm_changes set sent_as_of = %(as_of)s::timestamptz
where account = %(account)s and number = any(%(numbers)s::bigint[]) and acknowledged_at is null
"""

_OURS_ONLY = {"ended_at", "acknowledged_at", "sent_as_of"}


class _Column(NamedTuple):
    """One column of a team's own table: its type, and whether a new row may give it a value."""

    type: str
    takes_values: bool


_DELIVER = Template("""
/* enerflo-sync apply $name: changes for a table of the team's own */
insert into $outlet ($columns) select $values from sync.crm_changes w
where w.account = %(account)s and w.table_name = $table and w.made_at = %(now)s and w.state = 'open'
""")
_SAY_STATE = Template("""
/* enerflo-sync apply $name: what became of changes, in a table of the team's own */
update $outlet x set state = w.state::$type from sync.crm_changes w
where w.account = %(account)s and w.table_name = $table and w.change_id = x.change_id::text
  and w.state_at = %(now)s and x.state::text is distinct from w.state
""")
_TAKE_OVER = Template("""
/* enerflo-sync plan $name: acknowledgements in a table of the team's own */
update sync.crm_changes w set acknowledged_at = x.acknowledged_at::timestamptz from $outlet x
where w.account = %(account)s and w.table_name = $table and w.change_id = x.change_id::text
  and w.ended_at is null and w.acknowledged_at is null and x.acknowledged_at is not null
""")


def hand_over_sql(comparison: Comparison) -> str:
    """Return the CTEs of :data:`HAND_OVER` for one table."""
    return HAND_OVER.substitute(crm_table=literal(full_name(comparison.mapping)))


def take_back_sql(comparison: Comparison, op: str, rule: str) -> str:
    """Return the CTE of :data:`TAKE_BACK` for one operation of an undo.

    :param rule: the rule of an undo's changes that withdraw a handed-over change.
    """
    return TAKE_BACK.substitute(table=literal(comparison.name), of_change=_TAKEN_BACK[op], rule=literal(rule))


def hand_over_link(
    connection: sa.Connection,
    comparison: Comparison,
    applying: Applying,
    texts: tuple[str, str],
    links: Mapping[str, str],
) -> None:
    """Hand over the id of a record that was created at Enerflo: its CRM row is to store it.

    Runs in the caller's transaction.

    :param texts: the CRM row's key and the mirror's key of the record, as JSON.
    :param links: the CRM columns that take the id, each with its value.
    """
    for column, value in links.items():
        live = comparison.live.columns[column]
        statement = _LINK.substitute(
            table=literal(comparison.name),
            crm_table=literal(full_name(comparison.mapping)),
            type=live.sql_type,
        )
        values = {
            "account": applying.account,
            "plan_hash": applying.plan_hash,
            "decided_by": applying.decided_by,
            "key": texts[0],
            "record": texts[1],
            "column": column,
            "value": value,
        }
        connection.exec_driver_sql(statement, values)
    deliver(connection, [comparison], applying.account)


def note_not_made(connection: sa.Connection, account: str, run_id: str) -> None:
    """Record the outcome of handed-over changes that will not be made, in their plans and in the ledger."""
    now = transaction_time(connection)
    for row in connection.execute(_NOT_MADE, {"account": account, "now": now}).all():
        applying = Applying(account, row.plan_hash, run_id, row.approved_by)
        record_outcome(connection, applying, row.positions, Decision.SUPERSEDED, now, reason=row.reason)


def deliver(connection: sa.Connection, comparisons: Iterable[Comparison], account: str) -> None:
    """Copy the changes and states that this transaction recorded to the table that ``write_to`` names."""
    ours = set(connection.execute(_COLUMNS).scalars()) - _OURS_ONLY
    values = {"account": account, "now": transaction_time(connection)}
    for comparison in comparisons:
        outlet, columns = _outlet(connection, comparison)
        if outlet is None:
            continue
        named = {"name": str(comparison.name), "table": literal(comparison.name), "outlet": outlet}
        common = [name for name, one in columns.items() if name in ours and one.takes_values]
        statement = _DELIVER.substitute(
            named,
            columns=", ".join(quoted(name) for name in common),
            values=", ".join(_given(name, columns[name].type) for name in common),
        )
        connection.exec_driver_sql(statement, values)
        if "state" in columns:
            connection.exec_driver_sql(_SAY_STATE.substitute(named, type=columns["state"].type), values)


def load_acknowledgements(connection: sa.Connection, comparison: Comparison, account: str) -> None:
    """Load acknowledgements from the table that ``write_to`` names into ``sync.crm_changes``."""
    outlet, columns = _outlet(connection, comparison)
    if outlet is not None and "acknowledged_at" in columns:
        statement = _TAKE_OVER.substitute(
            name=str(comparison.name), table=literal(comparison.name), outlet=outlet
        )
        connection.exec_driver_sql(statement, {"account": account})


def _given(name: str, kind: str) -> str:
    """Return one column of ``sync.crm_changes``, cast to the type that it has in the team's own table.

    If ``before`` or ``after`` is no JSON column there, the value is written as plain text.
    """
    as_text = name in {"before", "after"} and not kind.startswith("json")
    return f"(w.{quoted(name)} #>> '{{}}')::{kind}" if as_text else f"w.{quoted(name)}::{kind}"


def _outlet(connection: sa.Connection, comparison: Comparison) -> tuple[str | None, dict[str, _Column]]:
    """Return the team's own table and the types of its columns; None if ``write_to`` names our own table.

    :raises ConfigurationError: the table does not exist, or lacks a required column.
    """
    to = comparison.mapping.handed_to
    if to is None or relation(to.changes) == relation(OUR_CHANGES):
        return None, {}
    schema, name = relation(to.changes)
    table = live_table(connection, schema, name)
    taking = writable_columns(connection, table) if table is not None else frozenset[str]()
    columns = {
        one.name: _Column(one.sql_type, one.name in taking)
        for one in (table.columns.values() if table is not None else ())
    }
    if missing := [name for name in NEEDED_COLUMNS if name not in columns]:
        found = "it does not exist" if table is None else f"it has no column {', '.join(missing)}"
        raise ConfigurationError(
            f"{found}: no change can be handed over there.",
            where=f"{to.changes}, the write_to of {comparison.name}",
            next_step=f"Run: create table {to.changes} (like {OUR_CHANGES});",
        )
    return quoted(schema, name), columns


def note_taken(connection: sa.Connection, account: str, numbers: Sequence[int]) -> None:
    """Acknowledge changes that we write to the CRM ourselves, before or after the write."""
    values = {"account": account, "numbers": list(numbers), "now": transaction_time(connection)}
    connection.exec_driver_sql(_TAKEN, values)


def note_sending(
    connection: sa.Connection, account: str, numbers: Sequence[int], as_of: datetime | None
) -> None:
    """Note that a request with changes is about to be sent; the caller commits this before it sends.

    :param as_of: when the CRM's record was last modified; None: the request changed nothing.
    """
    values = {"account": account, "numbers": list(numbers), "as_of": as_of}
    connection.exec_driver_sql(_SENDING, values)


def end_unmade(
    connection: sa.Connection,
    account: str,
    run_id: str,
    numbers: Sequence[int],
    decision: Decision,
    reason: str,
) -> None:
    """End open changes that are not made in the CRM, and record the reason as their outcome."""
    if not numbers:
        return
    now = transaction_time(connection)
    values = {"account": account, "numbers": list(numbers), "reason": reason, "now": now}
    ended: dict[tuple[str, str], list[int]] = {}
    for row in connection.exec_driver_sql(_UNMADE, values):
        if row.position is not None:
            ended.setdefault((row.plan_hash, row.approved_by), []).append(row.position)
    if decision is Decision.PARKED:
        connection.exec_driver_sql(_REFUSED_LINKS, values)
    for (plan_hash, approved_by), positions in ended.items():
        applying = Applying(account, plan_hash, run_id, approved_by)
        record_outcome(connection, applying, positions, decision, now, reason=reason)
