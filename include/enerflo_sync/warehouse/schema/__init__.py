"""Declarations of this project's warehouse tables; tests compare the migrations with this package.

Names are a contract with analysts: columns are added, never renamed (design §5).
``tests/warehouse/test_who_writes.py`` lists which rooms write a table.
"""

from __future__ import annotations

from enerflo_sync.warehouse.schema.backfills import backfill_chunks, backfill_pages, backfills
from enerflo_sync.warehouse.schema.base import agreed, agreed_keys, agreed_twins, own_writes
from enerflo_sync.warehouse.schema.checks import (
    change_order_facts,
    life_cycle_findings,
    life_cycle_installs,
    life_cycle_runs,
    quality_results,
    quality_runs,
)
from enerflo_sync.warehouse.schema.columns import (
    MIRROR_SCHEMA,
    OWN_SCHEMAS,
    SYNC_SCHEMA,
    VERSION_TABLE,
    kind_of_column,
    metadata,
    personal_data_of,
)
from enerflo_sync.warehouse.schema.comparison import (
    crm_copies,
    crm_looks,
    crm_rows,
    differences,
    reconciliations,
)
from enerflo_sync.warehouse.schema.inbox import webhook_events, webhook_moves
from enerflo_sync.warehouse.schema.mirror import (
    change_order_adders,
    change_orders,
    companies_seen,
    customers,
    declared_columns,
    install_statuses,
    install_versions,
    installs,
    milestones,
    notes,
    quarantine,
    submissions,
    witnesses,
)
from enerflo_sync.warehouse.schema.notifications import notifications, told
from enerflo_sync.warehouse.schema.plans import (
    crm_changes,
    ledger,
    plan_changes,
    plan_undecided,
    plans,
    refusals,
    retries,
    reveals,
)
from enerflo_sync.warehouse.schema.retention import forgotten, pruned_versions, prunings
from enerflo_sync.warehouse.schema.runs import api_calls, request_budgets, request_slots, runs, watermarks
from enerflo_sync.warehouse.schema.seals import ledger_seals

__all__ = [
    "MIRROR_SCHEMA",
    "OWN_SCHEMAS",
    "SYNC_SCHEMA",
    "VERSION_TABLE",
    "agreed",
    "agreed_keys",
    "agreed_twins",
    "api_calls",
    "backfill_chunks",
    "backfill_pages",
    "backfills",
    "change_order_adders",
    "change_order_facts",
    "change_orders",
    "companies_seen",
    "crm_changes",
    "crm_copies",
    "crm_looks",
    "crm_rows",
    "customers",
    "declared_columns",
    "differences",
    "forgotten",
    "install_statuses",
    "install_versions",
    "installs",
    "kind_of_column",
    "ledger",
    "ledger_seals",
    "life_cycle_findings",
    "life_cycle_installs",
    "life_cycle_runs",
    "metadata",
    "milestones",
    "notes",
    "notifications",
    "own_writes",
    "personal_data_of",
    "plan_changes",
    "plan_undecided",
    "plans",
    "pruned_versions",
    "prunings",
    "quality_results",
    "quality_runs",
    "quarantine",
    "reconciliations",
    "refusals",
    "request_budgets",
    "request_slots",
    "retries",
    "reveals",
    "runs",
    "submissions",
    "told",
    "watermarks",
    "webhook_events",
    "webhook_moves",
    "witnesses",
]
