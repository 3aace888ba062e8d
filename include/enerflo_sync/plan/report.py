"""A plan as typed objects: its counts, its changes and its questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class PlanState(StrEnum):
    """The state of a plan."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    APPLIED = "applied"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


# States of changes that an apply decided about.
_CARRIED_OUT = frozenset({"applied", "handed_over", "moved", "parked"})


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
    """A question of the plan and its reason; with a ``refusal_id``, a change that was refused before."""

    table_name: str
    key: Mapping[str, Any]
    field: str | None
    enerflo_value: Any
    crm_value: Any
    cause: str
    reason: str
    refusal_id: int | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to one side of one table by one operation, counted together."""

    table_name: str
    direction: str
    op: str
    rows: int
    changes: int
    fields: Mapping[str, int]


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """A plan without its changes, which may be many (:func:`.reads.read_changes`).

    ``kept`` counts by reason the differences that stay as they are, and ``refused`` the changes that a person
    refused before. ``states`` counts the changes by state, if they were counted. ``from_backfills`` counts
    the changes whose value a backfill loaded. ``notes`` counts the installs that are completed while
    milestones are still open, by a text such as "1 milestone is still open". ``part`` is 2 for a plan that
    waits for a person beside one of the same round that does not wait. ``decided_as`` is the database user
    who recorded the decision, whatever person was named. ``first_approved_by`` is the first of two persons if
    two have to approve the plan; ``decided_by`` then names both.
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
        """Return whether the plan waits for a person's decision before any change is applied."""
        return self.needs_approval and self.state is PlanState.OPEN

    @property
    def asks_a_person(self) -> bool:
        """Return whether a person may decide about the plan now: in report mode nobody is asked."""
        return self.waits_for_approval and self.mode != "report"

    @property
    def rest_rejected(self) -> bool:
        """Return whether a part of the plan was carried out, and a person rejected all that was left of it.

        Of a plan whose changes were not counted by state, only whether a part was applied.
        """
        if self.decided_by is None or not self.change_count:
            return False
        if self.state is PlanState.APPLIED:
            return self.applied_at is None
        return self.state is PlanState.REJECTED and not _CARRIED_OUT.isdisjoint(self.states)

    def count(self, direction: str) -> int:
        """Return the number of changes in a direction."""
        return sum(group.changes for group in self.groups if group.direction == direction)
