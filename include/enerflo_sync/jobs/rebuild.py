"""Rebuild: derive the mirror again from stored data."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.mirror.poll import Progress
from enerflo_sync.rebuild.condition import read_condition
from enerflo_sync.rebuild.rebuild import rebuild
from enerflo_sync.rebuild.report import RebuildReport
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.revision import require_migrated


def run_rebuild(
    context: AccountContext,
    *,
    tables: Sequence[RebuildTable] = (),
    where: str | None = None,
    write: bool = False,
    fills: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> RebuildReport:
    """Derive the mirror again from stored data (:func:`enerflo_sync.rebuild.rebuild.rebuild`).

    Never reads Enerflo, and writes nothing unless ``write`` is set.

    :param tables: tables to derive; empty means all that can be derived.
    :param where: a condition on the mirror's installs.
    :param fills: see :func:`enerflo_sync.rebuild.rebuild.rebuild`.
    """
    condition = None if where is None else read_condition(where)
    require_migrated(context.engine)
    return rebuild(
        context.engine,
        context.account,
        clock=context.clock,
        rng=context.rng,
        tables=tables or tuple(RebuildTable),
        condition=condition,
        write=write,
        fills=fills,
        component_keys=ComponentKeys(**context.config.change_orders.model_dump()),
        run_id=run_id,
        progress=progress,
    )
