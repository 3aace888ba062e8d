"""The demo's CRM rows: what the company's truth says, but for the declared differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.plants import NotePlant, Plant
from enerflo_sandbox.state import InstallState
from enerflo_sandbox.truth import MilestoneRow
from enerflo_sandbox.world import World

Row = tuple[object, ...]
# Rows that agree were last touched so long ago that no sync still has them on the way.
SETTLED = timedelta(hours=3)
# One in so many customers came to Enerflo by itself and is no lead of the CRM yet.
_NEW_CUSTOMERS = 12
_STRANGER_INSTALL_ID = 9_000_001
_STALE_BODY = "Old text, from before the note was edited in Enerflo."


@dataclass(frozen=True)
class PlantedDifference:
    """One difference that a reconciliation of the demo must find, in the terms of ``sync.differences``.

    :param key: the CRM table's key columns; of a note that the CRM lacks, ``{"enerflo_note_id": N}``.
    :param field: None where a whole record is missing on one side.
    :param after_deletion: there only once the company has deleted its planted installs, and a full sweep
        has seen that twice.
    """

    table_name: str
    key: dict[str, int | str]
    field: str | None
    cause: str
    enerflo_value: object = None
    crm_value: object = None
    after_deletion: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the difference as plain JSON values."""
        return asdict(self)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime) else value


Edit = tuple[str, str, Callable[[Any], Any]]
# Plant: CRM column, cause, and what the CRM has instead of the truth.
_EDITS: dict[Plant, Edit] = {
    Plant.IN_FLIGHT: ("panel_count", "in_flight", lambda count: count + 1),
    Plant.OTHER_CASE: ("status", "equal_after_normalisation", str.upper),
    Plant.TRAILING_BLANKS: ("panel_type", "equal_after_normalisation", lambda text: f"{text}  "),
    Plant.WITHIN_TOLERANCE: (
        "system_size_kw",
        "equal_after_normalisation",
        lambda size: size + Decimal("0.001"),
    ),
    Plant.VOIDED: ("status", "voided", lambda status: "In progress"),
    Plant.STALE_STATUS: ("status", "unexplained", lambda status: "Pending KCA"),
    Plant.STALE_AMOUNT: ("contract_amount", "unexplained", lambda amount: amount - Decimal("1500.00")),
    Plant.STALE_PANEL_COUNT: ("panel_count", "unexplained", lambda count: count - 2),
}
INSTALL_COLUMNS = (
    *("enerflo_install_id", "deal_id", "customer_name", "status", "system_size_kw", "panel_type"),
    *("panel_count", "battery_configuration", "contract_amount", "updated_at"),
)


class CrmRows:
    """The rows of each ``crm`` table in turn; ``planted`` grows as the rows are read.

    :param now: the database's present moment: rows in flight carry it.
    :param duplicates: whether two rows of one install are planted.
    """

    def __init__(self, world: World, now: datetime, *, duplicates: bool) -> None:
        self._world = world
        self._now = now
        self._duplicates = duplicates
        self._plant_of = {n: plant for plant, numbers in world.plants.installs.items() for n in numbers}
        self._note_plant_of = {p: plant for plant, positions in world.plants.notes.items() for p in positions}
        self.planted: list[PlantedDifference] = []

    def installs(self) -> Iterator[Row]:
        """Yield crm.installs, then the installs that Enerflo never had."""
        for number in self._world.installs.live():
            yield from self._install(self._world.installs.get(number), self._plant_of.get(number))
        for at in range(self._world.plants.per_cause):
            install_id = _STRANGER_INSTALL_ID + at
            self._declare("installs", {"enerflo_install_id": install_id}, None, "missing_in_enerflo")
            yield (
                *(install_id, None, f"Stranger {at}", "In progress", Decimal("8.000"), "REC Alpha Pure 405"),
                *(20, None, Decimal("30000.00"), self._now - SETTLED),
            )

    def _install(self, state: InstallState, plant: Plant | None) -> Iterator[Row]:
        truth = self._world.truth.install_row(state)
        row: dict[str, Any] = {
            "enerflo_install_id": truth.install_id,
            "deal_id": truth.deal_id,
            "customer_name": truth.customer_name,
            "status": truth.status_name,
            "system_size_kw": truth.system_size_kw,
            "panel_type": truth.panel_type,
            "panel_count": truth.panel_count,
            "battery_configuration": truth.battery_configuration,
            "contract_amount": truth.contract_amount,
            "updated_at": self._settled(truth.updated_at),
        }
        key: dict[str, int | str] = {"enerflo_install_id": truth.install_id}
        if plant in _EDITS:
            column, cause, edit = _EDITS[plant]
            before = row[column]
            row[column] = edit(before)
            self._declare("installs", key, column, cause, before, row[column])
        if plant is Plant.IN_FLIGHT:
            row["updated_at"] = self._now
        if plant is Plant.MISSING_IN_CRM:
            self._declare("installs", key, None, "missing_in_crm")
            return
        if plant is Plant.DELETED_IN_ENERFLO:
            self._declare("installs", key, None, "deleted_in_enerflo", after_deletion=True)
        if plant is Plant.QUARANTINED:
            self._declare("installs", key, None, "quarantined")
        values = tuple(row.values())
        yield values
        if plant is Plant.DUPLICATE_IDENTITY and self._duplicates:
            self._declare("installs", key, None, "duplicate_identity")
            yield values

    def milestones(self) -> Iterator[Row]:
        """Yield crm.milestones: a row per definition and install, none of an install in quarantine."""
        for number in self._world.installs.live():
            plant = self._plant_of.get(number)
            if plant is Plant.QUARANTINED:
                continue
            state = self._world.installs.get(number)
            for milestone in self._world.truth.milestone_rows(state):
                row = self._milestone(milestone, plant)
                if row is not None:
                    yield (*row, self._settled(self._world.truth.install_row(state).updated_at))

    def _milestone(self, truth: MilestoneRow, plant: Plant | None) -> Row | None:
        key: dict[str, int | str] = {
            "enerflo_install_id": truth.install_id,
            "milestone_id": truth.milestone_id,
        }
        completed = truth.completed_at
        if plant is Plant.DELETED_IN_ENERFLO:
            self._declare("milestones", key, None, "deleted_in_enerflo", after_deletion=True)
        if truth.sequence == 1 and plant is Plant.MISSING_MILESTONE:
            self._declare("milestones", key, None, "missing_in_crm")
            return None
        if truth.sequence == 1 and plant is Plant.STALE_MILESTONE and completed is not None:
            completed -= timedelta(days=3)
            self._declare("milestones", key, "completed_at", "unexplained", truth.completed_at, completed)
        dates = truth.started_at, truth.due_at, completed
        return truth.install_id, truth.milestone_id, truth.title, *dates

    def notes(self) -> Iterator[Row]:
        """Yield crm.notes: what stands in Enerflo, then notes that only the CRM has."""
        names = {user.user_id: user.name for user in c.USERS}
        first = None
        for position in self._world.notes.visible():
            note = self._world.notes.get(position)
            plant = self._note_plant_of.get(position)
            if note.deleted is not None:
                continue
            if plant is NotePlant.MISSING:
                self._declare("notes", {"enerflo_note_id": note.note_id}, None, "missing_in_crm")
                continue
            body = note.text
            crm_id = f"crm-note-{note.note_id}"
            if plant is NotePlant.STALE_BODY:
                body = _STALE_BODY
                self._declare("notes", {"note_id": crm_id}, "body", "unexplained", note.text, body)
            install_id = self._world.install_id(note.install_number)
            first = install_id if first is None else first
            created = datetime.fromtimestamp(note.created, self._now.tzinfo)
            author = names.get(note.author_id, "Integration")
            yield crm_id, install_id, note.note_id, author, body, created, self._settled(created)
        for at in range(self._world.plants.per_cause):
            crm_id = f"crm-draft-{at + 1}"
            self._declare("notes", {"note_id": crm_id}, None, "missing_in_enerflo")
            made = self._now - SETTLED
            yield crm_id, first, None, "CRM User", "Written in the CRM, not yet in Enerflo.", made, made

    def change_orders(self) -> Iterator[Row]:
        """Yield crm.change_orders; ``adders`` is the new side."""
        adders: dict[int, list[dict[str, object]]] = {}
        for adder in self._world.truth.adders():
            if adder.side == "new":
                row = {"name": adder.name, "cost": float(adder.cost), "quantity": adder.quantity}
                adders.setdefault(adder.change_order_id, []).append(row)
        for order in self._world.truth.change_orders():
            new = order.panel_type_new, order.panel_count_new, order.battery_new
            text = msgspec.json.encode(adders.get(order.change_order_id, [])).decode()
            when = self._settled(order.signed_at)
            yield order.change_order_id, order.install_id, order.status, order.signed_at, *new, text, when

    def leads(self) -> Iterator[Row]:
        """Yield crm.leads: those that Enerflo has but for some, then those that it does not know yet."""
        for customer in self._world.truth.customers():
            own_key = customer.integration_record_id
            if own_key is None and customer.customer_id % _NEW_CUSTOMERS == 0:
                continue
            yield (
                *(own_key or f"enerflo-{customer.customer_id}", *customer[1:9], "qualified", 1),
                *(customer.customer_id, self._settled(customer.updated_at)),
            )
        for at in range(max(1, self._world.era.installs // 10)):
            person = f"lead.{at}@example.com", f"5550{at:06d}", f"{at + 1} Main St", "Austin", "TX", "78701"
            status = ("new", "working", "unqualified", "working", "new", "qualified")[at % 6]
            yield f"CRM-{at:07d}", "Lead", f"Number {at}", *person, status, 1, None, self._now - SETTLED

    def _settled(self, moment: datetime | None) -> datetime:
        latest = self._now - SETTLED
        return latest if moment is None else min(moment, latest)

    def _declare(
        self,
        table_name: str,
        key: dict[str, int | str],
        field: str | None,
        cause: str,
        enerflo_value: object = None,
        crm_value: object = None,
        *,
        after_deletion: bool = False,
    ) -> None:
        values = _plain(enerflo_value), _plain(crm_value)
        self.planted.append(PlantedDifference(table_name, key, field, cause, *values, after_deletion))
