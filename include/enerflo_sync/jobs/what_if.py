"""What-if: show the effect of another mapping, without writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.plan.what_if import WhatIf, what_if
from enerflo_sync.warehouse.revision import require_migrated


def run_what_if(
    context: AccountContext,
    file: Path,
    environ: Mapping[str, str],
    *,
    days: int = 30,
    progress: Callable[[str, int, int], None] | None = None,
) -> WhatIf:
    """Return the effect of the configuration in ``file`` (:func:`enerflo_sync.plan.what_if.what_if`).

    :param environ: fills the variables of ``file``.
    """
    new = load_config(file, environ)
    # The file is meant to be rolled out for all accounts, so each of them must be usable.
    new.require_all()
    require_migrated(context.engine)
    return what_if(context.engine, context.config, new, context.account, days=days, progress=progress)
