"""A plan as typed objects: its counts, its changes, and what it leaves to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class PlanState(StrEnum):
    """Where a plan stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    APPLIED = "applied"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change: a field of a row that is written, or a row that is deleted (``field`` is None)."""

    position: int
    table_name: str
    key: Mapping[str, Any]
    op: str
    field: str | None
    before: Any
    after: Any
    direction: str
    policy: str
    cause: str
    rule: str
    state: str
    reason: str | None = None


class Undecided(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan leaves to a person, and why; or, with a ``refusal_id``, what a person refused before."""

    table_name: str
    key: Mapping[str, Any]
    field: str | None
    enerflo_value: Any
    crm_value: Any
    cause: str
    reason: str
    refusal_id: int | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that do the same: to one side of one table, by one operation."""

    table_name: str
    direction: str
    op: str
    rows: int
    changes: int
    fields: Mapping[str, int]


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """A plan without its changes, which may be many (:func:`read_changes`).

    ``kept`` counts differences that stay as they are, by reason, and ``refused`` those of them that a person
    refused; ``states`` the changes by state, where they were counted; ``from_backfills`` the changes whose
    value a backfill has brought in. ``notes`` counts the installs that are completed while something is open,
    by what is. ``part`` is 2 for the plan that waits beside one that waits for nobody.
    ``decided_as`` is the database's user of the decision, whatever name was given. ``first_approved_by`` is
    the first of two persons, where two have to approve it; ``decided_by`` then names both.
    """

    plan_hash: str
    account: str
    kind: str
    state: PlanState
    mode: str
    created_at: datetime
    expires_at: datetime
    config_hash: str
    stands_on: str | None
    change_count: int
    needs_approval: bool
    reasons: Sequence[str]
    groups: Sequence[Group]
    undecided: Mapping[str, int]
    kept: Mapping[str, int]
    states: Mapping[str, int]
    from_backfills: int = 0
    refused: Mapping[str, int] = msgspec.field(default_factory=dict)
    part: int = 1
    applied_at: datetime | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    decided_as: str | None = None
    decision_reason: str | None = None
    first_approved_by: str | None = None
    first_approved_at: datetime | None = None
    notes: Mapping[str, int] = {}

    @property
    def waits_for_approval(self) -> bool:
        """Return whether a person has to decide before anything of it is applied."""
        return self.needs_approval and self.state is PlanState.OPEN

    @property
    def asks_a_person(self) -> bool:
        """Return whether it waits for a decision that may be made now: in report mode nobody is asked."""
        return self.waits_for_approval and self.mode != "report"

    def count(self, direction: str) -> int:
        """Return the number of changes in a direction."""
        return sum(group.changes for group in self.groups if group.direction == direction)
