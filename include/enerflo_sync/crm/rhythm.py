"""How often changes may start a job of an account."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class Rhythm(Options):
    """The least time between two runs that changes start; what changes meanwhile is gathered for the next.

    The first change after a quiet time is not delayed. A run that a person or the clock starts is not
    counted, but waits for one that gathers.
    """

    reconcile_seconds: int = Field(
        60, ge=0, le=3_600, description="Between the starts of two reconciliations; 0 for none."
    )
    plan_seconds: int = Field(
        0, ge=0, le=3_600, description="Between the starts of two plans; 0: one for each reconciliation."
    )
