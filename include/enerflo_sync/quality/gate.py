"""The gate: an order that fails a holding check is quarantined until it passes or a person releases it.

There is one item per content and failure (``sync.quarantine``, kind change_order). A person's decision
applies only to that: an order that changes, or fails differently, is held again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.mirror.quarantine import Rejected, add_to_quarantine, decide
from enerflo_sync.quality.suite import Suite
from enerflo_sync.warehouse.statistics import note_growth

KIND = "change_order"
REASON = "failed_checks"
TABLE = "change_orders"
ORDER_ID = "change_order_id"
_CHUNK = 1_000
# Adders, and the digest of these and all else that an order says and no check has a fact of.
_FURTHER = frozenset({"adders", "further_hash"})

_FAILING = sa.text("""
/* enerflo-sync quality: orders to hold, with what they say and what they fail */
select j.change_order_id, j.install_id, j.status, j.signed_at, j.panel_type_old, j.panel_type_new,
  j.panel_count_old, j.panel_count_new, j.battery_old, j.battery_new, j.total_change,
  j.further -> 'adders' as adders, encode(sha256(convert_to(j.further::text, 'UTF8')), 'hex') as further_hash,
  jsonb_agg(jsonb_build_object('check', r.check_id, 'expected', r.expected, 'found', r.found,
    'reason', r.reason) order by array_position(cast(:holding as text[]), r.check_id)) as failing
from pg_temp.judged j
join sync.quality_results r on r.account = :account and r.run_id = :run_id
  and r.change_order_id = j.change_order_id and not r.passed and r.severity = 'hold'
where j.is_changed and j.failing && cast(:holding as text[])
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 order by 1
""")

_NAME_ITEMS = sa.text("""
update sync.change_order_facts f set item_id = i.item_id
from unnest(cast(:orders as bigint[]), cast(:items as text[])) i (change_order_id, item_id)
where f.account = :account and f.change_order_id = i.change_order_id
""")

_RELEASED = sa.text("""
select item_id from sync.quarantine
where account = :account and item_id = any(cast(:items as text[])) and state = 'replayed'
  and decided_by is not null
""")

# The order's facts name the item that holds it; any other open item about the order is outdated.
_CLOSE_PASSED = sa.text("""
/* enerflo-sync quality: items of orders that pass, changed, or are deleted */
update sync.quarantine q set state = 'replayed'
where q.account = :account and q.kind = 'change_order' and q.table_name = 'change_orders'
  and q.state = 'open' and not exists (
    select from sync.change_order_facts f
    where f.account = q.account and f.failing <> '{}' and f.item_id = q.item_id)
""")

HELD = """
select f.change_order_id, f.item_id, q.state, q.reason
from sync.change_order_facts f join sync.quarantine q using (account, item_id)
where f.account = :account and f.failing <> '{}' and f.item_id is not null
  and q.state in ('open', 'dismissed')
"""

_HELD = sa.text(f"select count(*) from ({HELD}) h where state = 'open'")  # noqa: S608 - a constant

_LOCK = sa.text("""
/* enerflo-sync quality: items that a person releases */
select item_id, state, key, decided_by, decided_at at time zone 'UTC' as decided_at, decision_reason
from sync.quarantine where account = :account and item_id = any(cast(:items as text[]))
order by item_id for update
""")

_LEDGER = sa.text("""
/* enerflo-sync quality: who let an order through, by each table in which it was held */
with held as (
  select table_name, key, ledger_id from sync.ledger
  where account = :account and decision = 'held' and evidence = :evidence
)
insert into sync.ledger (account, table_name, key, op, direction, policy, cause, rule, plan_hash, decision,
  reason, decided_by, evidence, run_id, recorded_at)
select :account, h.table_name, h.key, 'update', 'to_crm', 'enerflo', 'quarantined', 'change_order_checks', '',
  'released', :reason, :by, :evidence, :run_id, :now
from (
  (select distinct on (l.table_name) l.table_name, l.key from held l order by l.table_name, l.ledger_id)
  union all
  select cast(:table as text), jsonb_build_object(cast(:column as text), cast(:order as bigint))
  where not exists (select from held)
) h
""")


def hold(connection: sa.Connection, suite: Suite, account: str, run_id: str, now: datetime) -> None:
    """Quarantine the judged orders that fail a holding check, in the caller's transaction."""
    values = {"account": account, "run_id": run_id, "holding": suite.holding}
    found = connection.execute(_FAILING, values, execution_options={"yield_per": _CHUNK})
    held = 0
    for rows in found.partitions():
        items = {row.change_order_id: _item(row, run_id) for row in rows}
        ids = [item.item_id for item in items.values()]
        released = set(connection.scalars(_RELEASED, {"account": account, "items": ids}))
        add_to_quarantine(
            connection, account, (item for item in items.values() if item.item_id not in released), now
        )
        connection.execute(_NAME_ITEMS, {"account": account, "orders": list(items), "items": ids})
        held += len(items)
    note_growth(connection, "sync.quarantine", held)


def close_passed(connection: sa.Connection, account: str) -> None:
    """Close the items that no longer hold an order, in the caller's transaction."""
    connection.execute(_CLOSE_PASSED, {"account": account})


def held_count(connection: sa.Connection, account: str) -> int:
    """Return the number of orders that checks hold in quarantine."""
    return int(connection.execute(_HELD, {"account": account}).scalar_one())


def _item(row: Any, run_id: str) -> Rejected:
    failing: Sequence[Mapping[str, Any]] = row.failing
    said = {name: value for name, value in row._mapping.items() if name != "failing"}
    # An order without further content is the item that it always was.
    said = {name: value for name, value in said.items() if name not in _FURTHER or value is not None}
    # Equal payloads are the same item, so the payload omits the checks' wording.
    told = [{name: check[name] for name in ("check", "expected", "found")} for check in failing]
    payload = msgspec.json.encode({"change_order": said, "failing": told}, order="deterministic")
    return Rejected(
        kind=KIND,
        reason=REASON,
        field=", ".join(check["check"] for check in failing),
        payload=payload,
        evidence_uri=f"quality:{run_id}",
        table_name=TABLE,
        key={ORDER_ID: row.change_order_id},
    )


def release(
    connection: sa.Connection,
    account: str,
    items: Sequence[Any],
    *,
    table: str = TABLE,
    key_column: str,
    reason: str,
    by: str,
    now: datetime,
) -> int:
    """Release held orders unchanged, in the caller's transaction; return their number.

    Closes the items under the person's name, and records each order's release in the ledger.

    :param items: quarantine items of kind change_order, open or dismissed; others are refused.
    :param table: the CRM's table of change orders, for the ledger of an order that no plan has held.
    :param key_column: the CRM column with the order's id at Enerflo.
    :raises ConfigurationError: an item is of another kind or already closed, or a text is empty.
    """
    for given, option in ((reason, "--reason"), (by, "--by")):
        if not given.strip():
            raise ConfigurationError(
                "a release needs a reason and a name.", where=option, next_step="Say why, and who decided."
            )
    for item in _not_held(items):
        raise ConfigurationError(
            f"the item is of kind {item.kind}; only held change orders are released.",
            where=f"account {account}, quarantine {item.item_id}",
            next_step="Replay or dismiss what is of another kind.",
        )
    _require_still_held(connection, account, items)
    ids = [item.item_id for item in items]
    for at in range(0, len(ids), _CHUNK):
        decide(connection, account, ids[at : at + _CHUNK], "replayed", by=by, at=now, reason=reason)
    for item in items:
        connection.execute(
            _LEDGER,
            {
                "account": account,
                "table": table,
                "column": key_column,
                "order": int((item.key or {})[ORDER_ID]),
                "reason": f"{item.reason}; let through: {reason}",
                "by": by,
                "evidence": f"quarantine:{item.item_id}",
                "run_id": f"release-{item.item_id}",
                "now": now,
            },
        )
    return len(ids)


def _not_held(items: Sequence[Any]) -> Iterator[Any]:
    return (item for item in items if item.kind != KIND)


def _require_still_held(connection: sa.Connection, account: str, items: Sequence[Any]) -> None:
    """Lock the items, so that of two people who release an order the second learns of the first.

    :raises ConfigurationError: an item is closed.
    """
    ids = sorted(item.item_id for item in items)
    for row in connection.execute(_LOCK, {"account": account, "items": ids}):
        if row.state in ("open", "dismissed"):
            continue
        order = f"change order {row.key[ORDER_ID]}"
        if row.decided_by is None:
            what = f"{order} is not held any more: it passes, was changed or was deleted."
        else:
            at = f"{row.decided_at:%Y-%m-%d %H:%M} UTC"
            what = f"{order} was let through by {row.decided_by} at {at}: {row.decision_reason}."
        raise ConfigurationError(
            what,
            where=f"account {account}, quarantine {row.item_id}",
            next_step="Leave it out; nothing else was released.",
        )
