"""How often changes may start a job of an account."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class Rhythm(Options):
    """The least time between two runs that changes start; the next run covers the changes meanwhile.

    The first change after a quiet time starts a run at once. A run that a person or the schedule starts does
    not count, but waits for a run that collects changes.
    """

    reconcile_seconds: int = Field(
        60, ge=0, le=3_600, description="Between the starts of two reconciliations; 0 for none."
    )
    plan_seconds: int = Field(
        0, ge=0, le=3_600, description="Between the starts of two plans; 0: one for each reconciliation."
    )
