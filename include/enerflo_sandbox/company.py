"""The records of the simulated company: built from the seed, read, rendered, and what is true of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import render
from enerflo_sandbox.bad_records import HOPELESS, BadKind, spoil
from enerflo_sandbox.books import ChangeOrderBook, CustomerBook, InstallBook, NoteBook
from enerflo_sandbox.changes import Change, ChangeKind, Origin
from enerflo_sandbox.draw import aware, moment_of
from enerflo_sandbox.order_plants import PlantedOrder
from enerflo_sandbox.plants import NO_PLANTS, Plant, PlantPlan, choose_plants
from enerflo_sandbox.seeded import Era
from enerflo_sandbox.state import AppointmentState, CustomerState, InstallState, NoteState
from enerflo_sandbox.truth import Truth
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sync.clock import Clock

# The history ends here whatever the machine's date, so that one seed is one company on every day.
DEFAULT_START = datetime(2025, 1, 6, tzinfo=UTC)


class UnknownRecordError(LookupError):
    """The company has no such record: the caller named an id that does not exist or was deleted."""


@dataclass(frozen=True, slots=True)
class Received:
    """One write that arrived by the API, applied or not; ``path`` has no trailing slash."""

    at: datetime
    method: str
    path: str
    body: object


class Company:
    """All records of a company, and the log of what happened to them; ``World`` makes things happen."""

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
        if installs < 0:
            raise ValueError(f"a company needs 0 or more installs, got {installs}")
        self.lock = threading.RLock()
        self.clock: Clock = clock if clock is not None else VirtualClock(start)
        self.era = Era(seed, installs, moment_of(start))
        self.installs = InstallBook(self.era)
        self.customers = CustomerBook(self.era, self.installs)
        self.notes = NoteBook(self.era, self.installs)
        self.change_orders = ChangeOrderBook(self.era, self.installs)
        self.appointments: list[AppointmentState] = []
        self.bad: dict[int, BadKind] = {}
        self.changes: list[Change] = []
        # Each is called with every change at the moment it happens, under the lock.
        self.listeners: list[Callable[[Change], None]] = []
        self.received: list[Received] = []
        # By id, once World.plant_orders has put them there.
        self.planted_orders: dict[int, PlantedOrder] = {}
        self.truth = Truth(self)
        self._rendered: dict[int, tuple[bytes, ...]] = {}
        self.cached_records = cached_records
        self.plants: PlantPlan = choose_plants(self, per_cause) if per_cause else NO_PLANTS
        for number in self.plants.installs.get(Plant.VOIDED, ()):
            self.installs.edit(number).status_id = c.VOIDED
        for at, number in enumerate(self.plants.installs.get(Plant.QUARANTINED, ())):
            self.bad[number] = HOPELESS[at % len(HOPELESS)]

    def now(self) -> datetime:
        """Return the company's present moment, aware UTC."""
        return self.clock.now()

    def moment(self) -> int:
        """Return the company's present moment as whole epoch seconds."""
        return moment_of(self.clock.now())

    def install_id(self, number: int) -> int:
        """Return the id of install ``number``."""
        return self.installs.get(number).install_id

    def status_name(self, status_id: int) -> str:
        """Return a status's name, also of the one that the status endpoint does not list."""
        return c.STATUSES.get(status_id, c.UNLISTED_STATUS_NAME)

    def rendered(self, number: int) -> bytes:
        """Return the JSON of install ``number`` with its volatile marks in place (``render``)."""
        return b"".join(self.pieces(number))

    def pieces(self, number: int) -> tuple[bytes, ...]:
        """Return what :meth:`rendered` does, cut at the marks."""
        pieces = self._rendered.get(number)
        if pieces is None:
            pieces = render.pieces_of(self._render(number))
            if len(self._rendered) < self.cached_records:
                self._rendered[number] = pieces
        return pieces

    def _render(self, number: int) -> bytes:
        state = self.installs.get(number)
        customer = self.customers.get(state.customer_id)
        record = render.install_record(state, customer, self.status_name(state.status_id))
        kind = self.bad.get(number)
        return render.encode(record) if kind is None else spoil(record, kind)

    def number_of(self, install_id: int) -> int:
        """Return the number of a live install.

        :raises UnknownRecordError: when there is none with this id.
        """
        number = self.installs.number_of(install_id)
        if number is None:
            raise UnknownRecordError(f"no install {install_id} in this company")
        return number

    def customer(self, customer_id: int) -> CustomerState:
        """Return a customer or lead.

        :raises UnknownRecordError: when there is none with this id.
        """
        if not self.customers.exists(customer_id):
            raise UnknownRecordError(f"no customer {customer_id} in this company")
        return self.customers.get(customer_id)

    def _stamp(self) -> datetime:
        stamp = aware(self.moment())
        if stamp is None:
            raise AssertionError("a moment is a number")
        return stamp

    def _log(
        self,
        kind: ChangeKind,
        state: InstallState,
        *,
        milestone_id: int | None = None,
        change_order_id: int | None = None,
        origin: Origin = Origin.COMPANY,
        detail: dict[str, object] | None = None,
    ) -> None:
        change = Change(
            kind,
            self._stamp(),
            state.install_id,
            state.deal_id,
            state.customer_id,
            milestone_id=milestone_id,
            change_order_id=change_order_id,
            origin=origin,
            detail=detail or {},
        )
        self._happened(change)

    def _log_note(self, kind: ChangeKind, note: NoteState, origin: Origin = Origin.COMPANY) -> None:
        state = self.installs.get(note.install_number)
        self._happened(
            Change(kind, self._stamp(), state.install_id, state.deal_id, note_id=note.note_id, origin=origin)
        )

    def _log_customer(
        self, kind: ChangeKind, customer_id: int, origin: Origin, detail: dict[str, object]
    ) -> None:
        self._happened(Change(kind, self._stamp(), customer_id=customer_id, origin=origin, detail=detail))

    def _happened(self, change: Change) -> None:
        self.changes.append(change)
        for listener in self.listeners:
            listener(change)
