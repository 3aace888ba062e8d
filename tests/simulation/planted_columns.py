"""Planted defects of how a column is filled that sync.yaml declares while jobs run.

The verdict ``few_matched`` of a reconciliation has none: no course of events leads to it. Most rows of a table meet
nothing where the table's key in sync.yaml is wrong, and the verdict is given from 20 rows on each side, which these
companies have of milestones alone. No job decides by it, so nothing that must hold would break.
tests/reconcile/render/test_verdict.py shows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from enerflo_sandbox.emitter import Mess
from enerflo_sync.mirror.declared import AsDeclared
from enerflo_sync.rebuild import records
from tests.simulation.plan import Plan
from tests.simulation.planted import BOTH_WAYS, Plant
from tests.simulation.shapes import Shape
from tests.simulation.troubles import Trouble


def filled_is_seen_anew(patch: pytest.MonkeyPatch) -> None:
    """Rows whose declared column is filled count as seen when they were filled."""
    shape = records._shape
    patch.setattr(
        records,
        "_shape",
        lambda part, *, fills, versioned=False: shape(part, fills=False, versioned=versioned),
    )


def reader_of_the_beginning(patch: pytest.MonkeyPatch) -> None:
    """A poll or ingest reads all its records with the columns that were declared when it read the first."""
    now = AsDeclared.now
    first: dict[AsDeclared, Any] = {}

    def as_it_began(self: AsDeclared, connection: Any, account: str) -> Any:
        return first.setdefault(self, now(self, connection, account))

    patch.setattr(AsDeclared, "now", as_it_began)


_DECLARED = replace(
    BOTH_WAYS,
    installs=8,
    per_page=5,
    poll_every=1,
    restless=0.05,
    shape=Shape(lender=True),
    troubles={Trouble.DECLARED_COLUMN: 1.0},
)
OF_COLUMNS: tuple[tuple[Plant, Plan, int], ...] = (
    (filled_is_seen_anew, replace(_DECLARED, mess=Mess(loss=1.0)), 50),
    (reader_of_the_beginning, _DECLARED, 50),
)
