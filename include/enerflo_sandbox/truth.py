"""What the company knows, row by row in the columns of the mirror, for comparing the mirror with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.draw import aware
from enerflo_sandbox.state import Adder, ChangeOrderState, InstallState

if TYPE_CHECKING:
    from enerflo_sandbox.company import Company


class InstallRow(NamedTuple):
    """Columns of ``enerflo.installs``."""

    install_id: int
    deal_id: str
    survey_id: str
    customer_name: str
    customer_id: int
    company_id: int
    status_id: int
    status_name: str
    current_milestone: str | None
    office_name: str | None
    agent_name: str | None
    system_size_kw: Decimal
    panel_type: str | None
    panel_count: int
    battery_configuration: str | None
    contract_amount: Decimal | None
    created_at: datetime | None
    updated_at: datetime | None


class MilestoneRow(NamedTuple):
    """Columns of ``enerflo.milestones``; one row per definition, its dates null until it is under way."""

    install_id: int
    milestone_id: int
    title: str
    sequence: int
    started_at: datetime | None
    due_at: datetime | None
    completed_at: datetime | None


class NoteRow(NamedTuple):
    """Columns of ``enerflo.notes``."""

    note_id: int
    install_id: int
    author_id: int
    body: str
    created_at: datetime | None
    deleted_at: datetime | None


class CustomerRow(NamedTuple):
    """Columns of ``enerflo.customers``."""

    customer_id: int
    first_name: str
    last_name: str
    email: str | None
    mobile: str | None
    address: str
    city: str
    state: str
    zip: str
    integration_record_id: str | None
    status_name: str
    created_at: datetime | None
    updated_at: datetime | None


class ChangeOrderRow(NamedTuple):
    """Columns of ``enerflo.change_orders``; ``total_change`` = new adders less old ones."""

    change_order_id: int
    install_id: int
    status: str
    signed_at: datetime | None
    panel_type_old: str | None
    panel_type_new: str | None
    panel_count_old: int | None
    panel_count_new: int | None
    battery_old: str | None
    battery_new: str | None
    total_change: Decimal


class AdderRow(NamedTuple):
    """Columns of ``enerflo.change_order_adders``; side is ``old`` or ``new``."""

    change_order_id: int
    adder_id: str
    side: str
    name: str
    cost: Decimal
    quantity: int
    active: bool


class StatusRow(NamedTuple):
    """Columns of ``enerflo.install_statuses``."""

    status_id: int
    name: str


class Truth:
    """Every record of the company as rows, without planted orders and installs whose record is planted bad.

    Rows come in ascending order of their key. They read the world as they go: do not change it meanwhile.
    """

    def __init__(self, world: Company) -> None:
        self._world = world

    def installs(self) -> Iterator[InstallRow]:
        """Yield the live installs that can be mirrored."""
        return (self.install_row(state) for state in self._states())

    def install(self, install_id: int) -> InstallRow | None:
        """Return one live install, bad or not, or None."""
        number = self._world.installs.number_of(install_id)
        return None if number is None else self.install_row(self._world.installs.get(number))

    def milestones(self) -> Iterator[MilestoneRow]:
        """Yield every milestone of the live installs that can be mirrored."""
        return (row for state in self._states() for row in self.milestone_rows(state))

    def notes(self, *, deleted: bool = True) -> Iterator[NoteRow]:
        """Yield the notes of live installs, soft-deleted ones included unless ``deleted`` is False."""
        world = self._world
        for position in world.notes.visible():
            note = world.notes.get(position)
            if deleted or note.deleted is None:
                install_id = world.install_id(note.install_number)
                times = aware(note.created), aware(note.deleted)
                yield NoteRow(note.note_id, install_id, note.author_id, note.text, *times)

    def customers(self) -> Iterator[CustomerRow]:
        """Yield all customers and leads."""
        for customer_id in reversed(self._world.customers.ids()):
            one = self._world.customers.get(customer_id)
            yield CustomerRow(
                customer_id,
                one.first_name,
                one.last_name,
                one.email,
                one.mobile,
                one.address,
                one.city,
                one.state,
                one.zip,
                one.external_id,
                one.status_name,
                aware(one.created),
                aware(one.updated),
            )

    def change_orders(self) -> Iterator[ChangeOrderRow]:
        """Yield the change orders of live installs, signed or not."""
        return (self._order_row(order) for order in self._orders())

    def adders(self) -> Iterator[AdderRow]:
        """Yield both sides' adders of every change order."""
        for order in self._orders():
            for side, adders in (("old", order.adders_old), ("new", order.adders_new)):
                for adder in adders:
                    yield _adder_row(order.change_order_id, side, adder)

    def statuses(self) -> Iterator[StatusRow]:
        """Yield the statuses that the company lists."""
        return (StatusRow(status_id, c.STATUSES[status_id]) for status_id in sorted(c.STATUSES))

    def counts(self) -> dict[str, int]:
        """Return the number of rows per kind without making them, bad records included."""
        world = self._world
        return {
            "installs": len(world.installs),
            "milestones": len(world.installs) * len(c.MILESTONES),
            "notes": len(world.notes),
            "customers": len(world.customers.ids()),
            "change_orders": len(world.change_orders.ids()),
            "statuses": len(c.STATUSES),
            "bad_records": len(world.bad),
        }

    def install_row(self, state: InstallState) -> InstallRow:
        """Return an install's state as the row that its record should become."""
        agent = state.agent
        at = state.current_milestone
        cost = state.cost_cents
        return InstallRow(
            install_id=state.install_id,
            deal_id=state.deal_id,
            survey_id=str(state.survey_id),
            customer_name=self._world.customers.get(state.customer_id).name,
            customer_id=state.customer_id,
            company_id=c.COMPANY_ID,
            status_id=state.status_id,
            status_name=self._world.status_name(state.status_id),
            current_milestone=None if at is None else c.MILESTONES[at].title,
            office_name=None if state.office is None else c.OFFICES[state.office][1],
            agent_name=None if agent is None else c.USERS[agent].name,
            system_size_kw=Decimal(state.watts) / 1000,
            panel_type=c.PANELS[state.panel].name if state.has_equipment else None,
            panel_count=state.panel_count,
            battery_configuration=state.battery if state.has_equipment else None,
            contract_amount=None if cost is None else Decimal(cost) / 100,
            created_at=aware(state.created),
            updated_at=aware(state.updated),
        )

    def milestone_rows(self, state: InstallState) -> list[MilestoneRow]:
        """Return the milestones of an install's state as rows, in sequence."""
        return [
            MilestoneRow(
                state.install_id,
                definition.milestone_id,
                definition.title,
                definition.sequence,
                aware(dates.started),
                aware(dates.due),
                aware(dates.completed),
            )
            for definition, dates in zip(c.MILESTONES, state.milestones, strict=True)
        ]

    def _states(self) -> Iterator[InstallState]:
        world = self._world
        return (world.installs.get(n) for n in world.installs.live() if n not in world.bad)

    def _orders(self) -> Iterator[ChangeOrderState]:
        for change_order_id in reversed(self._world.change_orders.ids()):
            order = self._world.change_orders.get(change_order_id)
            if order is not None and change_order_id not in self._world.planted_orders:
                yield order

    def _order_row(self, order: ChangeOrderState) -> ChangeOrderRow:
        panel, count, battery = order.panel, order.panel_count, order.battery
        return ChangeOrderRow(
            order.change_order_id,
            self._world.install_id(order.install_number),
            order.status,
            aware(order.signed),
            panel[0] if panel else None,
            panel[1] if panel else None,
            count[0] if count else None,
            count[1] if count else None,
            battery[0] if battery else None,
            battery[1] if battery else None,
            Decimal(order.total_change),
        )


def _adder_row(change_order_id: int, side: str, adder: Adder) -> AdderRow:
    return AdderRow(
        change_order_id,
        str(adder.adder_id),
        side,
        adder.name,
        Decimal(adder.cost),
        adder.quantity,
        adder.active,
    )
