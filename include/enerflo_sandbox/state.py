"""The mutable state of one record of the company: compact, so that 200,000 installs stay affordable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from enerflo_sandbox.catalogue import MILESTONES


@dataclass(slots=True)
class MilestoneDates:
    """The dates of one milestone on one install, epoch seconds or None."""

    started: int | None = None
    due: int | None = None
    completed: int | None = None


@dataclass(slots=True)
class InstallState:
    """One install; times are epoch seconds, money is cents, power is watts.

    ``blank_root`` is the vendor's quirk: 0 at the root while ``survey`` has the value (REFERENCE.md §6.1).
    """

    number: int
    install_id: int
    customer_id: int
    deal_id: str
    survey_id: int
    created: int
    updated: int
    status_id: int
    office: int | None
    agent: int | None
    setter: int
    panel: int
    panel_count: int
    watts: int
    inverter: int
    battery: str | None
    has_equipment: bool
    cost_cents: int | None
    blank_root: bool
    milestones: list[MilestoneDates]

    @property
    def current_milestone(self) -> int | None:
        """Return the position of the first milestone under way, or None when there is none."""
        for at, dates in enumerate(self.milestones):
            if dates.started is not None and dates.completed is None:
                return at
        return None

    @property
    def is_finished(self) -> bool:
        """Return True when every milestone has a completion date."""
        return all(self.milestones[at].completed is not None for at in range(len(MILESTONES)))


@dataclass(slots=True)
class Deal:
    """A deal of a customer; it becomes an install when the contract is signed."""

    deal_id: str
    survey_id: int
    name: str
    install_id: int | None = None


@dataclass(slots=True)
class CustomerState:
    """One customer or lead; a lead is unconverted until it has an install."""

    customer_id: int
    number: int
    first_name: str
    last_name: str
    email: str | None
    mobile: str | None
    address: str
    city: str
    state: str
    zip: str
    lat: str
    lng: str
    external_id: str | None
    lead_source: str
    status_id: int
    status_name: str
    created: int
    updated: int
    office: int
    owner: int
    setter: int
    deals: list[Deal] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return first and last name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def is_converted(self) -> bool:
        """Return True once one of the deals is an install."""
        return any(deal.install_id is not None for deal in self.deals)


@dataclass(frozen=True, slots=True)
class AppointmentState:
    """One appointment of a customer; times are epoch seconds."""

    appointment_id: int
    customer_id: int
    type_id: int
    start: int
    end: int


@dataclass(slots=True)
class NoteState:
    """One install note; a soft deletion sets ``deleted`` (REFERENCE.md §6.3)."""

    note_id: int
    install_number: int
    author_id: int
    text: str
    created: int
    deleted: int | None = None


@dataclass(frozen=True, slots=True)
class Adder:
    """An extra on one side of a change order; ``cost`` is whole units of the account's currency."""

    adder_id: int
    name: str
    cost: int
    quantity: int
    active: bool = True


@dataclass(slots=True)
class ChangeOrderState:
    """One change order; a pair is (old, new) and None where the order does not touch it; cost is cents.

    :param spoil: changes the record as it is shown, in place, to what the fields above cannot say.
    """

    change_order_id: int
    install_number: int
    creator_id: int
    status: str
    created: int
    updated: int
    signed: int | None
    panel: tuple[str, str] | None
    panel_count: tuple[int, int] | None
    battery: tuple[str | None, str | None] | None
    adders_old: tuple[Adder, ...]
    adders_new: tuple[Adder, ...]
    total_cost_old: int
    spoil: Callable[[dict[str, Any]], object] | None = None

    @property
    def total_change(self) -> int:
        """Return what the order adds to the contract, in whole units: new adders less old ones."""
        new = sum(adder.cost * adder.quantity for adder in self.adders_new)
        return new - sum(adder.cost * adder.quantity for adder in self.adders_old)
