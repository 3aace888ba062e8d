"""Installs and their milestones, from the v3 install list (REFERENCE §6.1, §8)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from enerflo_sync.enerflo.envelopes import Envelope
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.enerflo.times import is_time
from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.event import EventKind
from enerflo_sync.resources.fields import (
    INTEGER,
    Record,
    first,
    identity,
    integer,
    moment,
    nested,
    number,
    rows,
    text,
)
from enerflo_sync.resources.limits import MOST_KILOWATTS, MOST_MONEY, MOST_PANELS
from enerflo_sync.resources.resource import DirectRead, Part, Resource, Row, Witnessed, itself
from enerflo_sync.resources.usual_install import read_usual, usual_reader
from enerflo_sync.warehouse.schema import change_orders, install_versions, installs, milestones, notes

BY_ID, BY_DEAL = "installs", "deals"
# Newest ids first. No filter by time of change is documented, so a poll reads every page (REFERENCE §3).
INSTALL_LIST = VendorList("/api/v3/installs", Envelope("results", total_key="total"))

FIELDS = frozenset(
    """
    id customer_id customer company_id company epc_company_id epc_company status_id status_name status
    current_milestone all_milestones milestones agent_id agent agent_user agent_user_id setter_user_id
    setter_user setter_id office_id office survey_id v2_survey_id agreement_url agreement_id files image
    system_size panel_count equipment survey cost utility loan created_at updated_at deleted_at
    integration_maps integrations sales_company_id install_company_id market_id epc_market_id epc_market
    survey_type_id site_survey_id editor_company_id survey_url proposal_url change_orders notes timestamps
    install_integration_id project_manager_id
    logged_in_user
    """.split()
)


def _name(person: Record) -> str | None:
    joined = " ".join(filter(None, (text(person, "first_name"), text(person, "last_name"))))
    return text(person, "name") or joined or None


def _deal_id(record: Record, customer: Record) -> str | None:
    deal = next(iter(rows(customer, "deals")), {})
    return text(record, "v2_survey_id") or text(deal, "EnerfloV2DealId")


def _panel_type(record: Record) -> str | None:
    equipment = nested(record, "equipment")
    panel = equipment.get("panel")
    if isinstance(panel, dict):
        parts = [text(panel, "manufacturer"), text(panel, "model") or text(panel, "name")]
        return " ".join(part for part in parts if part) or None
    return text(equipment, "panel")


def _battery(record: Record) -> str | None:
    equipment = nested(record, "equipment")
    if isinstance(equipment.get("battery"), dict):
        battery = nested(equipment, "battery")
        count, model = (
            integer(battery, "count", high=INTEGER),
            text(battery, "model") or text(battery, "name"),
        )
        return f"{count} x {model}" if count and model else model
    return text(equipment, "battery") or text(record, "battery_configuration")


def _status(record: Record) -> tuple[int | None, str | None]:
    is_object = isinstance(record.get("status"), dict)
    own = nested(record, "status") if is_object else {}
    status_id, name = integer(own, "id"), text(own, "name")
    # The root may have what the object lacks.
    if status_id is None:
        status_id = integer(record, "status_id")
    if name is None:
        name = text(record, "status_name") or (None if is_object else text(record, "status"))
    return status_id, name


def _install(record: Record) -> Row:
    customer, survey = nested(record, "customer"), nested(record, "survey")
    status_id, status_name = _status(record)
    return (
        identity(record, "id"),
        _deal_id(record, customer),
        text(record, "survey_id"),
        _name(customer),
        first(integer(record, "customer_id"), integer(customer, "id")),
        first(integer(record, "company_id"), integer(nested(record, "company"), "id")),
        status_id,
        status_name,
        text(nested(record, "current_milestone"), "title"),
        text(nested(record, "office"), "name"),
        _name(nested(record, "agent_user")),
        # A 0 at the root means "not set": then the survey has the value (REFERENCE §6.1).
        first(
            number(record, "system_size", low=0, high=MOST_KILOWATTS),
            number(survey, "system_size", low=0, high=MOST_KILOWATTS),
            number(survey, "solar_system_size", low=0, high=MOST_KILOWATTS),
        ),
        _panel_type(record),
        first(
            integer(record, "panel_count", high=MOST_PANELS),
            integer(survey, "panel_count", high=MOST_PANELS),
            integer(survey, "solar_data_panel_count", high=MOST_PANELS),
        ),
        _battery(record),
        number(nested(record, "cost"), "system_cost_gross", low=-MOST_MONEY, high=MOST_MONEY),
        moment(record, "created_at"),
        moment(record, "updated_at"),
    )


def milestone_rows(record: Record) -> list[Row] | None:
    """Return the milestone rows of an install by the definition's id; a later row of the same id wins.

    None if the record has no list of milestones, which says nothing about them.

    The vendor documents the definition (``id, title, sequence``), and that a row of an install adds a start,
    a due and a completion date, but not the row's field names (REFERENCE §8); all likely names are read.
    """
    found = _milestones(record)
    if found is None:
        return None
    install_id = identity(record, "id")
    return [
        (
            install_id,
            milestone_id,
            text(definition := _definition(row), "title"),
            integer(definition, "sequence", high=INTEGER),
            moment(row, "started_at", "start_date", "start_at"),
            moment(row, "due_at", "due_date"),
            moment(row, "completed_at", "completion_date", "completed_date"),
        )
        for milestone_id, row in found.items()
    ]


def _milestones(record: Record) -> dict[int, Record] | None:
    """Return the record's milestone objects by the definition's id; None if it has no list of them."""
    name = next((name for name in ("all_milestones", "milestones") if name in record), None)
    if name is None:
        return None
    found: dict[int, Record] = {}
    for row in rows(record, name):
        milestone_id = integer(row, "milestone_id", low=1) or integer(_definition(row), "id", low=1)
        if milestone_id is None:
            raise BadRecordError("missing_id", field="all_milestones.milestone.id")
        found[milestone_id] = row
    return found


def _definition(row: Record) -> Record:
    return nested(row, "milestone") or row


def _read(record: Record) -> Sequence[Sequence[Row] | None]:
    return [_install(record)], milestone_rows(record)


# Root ``id`` is the install's in every v1 event about it (REFERENCE §9). The payload of a milestone's event
# is not known: if it has a field for the install, that counts. All milestones come with the install.
_ID = ("id",)
_MILESTONE = ("epc_install_id", "install_id", "install.id", "milestone.epc_install_id", "id")
_DEAL = ("payload.deal.id",)
EVENTS = (
    # A contract was signed, approved or processed.
    EventKind("new_install", "2", BY_ID, _ID, install_at=_ID),
    # The submit button on the next-steps page was pressed.
    EventKind("submit_install", "2", BY_ID, _ID, install_at=_ID),
    # Any data of an install changed. The place of its status (REFERENCE §13.1) does not matter.
    EventKind("update_install", "4.2", BY_ID, _ID, install_at=_ID),
    # A voided contract was made again.
    EventKind("restore_install", "2", BY_ID, _ID, install_at=_ID),
    EventKind("project_milestone_updated", "3.2", BY_ID, _MILESTONE, install_at=_MILESTONE),
    # A signed project was handed over, or again after it was signed again; the event is sent to both sides.
    EventKind("deal.projectSubmitted", "2", BY_DEAL, _DEAL, is_uuid=True, deal_at=_DEAL, submission=True),
    EventKind("deal.projectReceived", "2", BY_DEAL, _DEAL, is_uuid=True, deal_at=_DEAL, submission=True),
)

INSTALLS = Resource(
    name="installs",
    order=10,
    id_field="id",
    parts=(
        Part(
            installs,
            (
                *("install_id", "deal_id", "survey_id", "customer_name", "customer_id", "company_id"),
                *("status_id", "status_name", "current_milestone", "office_name", "agent_name"),
                *("system_size_kw", "panel_type", "panel_count", "battery_configuration"),
                *("contract_amount", "created_at", "updated_at"),
            ),
            items=itself,
            crm_table="installs",
            crm_order=20,
            writable=frozenset({"status_name"}),
        ),
        Part(
            milestones,
            ("install_id", "milestone_id", "title", "sequence", "started_at", "due_at", "completed_at"),
            owner="install_id",
            items=lambda record: list((_milestones(record) or {}).values()),
            crm_table="milestones",
            crm_order=30,
            writable=frozenset({"started_at", "due_at", "completed_at"}),
            fields=("all_milestones", "milestones"),
        ),
    ),
    read=_read,
    read_usual=partial(read_usual, usual_reader(FIELDS)),
    known_fields=FIELDS,
    says_deleted=lambda record: is_time(record.get("deleted_at")),
    dependents=(Part(notes, owner="install_id"), Part(change_orders, owner="install_id")),
    versions=install_versions,
    listing=INSTALL_LIST,
    # A deal's read also returns its install.
    reads=(DirectRead(BY_DEAL, column="deal_id"), DirectRead(BY_ID)),
    events=EVENTS,
    witnessed=Witnessed("new_install", "update_install", content="t.content_hash"),
)
