"""Store and read runs of the life cycle: the account's state after each run, and at present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.quality.life_cycle.graph import CheckId, LifeCycle
from enerflo_sync.quality.life_cycle.ways import levels
from enerflo_sync.quality.report import (
    CheckCount,
    FailedCheck,
    Finding,
    LifeCycleReport,
    NotJudged,
    StepCount,
)
from enerflo_sync.quality.suite import Severity
from enerflo_sync.warehouse.schema import life_cycle_runs

_RESOLVED_SHOWN = 50
_TITLES_SHOWN = 20

# Groups of installs in equal states, in one pass over all installs; there are few groups.
_ALIKE = sa.text("""
/* enerflo-sync life-cycle: installs in equal states */
create temporary table life_alike on commit drop as
select state, steps, unknown_ids, count(*) as installs, min(install_id) as one_of
from sync.life_cycle_installs where account = :account group by 1, 2, 3
""")

_STATES = sa.text("""
select coalesce(sum(installs) filter (where state = 'judged'), 0)::bigint as installs,
  coalesce(sum(installs) filter (where state = 'not_covered'), 0)::bigint as not_covered
from pg_temp.life_alike
""")

_STEPS = sa.text("""
/* enerflo-sync life-cycle: installs by the steps that are under way, and those over the limit */
select step, sum(installs)::bigint as installs, sum(overdue)::bigint as overdue from (
  select step, installs, 0 as overdue from pg_temp.life_alike cross join lateral unnest(steps) step
  union all
  select step, 0, count(*) from sync.life_cycle_findings
  where account = :account and resolved_at is null and check_id = :check group by 1
) k group by 1
""")

_UNKNOWN = sa.text("""
/* enerflo-sync life-cycle: milestones that are not declared */
select m.title, sum(k.installs)::bigint as installs from (
  select id, sum(installs) as installs, min(one_of) as one_of
  from pg_temp.life_alike cross join lateral unnest(unknown_ids) id where state <> 'voided' group by 1
) k join enerflo.milestones m on m.account = :account and m.install_id = k.one_of and m.milestone_id = k.id
group by 1 order by 2 desc, 1
""")

_CHECKS = sa.text("""
/* enerflo-sync life-cycle: open findings by check */
select check_id, sum(n)::bigint as findings, count(*) as installs from (
  select check_id, install_id, count(*) as n from sync.life_cycle_findings
  where account = :account and resolved_at is null group by 1, 2
) k group by 1
""")

# Ends in a condition, to which others may be added.
FINDINGS = """
select f.finding_id, f.install_id, f.step, f.milestone_id, m.title, f.check_id, f.severity, f.reason,
  f.expected, f.found, f.since, f.checked_at, f.resolved_at
from sync.life_cycle_findings f
left join enerflo.milestones m
  on m.account = f.account and m.install_id = f.install_id and m.milestone_id = f.milestone_id
where f.account = :account
"""

_OPEN = sa.text(f"""
/* enerflo-sync life-cycle: open findings, newest first */
{FINDINGS} and f.resolved_at is null
order by f.finding_id desc limit :most
""")

_GONE = sa.text(f"""
/* enerflo-sync life-cycle: findings that went last */
{FINDINGS} and f.resolved_at is not null
order by f.resolved_at desc, f.finding_id desc limit :most
""")

_NEWEST = sa.text("""
select run_id, config_hash, installs, not_covered, checks, steps, unknown from sync.life_cycle_runs
where account = :account order by started_at desc, finished_at desc limit 1
""")


@dataclass(frozen=True)
class Judged:
    """The result of one run: installs judged, new findings, and resolved findings."""

    looked_at: int
    found: int
    resolved: int


def newest_config(connection: sa.Connection, account: str) -> str | None:
    """Return the configuration hash of the newest run; None without any run."""
    newest = connection.execute(_NEWEST, {"account": account}).first()
    return newest.config_hash if newest else None


def keep_run(
    connection: sa.Connection,
    account: str,
    judged: Judged,
    *,
    config_hash: str,
    run_id: str,
    started_at: datetime,
    finished_at: datetime,
) -> None:
    """Store one run and the account's state after it; replaces an earlier row with the same id."""
    named: dict[str, Any] = {"account": account}
    connection.execute(_ALIKE, named)
    states = connection.execute(_STATES).one()
    checks = connection.execute(_CHECKS, named).all()
    steps = connection.execute(_STEPS, {**named, "check": str(CheckId.OVERDUE)}).all()
    unknown = connection.execute(_UNKNOWN, named).all()
    values: dict[str, Any] = {
        "started_at": started_at,
        "finished_at": finished_at,
        "config_hash": config_hash,
        "looked_at": judged.looked_at,
        "found": judged.found,
        "resolved": judged.resolved,
        "installs": states.installs,
        "not_covered": states.not_covered,
        "checks": {row.check_id: {"findings": row.findings, "installs": row.installs} for row in checks},
        "steps": {row.step: {"installs": row.installs, "overdue": row.overdue} for row in steps},
        "unknown": [{"title": row.title, "installs": row.installs} for row in unknown[:_TITLES_SHOWN]],
    }
    statement = insert(life_cycle_runs).values(account=account, run_id=run_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["account", "run_id"], set_=values))


def read_life_cycle(
    connection: sa.Connection, life_cycle: LifeCycle, account: str, judged: Judged | None, *, most: int
) -> LifeCycleReport | None:
    """Return the result of the last judgement; None if no install has a milestone.

    :param judged: the result of this run, if there is one.
    :param most: maximum number of findings in the report.
    """
    newest = connection.execute(_NEWEST, {"account": account}).first()
    if newest is None:
        return None
    values = {"account": account, "most": most}
    shown = connection.execute(_OPEN, values).all() if most else []
    values["most"] = min(most, _RESOLVED_SHOWN)
    gone = connection.execute(_GONE, values).all() if most else []
    return LifeCycleReport(
        file=life_cycle.file.name,
        looked_at=judged.looked_at if judged else None,
        new=judged.found if judged else None,
        gone=judged.resolved if judged else None,
        installs=newest.installs,
        not_covered=newest.not_covered,
        not_judged=[NotJudged(**one) for one in newest.unknown],
        total=sum(one["findings"] for one in newest.checks.values()),
        checks=_checks(life_cycle, newest.installs, newest.checks),
        steps=_steps(life_cycle, newest.steps),
        findings=[finding_of(row) for row in shown],
        resolved=[finding_of(row) for row in gone],
    )


def _checks(life_cycle: LifeCycle, installs: int, counts: Mapping[str, Any]) -> list[CheckCount]:
    return [
        CheckCount(
            check=name,
            sentence=check.sentence,
            severity=check.severity,
            expected="",
            todo=check.todo,
            checked=installs,
            failed=counts.get(name, {}).get("installs", 0),
        )
        for name, check in life_cycle.checks.items()
    ]


def _steps(life_cycle: LifeCycle, counts: Mapping[str, Any]) -> list[StepCount]:
    level = levels(life_cycle.after)
    none = {"installs": 0, "overdue": 0}
    return [
        StepCount(
            step=name,
            level=level[name],
            after=step.after,
            within_days=step.within_days,
            **counts.get(name, none),
        )
        for name, step in life_cycle.steps.items()
    ]


def finding_of(row: Any) -> Finding:
    """Return a row of :data:`FINDINGS` as a finding."""
    told = dict(row._mapping)
    failing = FailedCheck(
        check=told.pop("check_id"),
        severity=Severity(told.pop("severity")),
        **{name: told.pop(name) for name in ("reason", "expected", "found")},
    )
    return Finding(failing=failing, **told)
