"""Makes the plan: all changes to both sides, decided once and stored under a hash of the content.

Each change contains the value that it expects to find, so a later apply makes exactly the planned change or
none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import agree_moved
from enerflo_sync.agreed.arrivals import note_arriving, record_arrivals
from enerflo_sync.agreed.changed_meanings import follow_meanings
from enerflo_sync.agreed.key_changes import follow_keys
from enerflo_sync.agreed.last_look import last_looks
from enerflo_sync.agreed.renamed_tables import follow_names
from enerflo_sync.agreed.titles import follow_titles
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import Direction, Mode, RecordKind
from enerflo_sync.outbox.changes import carry_sent
from enerflo_sync.plan.adopt import adopt
from enerflo_sync.plan.alike_notes import ask_about_alike_notes
from enerflo_sync.plan.approval import approval_reasons
from enerflo_sync.plan.backfilled import note_backfilled
from enerflo_sync.plan.completion import (
    LAST_MILESTONE,
    ask_where_nothing_completes,
    complete_installs,
    leave_open,
)
from enerflo_sync.plan.contradictions import ask_where_tables_contradict, ask_where_tables_share_a_column
from enerflo_sync.plan.creations import decide_rows
from enerflo_sync.plan.decide import MAKE_DECIDED, decide_updates, note_decisions, prepare
from enerflo_sync.plan.empty_keys import ask_about_empty_keys
from enerflo_sync.plan.end import bring_plans_to_present, end_other_plans, end_plans_of_another_mapping
from enerflo_sync.plan.gone_at_once import leave_gone
from enerflo_sync.plan.held import hold_checked, note_held
from enerflo_sync.plan.late_appointments import plan_late_appointments
from enerflo_sync.plan.leaving import ask_about_leaving
from enerflo_sync.plan.on_its_way import keep_on_its_way, require_no_copy_is_written
from enerflo_sync.plan.parked import hold_parked, writes_hashes
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.refused import keep_out_refused
from enerflo_sync.plan.renamed_statuses import ask_about_renamed_statuses
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.plan.retitled import ask_about_retitled
from enerflo_sync.plan.row_kinds import row_kinds
from enerflo_sync.plan.sent_notes import ask_about_sent_notes, keep_sent_notes
from enerflo_sync.plan.sent_updates import agree_on_sent
from enerflo_sync.plan.split import mark_waiting, rules_hash, why_waiting
from enerflo_sync.plan.store import store_plan
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import cause_parameters
from enerflo_sync.reconcile.differing_fields import of_differing
from enerflo_sync.reconcile.levels import tables_in_doubt
from enerflo_sync.reconcile.live import case_folding, live_comparisons, require_rows
from enerflo_sync.reconcile.meanings import moved_elsewhere
from enerflo_sync.reconcile.observation import OBSERVATION, observe
from enerflo_sync.reconcile.waiting import UNWRITTEN
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import transaction_time, warehouse_errors

Progress = Callable[[str, int, int], None]

_NOT_SWITCHED_ON = sa.text("""
/* enerflo-sync plan: directions that are not switched on */
update pg_temp.decided set outcome = 'keep', reason = 'not switched on (mode ' || :mode || ')'
where table_name = :table and outcome = :outcome
""")

_UNWRITTEN = sa.text("""
/* enerflo-sync plan: changes of columns that take no values */
update pg_temp.decided set reason = :reason
where table_name = :table and field = any(:fields) and outcome = 'keep' and op = 'update'
  and reason = 'the CRM''s column may not be written'
""")
_TO_CRM = {Direction.BOTH, Direction.TO_CRM}

_SAME = """
/* enerflo-sync plan: changes whose value is already there */
update pg_temp.decided set outcome = 'keep', reason = 'the same once it is written'
where outcome in ('to_crm', 'to_enerflo') and op = 'update' and after is not distinct from before
"""

_MAKE_PLANNED = f"""
/* enerflo-sync plan: the changes in the order in which they are applied */
create temporary table planned on commit drop as
select row_number() over (
         order by array_position(%(tables)s::text[], table_name),
                  array_position(array['insert', 'update', 'delete'], op), key, field) as position,
       outcome as direction, table_name, key, enerflo_key, op, field, before, after, source_value, policy,
       cause, rule, facts, changed_at, observed_at, agreed_at, agreed_row, row_digest, false as waits,
       false as from_backfill,
       case when rule = '{LAST_MILESTONE}' then reason end as reason
from pg_temp.decided where outcome in ('to_crm', 'to_enerflo')
"""  # noqa: S608 - a constant

# Each part is numbered from 1, so that a plan with the same content has the same positions, whatever the
# other part contains.
_NUMBER_ANEW = """
/* enerflo-sync plan: positions within a part */
update pg_temp.{part} p set position = n.position
from (select ctid as id, row_number() over (order by position) as position from pg_temp.{part}) n
where p.ctid = n.id
"""
_TAKE_APART = (
    "/* enerflo-sync plan: the part that waits */"
    " create temporary table waiting_part on commit drop as select * from pg_temp.planned where waits",
    "/* enerflo-sync plan: the part that waits for nobody */ delete from pg_temp.planned where waits",
    _NUMBER_ANEW.format(part="planned"),
    _NUMBER_ANEW.format(part="waiting_part"),
)

_SECOND_PART = (
    "/* enerflo-sync plan: the part that waits */ alter table pg_temp.planned rename to free_part",
    "/* enerflo-sync plan: the part that waits */ alter table pg_temp.waiting_part rename to planned",
)


def make_plan(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    reconciliation_id: str,
    *,
    progress: Progress | None = None,
) -> PlanReport:
    """Make the plans of one round (:func:`make_plans`) and return the first one."""
    return make_plans(engine, config, account, reconciliation_id, progress=progress)[0]


def make_plans(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    reconciliation_id: str,
    *,
    progress: Progress | None = None,
) -> list[PlanReport]:
    """Decide about every difference of a reconciliation, and store the account's plan or plans.

    The result is one plan, even if there is nothing to do, or two plans: first the changes that the approval
    rules let pass, then those that wait for a person. All values are read again, in one snapshot. A plan with
    the same content gets the same hash; older waiting plans are superseded. Only tables of the schema
    ``sync`` are written.

    :raises ConfigurationError: the mapping does not fit the live tables.
    :raises RetriableError: another plan or apply of the account is running, or the warehouse is away.
    """
    tick = progress or (lambda _name, _done, _total: None)
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with warehouse_errors("plan"), snapshot.connect() as connection, alone(connection, account):
        with alone(connection, account, OBSERVATION, wait=True), connection.begin():
            fold = case_folding(connection)
            comparisons = live_comparisons(connection, config, account, fold, all_tables=True)
            require_rows(connection, config, account, comparisons)
            comparisons = follow_names(connection, comparisons, config, account)
            follow_keys(connection, comparisons, account)
            if moved_elsewhere(connection, config, account, [one.name for one in comparisons]):
                # What a person approved was meant for the CRM's former database.
                end_other_plans(connection, account, [])
            end_plans_of_another_mapping(connection, account, config.hash(account))
            comparisons = follow_meanings(connection, comparisons, account)
            follow_titles(connection, comparisons, account)
            now = transaction_time(connection)
            lifetime = timedelta(hours=config.approval.expires_hours)
            bring_plans_to_present(connection, account, now, lifetime)
            observe(connection, comparisons, account, now)
            agree_on_sent(connection, comparisons, account)
            record_arrivals(connection, comparisons, account)
        with (
            _agreeing(engine, comparisons, config, account, reconciliation_id) as agreed,
            connection.begin(),
        ):
            note_arriving(connection, comparisons, account)
            decide_all(connection, comparisons, config, account, reconciliation_id, tick)
            hold_parked(connection, config, account)
            make_planned(connection, comparisons, account)
            require_no_copy_is_written(connection, comparisons, str(config.file))
            hashes = _store(connection, config, account, reconciliation_id)
            for plan_hash in hashes:
                carry_sent(
                    connection,
                    account,
                    plan_hash,
                    notes=config.tables_of(account, RecordKind.NOTES),
                    leads=config.tables_of(account, RecordKind.LEADS),
                )
            note_held(connection, account, hashes[0])
            agreed.result()
    with warehouse_errors("plan"), engine.connect() as connection:
        return [read_plan(connection, account, plan_hash) for plan_hash in hashes]


def _store(connection: sa.Connection, config: SyncConfig, account: str, reconciliation_id: str) -> list[str]:
    """Store the changes in ``planned`` as one plan, or as a free part and a part that waits for a person.

    In report mode nothing is applied, so there is always one plan.
    """
    store = partial(
        store_plan,
        connection,
        account,
        kind="sync",
        mode=str(config.widest_mode(account)),
        config_hash=config.hash(account),
        writes_hashes=writes_hashes(config, account),
        stands_on=reconciliation_id,
        lifetime=timedelta(hours=config.approval.expires_hours),
        rules=rules_hash(config),
    )
    if not config.writes_anything(account):
        return [store(reasons=approval_reasons(connection, config, account))]
    free, waiting = mark_waiting(connection, config, account)
    if not waiting:
        return [store(reasons=[])]
    if not free:
        return [store(reasons=why_waiting(connection, config, account))]
    for statement in _TAKE_APART:
        connection.exec_driver_sql(statement)
    first = store(reasons=[], ends_others=False)
    for statement in _SECOND_PART:
        connection.exec_driver_sql(statement)
    reasons = why_waiting(connection, config, account)
    return [first, store(reasons=reasons, part=2, beside=[first])]


@contextmanager
def _agreeing(
    engine: sa.Engine,
    comparisons: Sequence[Comparison],
    config: SyncConfig,
    account: str,
    reconciliation_id: str,
) -> Iterator[Future[None]]:
    """Store agreed values in a second thread while the caller decides, because each job keeps one core busy.

    The two jobs do not conflict: agreed values come from equal fields, decisions are about different ones. In
    the first run of a table the decisions wait for this thread, because their queries need the statistics of
    the new agreed values.
    """

    def agree() -> None:
        with engine.begin() as connection:
            agree_moved(connection, comparisons, account, config, reconciliation_id)

    with engine.connect() as connection:
        now = transaction_time(connection)
        known = len(last_looks(connection, comparisons, account, config.hash(account), now)) == len(
            comparisons
        )
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="agree") as pool:
        agreed = pool.submit(agree)
        if not known:
            agreed.result()
        yield agreed


def decide_all(
    connection: sa.Connection,
    comparisons: Sequence[Comparison],
    config: SyncConfig,
    account: str,
    reconciliation_id: str | None,
    tick: Progress,
) -> None:
    """Fill ``decided`` for all tables, in the caller's transaction.

    :param reconciliation_id: decide about the rows that differed in this reconciliation; None: about all
        rows.
    """
    now = transaction_time(connection)
    causes = cause_parameters(config.statuses, now, config.reconcile.in_flight_minutes)
    values: dict[str, Any] = {"account": account, **causes}
    in_doubt = tables_in_doubt(connection, account, reconciliation_id)
    connection.exec_driver_sql(MAKE_DECIDED)
    on_either_side = []
    for done, comparison in enumerate(comparisons):
        tick(str(comparison.name), done, len(comparisons))
        prepare(connection, comparison, reconciliation_id, account)
        leave_gone(connection, comparison, in_doubt.get(comparison.name))
        kinds = row_kinds(connection, comparison)
        if kinds.on_both:
            decide_updates(connection, of_differing(connection, comparison), values)
        if may_adopt := kinds.only_enerflo and kinds.only_crm:
            on_either_side.append(comparison)
        adopted = may_adopt and adopt(connection, comparison, config, values)
        decide_rows(connection, comparison, config, values, kinds, adopted=adopted)
        keep_sent_notes(connection, comparison, config, account)
        plan_late_appointments(connection, comparison, config, account)
    tick("", len(comparisons), len(comparisons))
    note_decisions(connection)
    ask_where_tables_contradict(connection, comparisons, values)
    ask_where_tables_share_a_column(connection, comparisons, values)
    ask_about_retitled(connection, comparisons, account)
    ask_about_renamed_statuses(connection, comparisons, config, account)
    ask_where_nothing_completes(connection, comparisons, config, account)
    complete_installs(connection, comparisons, config, values)
    connection.exec_driver_sql(_SAME)
    keep_on_its_way(connection, comparisons, account)
    hold_checked(connection, account)
    keep_out_refused(connection, comparisons, account, config.hash(account))
    leave_open(connection, comparisons, config, account)
    _say_unwritten(connection, comparisons, config, account)
    keep_not_switched_on(connection, comparisons)
    ask_about_empty_keys(connection, comparisons)
    ask_about_leaving(connection, comparisons, account)
    ask_about_sent_notes(connection)
    for comparison in on_either_side:
        ask_about_alike_notes(connection, comparison, config, account)


def make_planned(connection: sa.Connection, comparisons: Sequence[Comparison], account: str) -> None:
    """Copy the changes of ``decided`` to ``planned``, table by table in the order of ``comparisons``."""
    connection.exec_driver_sql(_MAKE_PLANNED, {"tables": [comparison.name for comparison in comparisons]})
    note_backfilled(connection, account)


def _say_unwritten(
    connection: sa.Connection, comparisons: Sequence[Comparison], config: SyncConfig, account: str
) -> None:
    """Give kept changes their reason if the live table, and not the mapping, forbids to write the column."""
    for comparison in comparisons:
        declared = config.tables_for(account)[comparison.name].fields
        lost = [
            name
            for name, field in comparison.mapping.fields.items()
            if declared[name].direction in _TO_CRM and field.direction not in _TO_CRM
        ]
        if lost:
            named = {"table": str(comparison.name), "fields": lost, "reason": UNWRITTEN}
            connection.execute(_UNWRITTEN, named)


def keep_not_switched_on(connection: sa.Connection, comparisons: Sequence[Comparison]) -> None:
    """Keep changes in ``decided`` out of the plan if the mode of their table does not allow the write."""
    if not any(comparison.mode.writes for comparison in comparisons):
        # No table may be written, so nothing is applied; the plan shows all changes that would be made.
        return
    for comparison in comparisons:
        kept = sorted(Mode.BOTH.writes - comparison.mode.writes)
        for outcome in kept:
            connection.execute(
                _NOT_SWITCHED_ON,
                {"table": str(comparison.name), "outcome": outcome, "mode": str(comparison.mode)},
            )
