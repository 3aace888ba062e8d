"""The pages in Airflow over a large account with years of runs, beside Airflow's own page of a DAG."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from benchmarks import rows
from benchmarks.jobs import PagesJob
from benchmarks.measure import CouldNotMeasureError, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from enerflo_sync.reconcile.render.stored_verdict import stored_verdict
from enerflo_sync.reconcile.report import Cause, FieldCount, ReconciliationReport, Scope, TableReport
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.schema import reconciliations

Say = Callable[[str], None]
DATABASE = "bench_pages"
FIELDS = 50
DIFFERENCES = 100_000
ACCOUNTS = 200
A_DAY, DAYS = 96, 730
# Reconciliations that each of the other accounts has.
_FEW = 300
_CAUSES = (Cause.UNEXPLAINED, Cause.CONFLICT, Cause.EDITED_IN_CRM, Cause.EQUAL_AFTER_NORMALISATION)

# Requests of each page that are timed, after three that are not.
REQUESTS = 30
PATHS = (
    "/enerflo/accounts",
    "/enerflo/overview/default",
    "/enerflo/inbox/default",
    "/enerflo/differences/default",
    "/enerflo/differences/default?cause=unexplained&field=f20",
    "/enerflo/differences/default?q=99999",
    "/enerflo/differences/default?age=7",
    "/enerflo/record/default/installs/5001",
    "/enerflo/search/default?q=5001",
    "/enerflo/search/default?q=Customer+Number+500",
    "/enerflo/plans/default",
    "/enerflo/quality/default",
    "/enerflo/freshness/default",
    "/enerflo/reports/default",
    "/enerflo/reports/default/latest",
)
EXPORT = "/enerflo/differences/default/export/xlsx"
AIRFLOW = ("/ui/grid/structure/enerflo_poll", "/ui/grid/runs/enerflo_poll")


_PLANT_DIFFERENCES = sa.text("""
insert into sync.differences
  (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause, since)
select 'default', :newest, 'installs', jsonb_build_object('install_id', n * 7 % :count + 1),
       (:columns)[1 + n % :fields], to_jsonb(n), to_jsonb(n + 1), (:causes)[1 + n / :fields % 4],
       now() - n % 40 * interval '1 day'
from generate_series(1, :many) n
""").bindparams(
    sa.bindparam("columns", type_=sa.ARRAY(sa.Text)), sa.bindparam("causes", type_=sa.ARRAY(sa.Text))
)

_PLANT_RUNS = sa.text("""
insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, compared_until, scope,
  config_hash, differences, unexplained, report, summary)
select account, 'r' || n, at, at + interval '20 seconds', at, 'incremental', 'c', 100 + n % 50, n % 9, '{}',
       cast(:summary as jsonb)
from (
  select 'default' as account, n, now() - n * interval '1 day' / :a_day as at from generate_series(1, :runs) n
  union all
  select 'a' || a, n, now() - n * interval '1 day' / :a_day
  from generate_series(1, :accounts) a, generate_series(1, :few) n
) r
""")


@dataclass
class PageRuns:
    """For each address what its requests took.

    :param milliseconds: of the server, by address.
    :param bytes: of the answer, before compression; :param statements: sent to the warehouse for one answer.
    :param exports: of the XLSX with all differences: seconds, bytes, and by how many MB it raised the memory.
    """

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    statements: dict[str, int] = field(default_factory=dict)
    exports: list[dict[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def config_text() -> str:
    """Return a configuration of many accounts, whose default one compares fifty fields."""
    fields = [
        f"      f{n}: {{enerflo: panel_count, type: integer}}" for n in range(len(rows.COMPARED), FIELDS)
    ]
    others = "".join(f'  a{n}: {{warehouse_url: "${{WAREHOUSE_URL}}"}}\n' for n in range(1, ACCOUNTS))
    text = rows.CONFIG.rstrip() + "\n" + "\n".join(fields) + "\n"
    return text.replace("tables:\n", f"{others}tables:\n", 1)


def measure_pages(warehouse: Warehouse, count: int, repeat: int, say: Say) -> PageRuns:
    """Make the account, and time each page in a process of its own, ``repeat`` times.

    :param count: installs on each side, a multiple of 1,000.
    """
    result = PageRuns()
    say(f"pages: making an account of {count:,} installs with {DIFFERENCES:,} differences")
    rows.plant(warehouse, count)
    url = warehouse.fresh(DATABASE, template=rows.DATABASE)
    try:
        _plant(warehouse, url, count)
        with tempfile.TemporaryDirectory(prefix="bench-pages-") as folder:
            config = Path(folder) / "sync.yaml"
            config.write_text(config_text())
            for _ in range(repeat):
                _measure(result, warehouse, PagesJob(url, str(config), PATHS, AIRFLOW, REQUESTS, EXPORT), say)
    finally:
        warehouse.drop(DATABASE)
        warehouse.drop(rows.DATABASE)
    return result


def _measure(result: PageRuns, warehouse: Warehouse, job: PagesJob, say: Say) -> None:
    try:
        run = run_fresh("benchmarks.peers.our_pages", job, server_cpu=warehouse.cpu_seconds)
        for path, one in run.counts["pages"].items():
            expect("pages", f"status of {path}", one["status"], 200)
            result.milliseconds.setdefault(path, []).extend(one["milliseconds"])
            result.bytes[path], result.statements[path] = one["bytes"], one["statements"]
        result.exports.append(run.counts["export"])
        say("pages: measured")
    except (CouldNotMeasureError, WrongResultError) as error:
        result.failures.append(str(error))


def _plant(warehouse: Warehouse, url: str, count: int) -> None:
    """Put the differences, the reports of two years, and the other accounts into the database."""
    report = _report(count)
    newest = report.reconciliation_id
    names = ", ".join(f"add f{n} integer" for n in range(len(rows.COMPARED), FIELDS))
    engine = warehouse_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"alter table {rows.RIGHT} {names}")
        columns = [*rows.COMPARED, *(f"f{n}" for n in range(len(rows.COMPARED), FIELDS))]
        causes = [str(cause) for cause in _CAUSES]
        connection.execute(
            _PLANT_DIFFERENCES,
            {
                "newest": newest,
                "count": count,
                "fields": FIELDS,
                "many": DIFFERENCES,
                "columns": columns,
                "causes": causes,
            },
        )
        summary = msgspec.to_builtins(stored_verdict(report), str_keys=True)
        content = msgspec.to_builtins(report, str_keys=True) | {"live": "", "looks": {}, "levels": {}}
        whole = {
            "scope": str(report.scope),
            "config_hash": report.config_hash,
            "differences": report.differences,
            "unexplained": report.unexplained,
            "summary": summary,
        }
        connection.execute(
            sa.insert(reconciliations).values(
                account="default",
                reconciliation_id=newest,
                started_at=report.started_at,
                finished_at=report.finished_at,
                compared_until=report.started_at,
                report=content,
                **whole,
            )
        )
        connection.execute(
            _PLANT_RUNS,
            {
                "summary": json.dumps(summary),
                "a_day": A_DAY,
                "runs": A_DAY * DAYS,
                "accounts": ACCOUNTS - 1,
                "few": _FEW,
            },
        )
    engine.dispose()
    warehouse.execute(DATABASE, "vacuum (analyze)")


def _report(count: int) -> ReconciliationReport:
    """Return a report that says of the planted differences what is so."""
    now = datetime.now(UTC)
    names = [*rows.COMPARED, *(f"f{n}" for n in range(len(rows.COMPARED), FIELDS))]
    each = DIFFERENCES // FIELDS // len(_CAUSES)
    by_field = [FieldCount(name, each * len(_CAUSES), dict.fromkeys(_CAUSES, each)) for name in names]
    table = TableReport(
        table_name="installs",
        crm_table="crm.installs",
        mode="report",
        enerflo_rows=count,
        crm_rows=count,
        matched=count,
        only_enerflo=0,
        only_crm=0,
        differing_rows=DIFFERENCES,
        by_cause=dict.fromkeys(_CAUSES, each * FIELDS),
        by_field=by_field,
        samples=[],
        mirror_as_of=now,
    )
    return ReconciliationReport(
        reconciliation_id="newest",
        account="default",
        mode="report",
        scope=Scope.FULL,
        started_at=now,
        finished_at=now + timedelta(seconds=2),
        config_hash="c",
        mirror_as_of=now,
        budget=0,
        tables=[table],
        last_full_at=now,
    )


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    found: Any = sorted(values)
    return float(found[min(int(len(found) * share), len(found) - 1)])
