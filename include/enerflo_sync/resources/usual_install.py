"""The usual form of an install's record, read without making a dictionary of it.

Most records have exactly the expected types. They are read here directly from their bytes, at a third of the
cost. For any deviation (an unknown field, a number as text, a list for an object) it returns None. Then the
authoritative reader, :mod:`enerflo_sync.resources.installs`, reads the record. A property test checks that
both readers give the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from enerflo_sync.enerflo.times import time_text
from enerflo_sync.resources.fields import BIGINT, INTEGER, first
from enerflo_sync.resources.limits import MOST_KILOWATTS, MOST_MONEY, MOST_PANELS
from enerflo_sync.resources.resource import Row

Id = Annotated[int, Meta(ge=1, le=BIGINT)]
Count = Annotated[int, Meta(ge=0, le=BIGINT)]
Panels = Annotated[int, Meta(ge=0, le=MOST_PANELS)]
Sequence_ = Annotated[int, Meta(ge=0, le=INTEGER)]
Kilowatts = (
    Annotated[int, Meta(ge=0, le=int(MOST_KILOWATTS))] | Annotated[float, Meta(ge=0, le=MOST_KILOWATTS)]
)
Money = (
    Annotated[int, Meta(ge=-int(MOST_MONEY), le=int(MOST_MONEY))]
    | Annotated[float, Meta(ge=-MOST_MONEY, le=MOST_MONEY)]
)
Nothing = Annotated[list[Any], Meta(max_length=0)]


class _Person(Struct):
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class _Deal(Struct):
    EnerfloV2DealId: str | None = None


class _Customer(_Person):
    id: Count | None = None
    deals: list[_Deal] = []


class _Company(Struct):
    id: Count | None = None


class _Named(Struct):
    name: str | None = None


class _Titled(Struct):
    title: str | None = None


class _Definition(Struct):
    id: Id
    title: str | None = None
    sequence: Sequence_ | None = None


class _Milestone(Struct):
    milestone: _Definition
    started_at: str | None = None
    due_at: str | None = None
    completed_at: str | None = None
    milestone_id: UnsetType = UNSET
    # Alternative field names, whose precedence only the other reader knows.
    start_date: UnsetType = UNSET
    start_at: UnsetType = UNSET
    due_date: UnsetType = UNSET
    completion_date: UnsetType = UNSET
    completed_date: UnsetType = UNSET


class _Equipment(Struct):
    panel: str | None = None
    battery: str | None = None


class _Survey(Struct):
    system_size: Kilowatts | None = None
    solar_system_size: Kilowatts | None = None
    panel_count: Panels | None = None
    solar_data_panel_count: Panels | None = None


class _Cost(Struct):
    system_cost_gross: Money | None = None


_READ: list[tuple[str, Any] | tuple[str, Any, Any]] = [
    ("id", Id),
    ("all_milestones", list[_Milestone]),
    ("customer_id", Count | None, None),
    ("customer", _Customer | Nothing | None, None),
    ("company_id", Count | None, None),
    ("company", _Company | Nothing | None, None),
    ("status_id", Count | None, None),
    ("status_name", str | None, None),
    ("current_milestone", _Titled | Nothing | None, None),
    ("agent_user", _Person | Nothing | None, None),
    ("office", _Named | Nothing | None, None),
    ("survey_id", int | str | None, None),
    ("v2_survey_id", str | None, None),
    ("system_size", Kilowatts | None, None),
    ("panel_count", Panels | None, None),
    ("equipment", _Equipment | Nothing | None, None),
    ("survey", _Survey | Nothing | None, None),
    ("cost", _Cost | Nothing | None, None),
    ("created_at", str | None, None),
    ("updated_at", str | None, None),
    # The other reader's caller asks whether the install was deleted.
    ("deleted_at", None, None),
    ("logged_in_user", None, None),
    # The other reader also reads these fields in other forms.
    ("status", UnsetType, UNSET),
    ("milestones", UnsetType, UNSET),
    ("battery_configuration", UnsetType, UNSET),
]

_NO_CUSTOMER, _NO_PERSON, _NO_EQUIPMENT, _NO_SURVEY = _Customer(), _Person(), _Equipment(), _Survey()


def usual_reader(known_fields: frozenset[str]) -> msgspec.json.Decoder[Any]:
    """Return the decoder of the usual form; it refuses records with fields outside ``known_fields``."""
    names = {field[0] for field in _READ}
    skipped = [(name, Raw | UnsetType, UNSET) for name in sorted(known_fields - names)]
    struct = msgspec.defstruct("UsualInstall", [*_READ, *skipped], forbid_unknown_fields=True)
    return msgspec.json.Decoder(struct)


def _name(person: _Person) -> str | None:
    return person.name or " ".join(filter(None, (person.first_name, person.last_name))) or None


def read_usual(decoder: msgspec.json.Decoder[Any], data: bytes) -> Sequence[Sequence[Row]] | None:
    """Return the rows of an install in its usual form, None for any other."""
    try:
        record = decoder.decode(data)
        return [_install(record)], _milestones(record)
    except Exception:
        # For any deviation the other reader decides and gives the reason.
        return None


def _install(record: Any) -> Row:
    customer = record.customer or _NO_CUSTOMER
    equipment = record.equipment or _NO_EQUIPMENT
    survey = record.survey or _NO_SURVEY
    deal = record.v2_survey_id or (customer.deals[0].EnerfloV2DealId if customer.deals else None)
    size = record.system_size or first(record.system_size, survey.system_size, survey.solar_system_size)
    cost = record.cost.system_cost_gross if record.cost else None
    return (
        record.id,
        deal or None,
        None if record.survey_id is None else str(record.survey_id) or None,
        _name(customer),
        record.customer_id or first(record.customer_id, customer.id),
        record.company_id or first(record.company_id, record.company.id if record.company else None),
        record.status_id,
        record.status_name or None,
        (record.current_milestone.title or None) if record.current_milestone else None,
        (record.office.name or None) if record.office else None,
        _name(record.agent_user or _NO_PERSON),
        None if size is None else str(size),
        equipment.panel or None,
        record.panel_count or first(record.panel_count, survey.panel_count, survey.solar_data_panel_count),
        equipment.battery or None,
        None if cost is None else str(cost),
        time_text(record.created_at),
        time_text(record.updated_at),
    )


def _milestones(record: Any) -> list[Row]:
    install_id = record.id
    found = {
        row.milestone.id: (
            install_id,
            row.milestone.id,
            row.milestone.title or None,
            row.milestone.sequence,
            time_text(row.started_at),
            time_text(row.due_at),
            time_text(row.completed_at),
        )
        for row in record.all_milestones
    }
    return list(found.values())
