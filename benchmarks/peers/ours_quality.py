"""Ours: the checks of change orders, as ``enerflo-sync quality`` runs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.jobs import ChecksJob
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.quality import run_quality


def run(job: ChecksJob) -> dict[str, Any]:
    """Check what is new or changed, and have Great Expectations count what it did not count yet."""
    # As with enerflo-sync[quality] alone: pandas would load it, and only other parts need it.
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    context = open_account("default", {"WAREHOUSE_URL": job.database_url}, Path(job.config_path))
    report = run_quality(context, with_life_cycle=False)
    context.close()
    return {"checked": report.checked, "held": report.held, "not_validated": report.not_validated}
