"""Judge the derived facts: which are new, which checks they fail; store the results in ``sync``."""

from __future__ import annotations

from datetime import datetime
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.quality.facts import Facts
from enerflo_sync.quality.rules import expected_words, failing_sql
from enerflo_sync.quality.suite import CheckOptions, Suite
from enerflo_sync.warehouse.schema import change_order_facts
from enerflo_sync.warehouse.statistics import note_growth

# Columns that describe the run, not the order.
_OF_THE_RUN = frozenset("account digest failing item_id run_id checked_at".split())

# Deleted orders need no check and hold nothing: those with a tombstone, and, in a full run, those without a
# row.
_FORGET = """
/* enerflo-sync quality: facts of change orders that were deleted */
delete from sync.change_order_facts f using enerflo.change_orders o
where o.account = %(account)s and o.deleted_at is not null
  and f.account = o.account and f.change_order_id = o.change_order_id
"""
_FORGET_ALL = """
/* enerflo-sync quality: facts of change orders that are gone */
delete from sync.change_order_facts f
where f.account = %(account)s and not exists (
  select from enerflo.change_orders o
  where o.account = f.account and o.change_order_id = f.change_order_id and o.deleted_at is null)
"""

_JUDGE = Template("""
/* enerflo-sync quality: orders whose facts or time are new, with the checks that they fail */
create temporary table judged on commit drop as
select f.*, array_remove(array[$failing], null)::text[] as failing, not is_known as is_new,
  digest_before is distinct from digest as is_changed
from (
  select f.*, hashtextextended(row($compared)::text || %(suite)s || coalesce(further::text, ''), 0) as digest
  from ($facts) f
  offset 0
) f
where digest_before is distinct from digest or observed_before is distinct from observed_at
""")

_COUNTED = """
select count(*) filter (where is_new), count(*) filter (where is_changed and not is_new),
  count(*) filter (where not is_changed)
from pg_temp.judged
"""

# A record that was written again with the same facts.
_SEEN_AGAIN = """
/* enerflo-sync quality: orders with unchanged facts under another time */
update sync.change_order_facts f set observed_at = j.observed_at
from pg_temp.judged j
where not j.is_changed and f.account = %(account)s and f.change_order_id = j.change_order_id
"""

_KEEP_NEW = Template("""
/* enerflo-sync quality: facts of orders that were never checked */
insert into sync.change_order_facts (account, $columns, digest, failing, run_id, checked_at)
select %(account)s, $columns, digest, failing, %(run_id)s, %(now)s from pg_temp.judged where is_new
""")

_KEEP_CHANGED = Template("""
/* enerflo-sync quality: facts of orders that were checked before */
update sync.change_order_facts f set $replaced, digest = j.digest, failing = j.failing, item_id = null,
  run_id = %(run_id)s, checked_at = %(now)s
from pg_temp.judged j
where j.is_changed and not j.is_new and f.account = %(account)s and f.change_order_id = j.change_order_id
""")

_RESULTS = Template("""
/* enerflo-sync quality: what fails now, and what failed and passes again */
insert into sync.quality_results (account, run_id, change_order_id, check_id, severity, passed, expected,
  found, reason, checked_at)
select %(account)s, %(run_id)s, j.change_order_id, c.check_id, c.severity, not c.fails, c.expected, c.found,
  c.reason, %(now)s
from pg_temp.judged j
cross join lateral (values $values) c (check_id, severity, reason, expected, found, fails)
where j.is_changed and (j.failing <> '{}' or j.failed_before <> '{}')
  and (c.fails or c.check_id = any(j.failed_before))
on conflict (account, run_id, change_order_id, check_id) do update set passed = excluded.passed,
  expected = excluded.expected, found = excluded.found, checked_at = excluded.checked_at
""")


def forget(connection: sa.Connection, account: str, *, all_of_them: bool) -> int:
    """Delete the facts of deleted orders, in the caller's transaction; return their number.

    :param all_of_them: look up whether each order still has a row, not only whether it has a tombstone.
    """
    statement = _FORGET_ALL if all_of_them else _FORGET
    return connection.exec_driver_sql(statement, {"account": account}).rowcount


def judge(
    connection: sa.Connection,
    suite: Suite,
    account: str,
    *,
    suite_hash: str,
    facts: Facts,
    run_id: str,
    now: datetime,
) -> int:
    """Judge ``facts``, in the caller's transaction; return the number of orders with new ones.

    Afterwards ``judged`` has these orders, with ``is_changed``, ``failing`` and ``failed_before``; beside
    them those whose record was only written again.

    :param suite_hash: hash of the suite; under another hash all rows count as new.
    """
    if not facts.count:
        return 0
    values: dict[str, Any] = {**facts.values, "run_id": run_id, "now": now, "suite": suite_hash}
    columns = _columns()
    judging = _JUDGE.substitute(
        facts=facts.query,
        failing=", ".join(
            f"case when {failing_sql(check, 'f')} then {literal(name)} end"
            for name, check in suite.checks.items()
        ),
        compared=", ".join(f"f.{name}" for name in columns if name != "observed_at"),
    )
    connection.exec_driver_sql(judging, values)
    connection.exec_driver_sql("analyze pg_temp.judged")
    new, changed, seen_again = connection.exec_driver_sql(_COUNTED).one()
    if seen_again:
        connection.exec_driver_sql(_SEEN_AGAIN, values)
    if new:
        connection.exec_driver_sql(_KEEP_NEW.substitute(columns=", ".join(columns)), values)
    if changed:
        replaced = ", ".join(f"{name} = j.{name}" for name in columns if name != "change_order_id")
        connection.exec_driver_sql(_KEEP_CHANGED.substitute(replaced=replaced), values)
    if judged := int(new + changed):
        note_growth(connection, "sync.change_order_facts", judged)
        kept = connection.exec_driver_sql(_RESULTS.substitute(values=_values(suite)), values)
        note_growth(connection, "sync.quality_results", kept.rowcount)
    return judged


def _columns() -> list[str]:
    return [column.name for column in change_order_facts.columns if column.name not in _OF_THE_RUN]


def _values(suite: Suite) -> str:
    """Return each check as a row of SQL values, with its expected value and the one found in row ``j``."""
    rows = [
        f"({literal(name)}, {literal(str(check.severity))}, {literal(check.reason)}, {_expected(check)},"
        f" to_jsonb(j.{check.shown}), {literal(name)} = any(j.failing))"
        for name, check in suite.checks.items()
    ]
    return ", ".join(rows)


def _expected(check: CheckOptions) -> str:
    words = f"to_jsonb({literal(expected_words(check))}::text)"
    return f"coalesce(to_jsonb(j.{check.expected}), {words})" if check.expected else words
