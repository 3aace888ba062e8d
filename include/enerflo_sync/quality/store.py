"""Store and read runs of the checks: the state of all orders, the failing ones, and earlier rates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.quality.report import CheckCount, FailedCheck, FailedOrder, QualityReport, RunPoint
from enerflo_sync.quality.rules import expected_words
from enerflo_sync.quality.suite import Severity, Suite
from enerflo_sync.quality.validate import not_validated
from enerflo_sync.warehouse.schema import change_order_facts, quality_runs

SHOWN = 1_000
_RUNS = 30

_FAILED = sa.text("""
/* enerflo-sync quality: failing orders by check */
select check_id, count(*) as n from sync.change_order_facts f cross join lateral unnest(f.failing) check_id
where f.account = :account and f.failing <> '{}' group by 1
""")

_STATES = sa.text("""
/* enerflo-sync quality: failing orders by what became of them */
select count(*) filter (where q.state = 'open') as held,
       count(*) filter (where q.state = 'dismissed') as dismissed,
       count(*) filter (where q.state = 'replayed' and q.decided_by is not null) as released,
       count(*) filter (where f.item_id is null) as warned
from sync.change_order_facts f
left join sync.quarantine q on q.account = f.account and q.item_id = f.item_id
where f.account = :account and f.failing <> '{}'
""")

_ORDERS = sa.text("""
/* enerflo-sync quality: failing orders */
select f.change_order_id, f.install_id, f.item_id, f.checked_at, q.decided_by, q.decision_reason,
  case when f.item_id is null then 'shown' when q.state = 'open' then 'held'
       when q.state = 'dismissed' then 'dismissed' else 'released' end as state,
  (select jsonb_agg(jsonb_build_object('check', r.check_id, 'severity', r.severity, 'reason', r.reason,
     'expected', r.expected, 'found', r.found) order by r.severity, array_position(f.failing, r.check_id))
   from sync.quality_results r
   where r.account = f.account and r.run_id = f.run_id and r.change_order_id = f.change_order_id
     and not r.passed) as failing
from sync.change_order_facts f
left join sync.quarantine q on q.account = f.account and q.item_id = f.item_id
where f.account = :account and f.failing <> '{}'
order by array_position(array['held', 'shown', 'released', 'dismissed'],
  case when f.item_id is null then 'shown' when q.state = 'open' then 'held'
       when q.state = 'dismissed' then 'dismissed' else 'released' end),
  f.checked_at desc, f.change_order_id
limit :most
""")

# A check's result stands until the next run; what polls brought since is not checked.
_STANDING = sa.text("""
/* enerflo-sync quality: state of all orders, and how many are new or changed since they were checked */
select coalesce(r.orders, 0) as orders, coalesce(r.checks, '{}') as checks, u.unchecked,
  exists (select from sync.watermarks where account = :account and name = 'change_orders') as is_read
from (
  select count(*) as unchecked from enerflo.change_orders o
  left join sync.change_order_facts f using (account, change_order_id)
  where o.account = :account and o.deleted_at is null and f.observed_at is distinct from o.observed_at
) u left join lateral (
  select orders, checks from sync.quality_runs where account = :account order by started_at desc limit 1
) r on true
""")

_NEWEST_SUITE = sa.text("""
select suite_hash from sync.quality_runs where account = :account order by started_at desc limit 1
""")


def newest_suite(connection: sa.Connection, account: str) -> str | None:
    """Return the suite hash of the newest run; None without any run."""
    found: str | None = connection.scalar(_NEWEST_SUITE, {"account": account})
    return found


def keep_run(
    connection: sa.Connection,
    suite: Suite,
    account: str,
    *,
    suite_hash: str,
    run_id: str,
    started_at: datetime,
    finished_at: datetime,
    checked: int,
    held: int,
) -> None:
    """Store one run and the state of all live orders after it; replaces an earlier row with the same id.

    The orders that it checked count as not validated.
    """
    values: dict[str, Any] = {
        "started_at": started_at,
        "finished_at": finished_at,
        "suite_hash": suite_hash,
        "checked": checked,
        "orders": _orders(connection, account),
        "held": held,
        "checks": _counts(connection, suite, account),
        "validated_by": None,
        "validated": None,
        "expectations": None,
    }
    statement = insert(quality_runs).values(account=account, run_id=run_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["account", "run_id"], set_=values))


def keep_validation(
    connection: sa.Connection,
    account: str,
    *,
    run_id: str,
    finished_at: datetime,
    validated: int,
    expectations: dict[str, Any],
) -> None:
    """Record in a run that Great Expectations counted what this run and earlier ones judged."""
    runs = quality_runs.c
    mine = sa.update(quality_runs).where(runs.account == account)
    connection.execute(mine.where(runs.validated_by.is_(None)).values(validated_by=run_id))
    connection.execute(
        mine.where(runs.run_id == run_id).values(
            finished_at=finished_at, validated=validated, expectations=expectations
        )
    )


def read_report(
    connection: sa.Connection,
    suite: Suite,
    account: str,
    *,
    run_id: str | None = None,
    checked: int | None = None,
    most: int = SHOWN,
) -> QualityReport:
    """Return the state of the account's change orders at the last check."""
    states = connection.execute(_STATES, {"account": account}).one()
    orders = {"account": account, "most": most}
    rows = connection.execute(_ORDERS, orders).mappings().all() if most else []
    standing = connection.execute(_STANDING, {"account": account}).one()
    return QualityReport(
        account=account,
        run_id=run_id,
        checked=checked,
        orders=standing.orders,
        held=states.held,
        released=states.released,
        dismissed=states.dismissed,
        unchecked=standing.unchecked,
        is_read=standing.is_read,
        warned=states.warned,
        not_validated=not_validated(connection, account),
        suite=suite.file.name,
        checks=_check_counts(suite, standing.checks),
        failing=[_order(row) for row in rows],
        runs=_runs(connection, account),
    )


def _order(row: sa.RowMapping) -> FailedOrder:
    failing = [
        FailedCheck(**{**check, "severity": Severity(check["severity"])}) for check in row["failing"] or ()
    ]
    return FailedOrder(**{**row, "failing": failing})


def _orders(connection: sa.Connection, account: str) -> int:
    facts = change_order_facts.c
    query = sa.select(sa.func.count()).where(facts.account == account)
    return int(connection.execute(query).scalar_one())


def _counts(connection: sa.Connection, suite: Suite, account: str) -> dict[str, dict[str, int]]:
    """Return, per check, the number of live orders to which it applies, and of those that fail it."""
    failed = {row.check_id: int(row.n) for row in connection.execute(_FAILED, {"account": account})}
    facts = change_order_facts.c
    concerned = {
        name: sa.func.count() if check.present is not None else sa.func.count(facts[check.column])
        for name, check in suite.checks.items()
    }
    query = sa.select(*(count.label(name) for name, count in concerned.items())).where(
        facts.account == account
    )
    checked = connection.execute(query).mappings().one()
    return {name: {"checked": checked[name], "failed": failed.get(name, 0)} for name in suite.checks}


def _check_counts(suite: Suite, counts: Mapping[str, Mapping[str, int]]) -> list[CheckCount]:
    nothing = {"checked": 0, "failed": 0}
    return [
        CheckCount(
            check=name,
            sentence=check.sentence,
            severity=check.severity,
            expected=expected_words(check),
            todo=check.todo,
            **counts.get(name, nothing),
        )
        for name, check in suite.checks.items()
    ]


def _runs(connection: sa.Connection, account: str) -> list[RunPoint]:
    runs = quality_runs.c
    query = (
        sa.select(runs.run_id, runs.finished_at, runs.checked, runs.orders, runs.held, runs.validated)
        .add_columns(
            sa.text(
                "(select coalesce(sum((v.value ->> 'failed')::bigint), 0)::bigint"
                " from jsonb_each(checks) v) as failed"
            )
        )
        .where(runs.account == account)
        .order_by(runs.started_at.desc())
        .limit(_RUNS)
    )
    return [RunPoint(**row) for row in connection.execute(query).mappings()]
