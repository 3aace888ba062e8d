"""One reconciliation from beginning to end, in one transaction over one snapshot of both sides."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.kept_days import differences_days
from enerflo_sync.mirror.witness_report import witness_report
from enerflo_sync.reconcile.carried_over import can_carry, carry_over
from enerflo_sync.reconcile.causes import (
    before_statement,
    before_table,
    differences_statements,
    duplicates_statement,
)
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import cause_parameters
from enerflo_sync.reconcile.counts import Counting, Summary, counted_aside, mismatched_counts, summarize
from enerflo_sync.reconcile.differing_fields import of_differing
from enerflo_sync.reconcile.incremental import (
    Basis,
    Previous,
    find_basis,
    lost_statement,
    moved_rows_statements,
    pairs_off,
    wanted_parameters,
    wanted_statement,
)
from enerflo_sync.reconcile.levels import LevelLook, hold_back, read_levels
from enerflo_sync.reconcile.live import (
    case_folding,
    further_comparisons,
    live_comparisons,
    live_digest,
    live_relations,
    require_rows,
)
from enerflo_sync.reconcile.looks import Look
from enerflo_sync.reconcile.mismatched import (
    mismatched_statement,
    twice_statement,
    wanted_mismatched_statement,
)
from enerflo_sync.reconcile.near_keys import count_near_keys, may_be_near
from enerflo_sync.reconcile.observation import OBSERVATION, observe, still_holds
from enerflo_sync.reconcile.report import ReconciliationReport, Scope, TableReport, TrendPoint, known_as_of
from enerflo_sync.reconcile.store import (
    bring_to_past,
    drop_old_differences,
    earlier_run,
    forget_attempt,
    last_full_at,
    read_whole,
    store_report,
    trend,
)
from enerflo_sync.reconcile.table_report import ComparedTable, TableReports
from enerflo_sync.reconcile.waiting import unwritten_remarks
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import server_time, transaction_time, warehouse_errors
from enerflo_sync.warehouse.runs import clock_remark
from enerflo_sync.warehouse.set_back import RECONCILED, is_noted, note_done

Progress = Callable[[str, int, int], None]
_NOT_SEEN = "Compared in full: the last reconciliation did not see which of its rows changed when."


def reconcile(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    *,
    full: bool = False,
    now: datetime | None = None,
    reconciliation_id: str | None = None,
    progress: Progress | None = None,
) -> ReconciliationReport:
    """Compare the account's mirror with its CRM tables, store every difference with its cause, and report.

    One transaction over one snapshot writes ``sync.reconciliations`` and ``sync.differences``, or nothing.
    The server compares the rows; this process receives none. Unless ``full``, only rows that changed since
    the previous reconciliation are compared, if these can be found; the stored differences are the same.

    :param now: the moment that ages are measured from; the database's clock where None.
    :param reconciliation_id: names the result; one that exists is replaced, so a retried task may pass it.
    :param progress: called with a table's name, how many tables are done, and how many there are.
    :raises ConfigurationError: a mapped table or column is missing, of another type, or may not be read.
    :raises RetriableError: the warehouse went away or has no room; nothing was stored.
    """
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with warehouse_errors("reconcile"):
        with (
            snapshot.connect() as connection,
            alone(connection, account, OBSERVATION, wait=True),
            connection.begin(),
        ):
            moment = now or transaction_time(connection)
            name = reconciliation_id or f"{moment:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
            job = _Reconciliation(snapshot, connection, config, account, name, moment)
            report = job.run(full, progress or _silent)
        drop_old_differences(engine, account, differences_days(config), moment)
    return report


def _silent(_table: str, _done: int, _total: int) -> None:
    return None


@dataclass
class _Reconciliation:
    snapshot: sa.Engine
    connection: sa.Connection
    config: SyncConfig
    account: str
    reconciliation_id: str
    now: datetime

    def run(self, full: bool, progress: Progress) -> ReconciliationReport:
        started = server_time(self.connection)
        fold = case_folding(self.connection)
        relations = live_relations(self.connection, self.config, self.account)
        comparisons = live_comparisons(self.connection, self.config, self.account, fold, relations=relations)
        require_rows(self.connection, self.config, self.account, comparisons)
        live = live_digest(comparisons, self.config.reconcile.in_flight_minutes)
        further = further_comparisons(self.connection, self.config, self.account, fold, relations)
        basis = Basis(None) if full else self._find_basis(live)
        previous = {one.name: self._standing(one, basis) for one in comparisons}
        # This comes before another session of ours begins a transaction, since open ones count as possibly
        # unseen.
        looks = self._observe([one for one in comparisons if one.moved_by is not None])
        unkept = [one.name for one in comparisons if not one.keeps_hashes and previous[one.name]]
        counted = [*comparisons, *further]
        tables = []
        with counted_aside(self.snapshot, self.connection, counted, self.account, keys_of=unkept) as sizes:
            looks |= self._observe([one for one in comparisons if one.moved_by is None])
            reports = self._prepare(fold)
            for done, comparison in enumerate(comparisons):
                progress(str(comparison.name), done, len(comparisons))
                standing = previous[comparison.name]
                why_full = "" if full or standing else basis.reason or _NOT_SEEN
                compared = self._compare(comparison, sizes[comparison.name], standing, why_full)
                tables.append(reports.of(compared))
            for comparison in further:
                self._levels.look(comparison, sizes[comparison.name].result().crm)
        progress("", len(comparisons), len(comparisons))
        scope = Scope.INCREMENTAL if any(previous.values()) else Scope.FULL
        report = _with_trend(self._report(tables, scope, started), trend(self.connection, self.account))
        store_report(self.connection, report, self.now, live, looks, self._levels.levels)
        if scope is Scope.FULL:
            note_done(self.connection, self.account, RECONCILED)
        return report

    def _find_basis(self, live: str) -> Basis:
        return find_basis(
            self.connection,
            self.account,
            self.reconciliation_id,
            config_hash=self.config.comparison_hash(self.account),
            live=live,
            lookback_minutes=self.config.reconcile.lookback_minutes,
        )

    def _prepare(self, fold: str) -> TableReports:
        """Delete what an earlier attempt stored, and read what all tables need of earlier runs and polls."""
        forget_attempt(self.connection, self.account, self.reconciliation_id)
        if is_noted(self.connection, self.account, RECONCILED):
            bring_to_past(self.connection, self.account, self.now)
        self._levels = self._look_at_levels()
        self._earlier = earlier_run(self.connection, self.account, self.reconciliation_id)
        self._remembered: set[str] = set()
        polled = read_whole(self.connection, self.account)
        return TableReports(self.connection, self.config, self.account, self.now, polled, fold)

    def _report(self, tables: list[TableReport], scope: Scope, started: datetime) -> ReconciliationReport:
        witnesses = witness_report(self.connection, self.account, self.now)
        remark = clock_remark(self.connection, self.account, self.now - timedelta(days=1))
        return ReconciliationReport(
            reconciliation_id=self.reconciliation_id,
            account=self.account,
            mode=str(self.config.account(self.account).mode),
            scope=scope,
            started_at=self.now,
            finished_at=self.now + (server_time(self.connection) - started),
            config_hash=self.config.comparison_hash(self.account),
            mirror_as_of=known_as_of(tables),
            budget=self.config.reconcile.unexplained_budget,
            tables=tables,
            witnesses=witnesses if witnesses.webhooks_since else None,
            last_full_at=self.now if scope is Scope.FULL else last_full_at(self.connection, self.account),
            remarks=[*([remark] if remark else []), *unwritten_remarks(self.connection, self.account)],
            gone_at_once=self._levels.gone,
        )

    def _observe(self, comparisons: Sequence[Comparison]) -> dict[str, Look]:
        return observe(self.connection, comparisons, self.account, self.now) if comparisons else {}

    def _look_at_levels(self) -> LevelLook:
        before = read_levels(self.connection, self.account, self.reconciliation_id)
        guard = self.config.reconcile.shrink_guard_percent
        return LevelLook(self.connection, self.account, before, self.now, guard)

    def _standing(self, comparison: Comparison, basis: Basis) -> Previous | None:
        """Return the previous run if this comparison can update it; None if it must compare all rows."""
        look = None if basis.previous is None else basis.previous.looks.get(comparison.name)
        return basis.previous if still_holds(look, comparison, self.now) else None

    def _compare(
        self, comparison: Comparison, counted: Counting, previous: Previous | None, why_full: str
    ) -> ComparedTable:
        """Store the differences of one table, and return what was found."""
        parameters = self._parameters()
        if previous is None:
            self._with_room(comparison, mismatched_statement(comparison), parameters)
            found = self._store_differences(comparison, parameters, wanted_only=False)
            summary = self._summarize(comparison, parameters)
        else:
            found, summary = self._look_at_what_moved(comparison, previous, counted)
        sizes = counted.result()
        gone = self._levels.look(comparison, sizes.crm)
        if gone is not None:
            hold_back(self.connection, comparison, parameters)
            summary = self._summarize(comparison, parameters)
        unmet = found["only_enerflo"] and (found["only_crm"] or found["twice_rows"] or sizes.unreadable)
        is_near = unmet and may_be_near(comparison)
        near = count_near_keys(self.connection, comparison, parameters) if is_near else 0
        return ComparedTable(comparison, sizes, found, summary, gone, near, why_full, parameters)

    def _summarize(self, comparison: Comparison, parameters: dict[str, Any]) -> Summary:
        return summarize(self.connection, comparison, parameters, self.config.reconcile.samples)

    def _parameters(self) -> dict[str, Any]:
        causes = cause_parameters(self.config.statuses, self.now, self.config.reconcile.in_flight_minutes)
        return {
            "account": self.account,
            "reconciliation_id": self.reconciliation_id,
            "moment": self.now,
            "earlier": self._earlier[0],
            "earlier_at": self._earlier[1],
            **causes,
        }

    def _look_at_what_moved(
        self, comparison: Comparison, previous: Previous, counted: Counting
    ) -> tuple[dict[str, int], Summary]:
        """Judge changed rows and carry the other differences; return the numbers of rows and the summary.

        Only the finished counts of both sides show whether every change was seen; until then that is assumed.
        """
        parameters = wanted_parameters(comparison, previous, self.account, self._parameters())
        for statement in moved_rows_statements(comparison):
            self._execute(statement, parameters)
        self._execute(wanted_statement(comparison), parameters)
        # Without statistics the planner overestimates the few keys and reads both tables as a whole.
        self._execute(f"analyze {comparison.wanted}", {})
        self._execute(
            wanted_mismatched_statement(comparison, keys=comparison.wanted, first=True, moved=True),
            parameters,
        )
        attempt = self.connection.begin_nested()
        mismatched, unmoved = self._store_wanted(comparison, parameters)
        # This runs while both sides are still being counted.
        summary = self._summarize(comparison, parameters)
        if pairs_off(counted.result(), mismatched, unmoved):
            attempt.commit()
        else:
            attempt.rollback()
            self._remembered.discard(comparison.name)
            self._execute(lost_statement(comparison), parameters)
            self._execute(f"analyze {comparison.lost}", {})
            self._execute(
                wanted_mismatched_statement(comparison, keys=comparison.lost, first=False), parameters
            )
            self._execute(f"insert into {comparison.wanted} table {comparison.lost}", {})
            mismatched, unmoved = self._store_wanted(comparison, parameters)
            summary = self._summarize(comparison, parameters)
        return {name: number + unmoved.get(name, 0) for name, number in mismatched.items()}, summary

    def _store_wanted(
        self, comparison: Comparison, parameters: dict[str, Any]
    ) -> tuple[dict[str, int], dict[str, int]]:
        unmoved = dict.fromkeys(("only_enerflo", "only_crm", "enerflo_keys", "crm_keys"), 0)
        if can_carry(comparison):
            unmoved = carry_over(self.connection, comparison, parameters)
        return self._store_differences(comparison, parameters, wanted_only=True), unmoved

    def _store_differences(
        self, comparison: Comparison, parameters: dict[str, Any], *, wanted_only: bool
    ) -> dict[str, int]:
        if not comparison.unique:
            twice = twice_statement(comparison, wanted_only=wanted_only)
            repeated = self._with_room(comparison, twice, parameters).rowcount
            self._execute(f"analyze {comparison.twice}", {})
            # Skip the lookup where no key repeats: it would read all rows.
            if repeated:
                self._remember(comparison, parameters, wanted_only)
                self._execute(duplicates_statement(comparison), parameters)
        found = mismatched_counts(self.connection, comparison)
        differing = of_differing(self.connection, comparison) if found["differing"] else comparison
        for statement in differences_statements(comparison, differing, found, wanted_only=wanted_only):
            self._remember(comparison, parameters, wanted_only)
            self._execute(statement, parameters)
        return found

    def _remember(self, comparison: Comparison, parameters: dict[str, Any], wanted_only: bool) -> None:
        """Make the table of the previous differences once, with statistics, which its join needs."""
        # If differences cannot be carried, their keys do not identify the wanted records.
        of_wanted = wanted_only and can_carry(comparison)
        if comparison.name not in self._remembered:
            self._remembered.add(comparison.name)
            self._execute(before_statement(comparison, wanted_only=of_wanted), parameters)
            self._execute(f"analyze {before_table(comparison)}", {})

    def _with_room(
        self, comparison: Comparison, statement: str, parameters: dict[str, Any]
    ) -> sa.CursorResult[Any]:
        """Execute a statement over all rows, with memory for hashes if keys have several spellings.

        The order of an index does not help such a join, and with the usual 4 MB it would spill to disk.
        """
        if not any(join.varies for join in comparison.joins):
            return self._execute(statement, parameters)
        self._execute("set local work_mem = '128MB'", {})
        done = self._execute(statement, parameters)
        self._execute("reset work_mem", {})
        return done

    def _execute(self, statement: str, parameters: dict[str, Any]) -> sa.CursorResult[Any]:
        return self.connection.exec_driver_sql(statement, parameters)


def _with_trend(report: ReconciliationReport, earlier: list[TrendPoint]) -> ReconciliationReport:
    this = TrendPoint(
        report.reconciliation_id, report.finished_at, report.scope, report.differences, report.unexplained
    )
    values = {name: getattr(report, name) for name in report.__struct_fields__}
    return ReconciliationReport(**values | {"trend": [*earlier, this]})
