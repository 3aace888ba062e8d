"""The simulated company, alive: what may be done to its records, by its people, by callers and by time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.changes import Change, ChangeKind, Origin
from enerflo_sandbox.company import DEFAULT_START, Company, Received, UnknownRecordError
from enerflo_sandbox.draw import moment_of
from enerflo_sandbox.life import Life
from enerflo_sandbox.order_plants import finish_orders, plant_orders
from enerflo_sandbox.order_site import SIGNED
from enerflo_sandbox.seeded import deal_uuid
from enerflo_sandbox.state import ChangeOrderState, Deal, InstallState, NoteState
from enerflo_sync.clock import Clock

__all__ = ["DEFAULT_START", "Received", "UnknownRecordError", "World"]


class World(Company):
    """A company that follows from ``installs`` and ``seed``; the same arguments give the same bytes.

    Callers that read and write from several threads hold ``lock`` around a consistent set of calls; every
    method that changes something takes it by itself.

    :param installs: number of installs in the history, >= 0.
    :param start: the moment at which the history ends, aware. Not later than the clock's present moment.
    :param clock: the company's time; without one, a virtual clock that stands at ``start`` until ``step``.
    :param per_cause: how many planted differences of each cause the company takes part in (``PlantPlan``).
    :param cached_records: how many rendered installs are kept, about 5 KB each; the rest is made on demand.
    """

    def __init__(
        self,
        installs: int,
        seed: int,
        start: datetime = DEFAULT_START,
        *,
        clock: Clock | None = None,
        per_cause: int = 0,
        cached_records: int = 60_000,
    ) -> None:
        super().__init__(
            installs, seed, start, clock=clock, per_cause=per_cause, cached_records=cached_records
        )
        self._life = Life(self)

    # -- what happens to installs -------------------------------------------------------------------------

    def create_install(self) -> int:
        """Add an install with its own customer, as when a contract is signed, and return its id."""
        with self.lock:
            state = self.installs.add(self.moment())
            customer = self.customers.edit(state.customer_id)
            customer.created = customer.updated = state.created
            self._begin(state)
            return state.install_id

    def sign_deal(self, customer_id: int) -> int:
        """Turn the first open deal of a lead into an install and return the install's id.

        :raises UnknownRecordError: when the lead or an open deal of it does not exist.
        """
        with self.lock:
            deal = next((d for d in self.customer(customer_id).deals if d.install_id is None), None)
            if deal is None:
                raise UnknownRecordError(f"customer {customer_id} has no open deal")
            state = self.installs.add(self.moment())
            self.customers.never_born(state.customer_id)
            state.customer_id, state.deal_id, state.survey_id = customer_id, deal.deal_id, deal.survey_id
            self.installs.link_deal(deal.deal_id, state.number)
            customer = self.customers.edit(customer_id)
            signed = next(d for d in customer.deals if d.deal_id == deal.deal_id)
            signed.install_id = state.install_id
            customer.status_id, customer.status_name = c.SIGNED_CUSTOMER
            customer.updated = self.moment()
            self._begin(state)
            return state.install_id

    def _begin(self, state: InstallState) -> None:
        state.status_id = c.IN_PROGRESS
        state.milestones[0].started = state.created
        self._log(ChangeKind.NEW_INSTALL, state)

    def set_status(self, install_id: int, status_id: int, *, origin: Origin = Origin.COMPANY) -> None:
        """Give an install another status; the same status again changes nothing."""
        with self.lock:
            state = self._edit(install_id)
            before = self.status_name(state.status_id)
            if state.status_id == status_id:
                return
            state.status_id = status_id
            kind = ChangeKind.INSTALL_VOIDED if status_id == c.VOIDED else ChangeKind.STATUS_CHANGED
            detail = {"status_before": before, "status": self.status_name(status_id), "status_id": status_id}
            self._touch(state)
            self._log(kind, state, origin=origin, detail=detail)

    def give_install(self, install_id: int, customer_id: int) -> None:
        """Give an install to another customer, as when two turn out to be one; no event tells of it."""
        with self.lock:
            self.customer(customer_id)
            state = self._edit(install_id)
            before, after = (self.customers.edit(one) for one in (state.customer_id, customer_id))
            given = [deal for deal in before.deals if deal.install_id == install_id]
            before.deals = [deal for deal in before.deals if deal not in given]
            after.deals = [*after.deals, *given]
            state.customer_id = customer_id
            self._touch(state)
            self._log(ChangeKind.INSTALL_GIVEN, state)

    def void_install(self, install_id: int) -> None:
        """Give an install the status Voided."""
        self.set_status(install_id, c.VOIDED)

    def resubmit_install(self, install_id: int, *, panel_count: int | None = None) -> None:
        """Sign a voided install again: In progress, with a new panel count where one is given."""
        with self.lock:
            state = self._edit(install_id)
            state.status_id = c.IN_PROGRESS
            if panel_count is not None:
                self._set_panel_count(state, panel_count)
            self._touch(state)
            self._log(ChangeKind.INSTALL_RESUBMITTED, state)

    def delete_install(self, install_id: int) -> None:
        """Delete an install: it and its notes and change orders vanish from every answer, find gives 404."""
        with self.lock:
            number = self.number_of(install_id)
            state = self.installs.get(number)
            self.installs.delete(number)
            self.notes.forget_install(number)
            self._rendered.pop(number, None)
            self._log(ChangeKind.INSTALL_DELETED, state)

    def set_milestone(
        self,
        install_id: int,
        milestone_id: int,
        dates: dict[str, datetime | None],
        *,
        origin: Origin = Origin.COMPANY,
    ) -> None:
        """Set dates of one milestone of an install.

        :param milestone_id: the definition's id.
        :param dates: any of ``started``, ``due``, ``completed``; others stay as they are.
        :raises UnknownRecordError: when the install or the definition does not exist.
        """
        with self.lock:
            state = self._edit(install_id)
            at = c.MILESTONE_POSITION.get(milestone_id)
            if at is None:
                raise UnknownRecordError(f"no milestone {milestone_id} in this company")
            for name, value in dates.items():
                setattr(state.milestones[at], name, None if value is None else moment_of(value))
            self._touch(state)
            detail: dict[str, object] = {n: value and value.isoformat() for n, value in dates.items()}
            kind = ChangeKind.MILESTONE_CHANGED
            self._log(kind, state, milestone_id=milestone_id, origin=origin, detail=detail)

    def sign_change_order(self, order: ChangeOrderState) -> None:
        """Hold a signed change order and give its install what it says."""
        with self.lock:
            state = self._edit(self.install_id(order.install_number))
            self.change_orders.add(order)
            if order.panel is not None:
                state.panel = next(at for at, panel in enumerate(c.PANELS) if panel.name == order.panel[1])
            self._set_panel_count(state, order.panel_count[1] if order.panel_count else state.panel_count)
            if order.battery is not None and state.has_equipment:
                state.battery = order.battery[1]
            if state.cost_cents is not None:
                state.cost_cents += order.total_change * 100
            self._touch(state)
            self._log(ChangeKind.CHANGE_ORDER_SIGNED, state, change_order_id=order.change_order_id)

    def plant_orders(self) -> int:
        """Give installs of the history the declared good and bad change orders, and return how many orders.

        A company too small for them (fewer than about 80 installs, and 25 more for each ``per_cause``) gets
        none. ``truth.change_orders`` leaves them out, and the company's life leaves their installs alone.
        """
        with self.lock:
            for order, state in plant_orders(self):
                self.planted_orders[order.change_order_id] = order
                self._rendered.pop(state.number, None)
                self._log_order(order.change_order_id, state)
            return len(self.planted_orders)

    def finish_orders(self) -> int:
        """Give the planted orders whose fault lies in their history the next status; return how many."""
        with self.lock:
            finished = finish_orders(self)
            for order, state in finished:
                self._log_order(order.change_order_id, state)
            return len(finished)

    def _log_order(self, change_order_id: int, state: InstallState) -> None:
        """Log an order that is called signed; of any other Enerflo sends no event."""
        order = self.change_orders.get(change_order_id)
        if order is not None and order.status == SIGNED:
            self._log(ChangeKind.CHANGE_ORDER_SIGNED, state, change_order_id=change_order_id)

    def set_unlisted_status(self, install_id: int) -> None:
        """Give an install a status that the status endpoint does not list."""
        self.set_status(install_id, c.UNLISTED_STATUS_ID)

    def plant_bad(self, install_id: int, kind: BadKind) -> None:
        """Serve an install's record spoilt from now on; ``truth.installs`` leaves it out."""
        with self.lock:
            number = self.number_of(install_id)
            self.bad[number] = kind
            self._rendered.pop(number, None)

    def mend(self, install_id: int) -> None:
        """Serve an install's record right again."""
        with self.lock:
            number = self.number_of(install_id)
            self.bad.pop(number, None)
            self._rendered.pop(number, None)

    # -- what happens to notes and customers ---------------------------------------------------------------

    def add_note(
        self, install_id: int, text: str, *, author_id: int | None = None, origin: Origin = Origin.COMPANY
    ) -> int:
        """Add a note to an install and return the note's id."""
        with self.lock:
            number = self.number_of(install_id)
            author = c.USERS[0].user_id if author_id is None else author_id
            note = self.notes.add(self.moment(), number, author, text)
            self._log_note(ChangeKind.NOTE_CREATED, note, origin)
            return note.note_id

    def edit_note(self, note_id: int, text: str) -> None:
        """Replace a note's text; its ``created_at`` stays, so ``created_after`` never shows the edit."""
        with self.lock:
            note = self._edit_note(note_id)
            note.text = text
            self._log_note(ChangeKind.NOTE_EDITED, note)

    def delete_note(self, note_id: int) -> None:
        """Delete a note softly: it stays in answers with ``deleted_at`` (REFERENCE.md §6.3)."""
        with self.lock:
            note = self._edit_note(note_id)
            note.deleted = self.moment()
            self._log_note(ChangeKind.NOTE_DELETED, note)

    def edit_customer(
        self, customer_id: int, values: dict[str, object], *, origin: Origin = Origin.COMPANY
    ) -> None:
        """Set fields of a customer by the names of ``CustomerState``; installs show the new values too."""
        with self.lock:
            self.customer(customer_id)
            customer = self.customers.edit(customer_id)
            before = {name: getattr(customer, name) for name in values}
            for name, value in values.items():
                setattr(customer, name, value)
            customer.updated = self.moment()
            for deal in customer.deals:
                number = self.installs.number_of(deal.install_id) if deal.install_id is not None else None
                self._rendered.pop(-1 if number is None else number, None)
            detail: dict[str, object] = {"fields": sorted(values), "before": before}
            self._log_customer(ChangeKind.CUSTOMER_EDITED, customer_id, origin, detail)

    def add_lead(
        self, values: dict[str, object], external_id: str | None, *, origin: Origin = Origin.COMPANY
    ) -> int:
        """Add a lead with the given fields of ``CustomerState`` and return its customer id."""
        with self.lock:
            lead = self.customers.add_lead(self.moment(), external_id)
            lead.email = lead.mobile = None
            lead.lead_source = ""
            lead.status_id, lead.status_name = c.CUSTOMER_STATUSES[0]
            for name, value in values.items():
                setattr(lead, name, value)
            self._log_customer(ChangeKind.NEW_CUSTOMER, lead.customer_id, origin, {"fields": sorted(values)})
            return lead.customer_id

    def add_deal(self, customer_id: int) -> Deal:
        """Open a deal for a customer and return it."""
        with self.lock:
            self.customer(customer_id)
            customer = self.customers.edit(customer_id)
            number = customer.number * 64 + len(customer.deals)
            deal_id = deal_uuid(self.era.seed, "lead", number)
            deal = Deal(deal_id, 3_200_001 + number, f"{customer.last_name} residence")
            customer.deals.append(deal)
            customer.updated = self.moment()
            return deal

    # -- time ---------------------------------------------------------------------------------------------

    def step(
        self, minutes: float = 15, events: int | None = None, kinds: Sequence[ChangeKind] | None = None
    ) -> list[Change]:
        """Let ``minutes`` pass with their plausible changes and return the changes, oldest first.

        On a virtual clock the time passes; on the machine's clock the changes happen at the present moment.
        Planted records are left alone. The n-th step of a seed does the same in every run.

        :param events: how many changes; without it, about 2 % of the installs a day, one at least.
        :param kinds: the kinds to choose from; all where absent.
        """
        with self.lock:
            before = len(self.changes)
            self._life.step(minutes, events, kinds)
            return self.changes[before:]

    # -- inside -------------------------------------------------------------------------------------------

    def _edit(self, install_id: int) -> InstallState:
        return self.installs.edit(self.number_of(install_id))

    def _edit_note(self, note_id: int) -> NoteState:
        position = self.notes.position_of(note_id)
        if position is None:
            raise UnknownRecordError(f"no note {note_id} in this company")
        return self.notes.edit(position)

    def _touch(self, state: InstallState) -> None:
        state.updated = max(state.updated, self.moment())
        self._rendered.pop(state.number, None)

    @staticmethod
    def _set_panel_count(state: InstallState, panel_count: int) -> None:
        state.panel_count = panel_count
        state.watts = panel_count * c.PANELS[state.panel].watts
