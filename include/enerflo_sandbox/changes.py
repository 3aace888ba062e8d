"""What can happen in the company, as values: the webhook emitter and the tests read these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ChangeKind(StrEnum):
    """The kinds of thing that happen to a company's records."""

    NEW_INSTALL = "new_install"
    INSTALL_VOIDED = "install_voided"
    INSTALL_RESUBMITTED = "install_resubmitted"
    INSTALL_DELETED = "install_deleted"
    # To another customer.
    INSTALL_GIVEN = "install_given"
    STATUS_CHANGED = "status_changed"
    MILESTONE_CHANGED = "milestone_changed"
    NOTE_CREATED = "note_created"
    NOTE_EDITED = "note_edited"
    NOTE_DELETED = "note_deleted"
    CHANGE_ORDER_SIGNED = "change_order_signed"
    NEW_CUSTOMER = "new_customer"
    CUSTOMER_EDITED = "customer_edited"


class Origin(StrEnum):
    """Who made a change: the company's own people, or a caller of the REST API (whose echo comes back)."""

    COMPANY = "company"
    API = "api"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened.

    :param at: the moment, aware UTC, whole seconds.
    :param detail: further plain values, such as the status before and after.
    """

    kind: ChangeKind
    at: datetime
    install_id: int | None = None
    deal_id: str | None = None
    customer_id: int | None = None
    milestone_id: int | None = None
    note_id: int | None = None
    change_order_id: int | None = None
    origin: Origin = Origin.COMPANY
    detail: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the change as plain JSON values, without the ids it does not have."""
        ids = {
            "install_id": self.install_id,
            "deal_id": self.deal_id,
            "customer_id": self.customer_id,
            "milestone_id": self.milestone_id,
            "note_id": self.note_id,
            "change_order_id": self.change_order_id,
        }
        present = {name: value for name, value in ids.items() if value is not None}
        head = {"kind": self.kind.value, "at": self.at.isoformat(), "origin": self.origin.value}
        return {**head, **present, "detail": dict(self.detail)}
