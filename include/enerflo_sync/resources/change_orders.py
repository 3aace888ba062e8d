"""Change orders and their adders (REFERENCE §8: ``change_values.<component>.{new, old}``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import msgspec

from enerflo_sync.enerflo.change_orders import ROWS
from enerflo_sync.enerflo.envelopes import Envelope
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.event import Body, EventKind
from enerflo_sync.resources.fields import (
    INTEGER,
    Record,
    identity,
    integer,
    moment,
    nested,
    number,
    rows,
    text,
)
from enerflo_sync.resources.fingerprint import raw_hash
from enerflo_sync.resources.limits import MOST_MONEY, MOST_PANELS
from enerflo_sync.resources.resource import (
    SMALLEST_SHRINK,
    DirectRead,
    Part,
    Payloads,
    Resource,
    Row,
    Witnessed,
    itself,
)
from enerflo_sync.warehouse.schema import change_order_adders, change_orders

T = TypeVar("T")

ORDERS_OF = "change_orders_of"
# The endpoint is undocumented and may not exist for a company (REFERENCE §6.6); both size parameters are
# sent.
ORDER_LIST = VendorList(
    "/api/v3/change-orders",
    Envelope(
        ROWS,
        total_key=("total", "dataCount"),
        total_pages_key="totalPages",
        size_param=("per_page", "pageSize"),
    ),
)

COST_KEYS = ("total_change", "system_cost", "total_cost", "solar_data_total_cost_after_fees")

FIELDS = frozenset(
    """
    id epc_install_id install_id epc_company_id creator_id change_values signer co_signer docflo_data pdf_url
    hash created_at updated_at deleted_at status signed_at notes update_nem_docs nem_signer is_override
    total_change
    """.split()
)
SIDES = ("old", "new")


PARTS = (
    Part(
        change_orders,
        (
            *("change_order_id", "install_id", "status", "signed_at", "panel_type_old"),
            *("panel_type_new", "panel_count_old", "panel_count_new", "battery_old", "battery_new"),
            *("total_change", "adders", "unknown_components", "updated_at", "deleted_at"),
        ),
        items=itself,
        crm_table="change_orders",
        crm_order=50,
    ),
    Part(
        change_order_adders,
        ("change_order_id", "adder_id", "side", "name", "cost", "quantity", "active"),
        owner="change_order_id",
    ),
)


@dataclass(frozen=True)
class ComponentKeys:
    """The keys of ``change_values`` under which a component may be; the first existing key counts.

    The vendor documents only ``adders`` (REFERENCE §14), so the keys come from the configuration.

    :param ignored: known keys whose values are not used.
    """

    panel: Sequence[str] = ("panel", "panel_type", "panels", "module")
    panel_count: Sequence[str] = ("panel_count", "panelCount", "module_count")
    battery: Sequence[str] = ("battery", "batteries", "battery_configuration", "storage")
    ignored: Sequence[str] = ()

    @property
    def mark(self) -> bytes:
        """Return four bytes that identify these keys; no bytes for the default keys."""
        told = msgspec.json.encode(self)
        return b"" if told == msgspec.json.encode(ComponentKeys()) else raw_hash(told)[:4]

    def unknown(self, values: Record) -> Record:
        """Return the components of ``change_values`` that have a value and that no column uses."""
        known = {*self.panel, *self.panel_count, *self.battery, *self.ignored, *COST_KEYS, "adders"}
        return {key: value for key, value in values.items() if value and key not in known}


def _sides(values: Record, keys: Sequence[str], read: Callable[[Record, str], T | None]) -> list[T | None]:
    """Return what ``read`` finds on both sides of a component; None on both if there is no component."""
    key = next((key for key in keys if values.get(key)), None)
    if key is None:
        return [None, None]
    with _within("change_values"):
        component = nested(values, key)
        with _within(key):
            return [read(component, side) for side in SIDES]


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Report an unreadable field with its whole path."""
    try:
        yield
    except BadRecordError as error:
        raise BadRecordError(error.what, field=f"{place}.{error.field}") from error


def _described(component: Record, side: str) -> str | None:
    """Return a component's text: the text itself, or an object's manufacturer, model and count."""
    value = component.get(side)
    if not isinstance(value, dict):
        return text(component, side)
    name = " ".join(filter(None, (text(value, "manufacturer"), text(value, "model") or text(value, "name"))))
    count = integer(value, "count", high=INTEGER) or integer(value, "quantity", high=INTEGER)
    return f"{count} x {name}" if count and name else name or None


def _money(record: Record, name: str) -> str | None:
    return number(record, name, low=-MOST_MONEY, high=MOST_MONEY)


def _panels(record: Record, name: str) -> int | None:
    return integer(record, name, high=MOST_PANELS)


def _total_change(record: Record, values: Record) -> str | Decimal | None:
    stated = _money(record, "total_change")
    if stated is not None:
        return stated
    old, new = _sides(values, COST_KEYS, _money)
    return None if old is None or new is None else Decimal(new) - Decimal(old)


def _adders(order_id: int, values: Record) -> list[Row]:
    found: dict[tuple[str, str], Row] = {}
    with _within("change_values"):
        adders = nested(values, "adders")
        for side in SIDES:
            with _within("adders"):
                listed = rows(adders, side)
            with _within(f"adders.{side}"):
                for adder in listed:
                    row = _adder(order_id, side, adder)
                    found[row[1], side] = row
    return list(found.values())


def _adder(order_id: int, side: str, adder: Record) -> Row:
    adder_id = text(adder, "id")
    if adder_id is None:
        raise BadRecordError("missing_id", field="id")
    active = adder.get("active")
    return (
        order_id,
        adder_id,
        side,
        text(adder, "name"),
        _money(adder, "cost"),
        number(adder, "quantity", low=-INTEGER, high=INTEGER),
        None if active is None else active not in (False, 0, "0", "false", "", []),
    )


def _listed(adders: list[Row]) -> str:
    """Return the new side's adders as a JSON list, in the order of the change order."""
    new = [
        {
            "name": name,
            "cost": None if cost is None else float(cost),
            "quantity": None if quantity is None else float(quantity),
        }
        for _, _, side, name, cost, quantity, _ in adders
        if side == "new"
    ]
    return msgspec.json.encode(new).decode()


def _own_row(order_id: int, record: Record, values: Record, keys: ComponentKeys, adders: list[Row]) -> Row:
    return (
        order_id,
        integer(record, "epc_install_id") or integer(record, "install_id"),
        text(record, "status"),
        moment(record, "signed_at"),
        *_sides(values, keys.panel, _described),
        *_sides(values, keys.panel_count, _panels),
        *_sides(values, keys.battery, _described),
        _total_change(record, values),
        _listed(adders),
        msgspec.json.encode(unknown).decode() if (unknown := keys.unknown(values)) else None,
        moment(record, "updated_at"),
        moment(record, "deleted_at"),
    )


# Root ``id`` is the install's, and ``change_orders`` is the whole list (REFERENCE §9). A signed order also
# changes the install's own equipment and price.
_INSTALL = ("id", "install.id")
EVENTS = (
    EventKind("signed_change_order", "6", ORDERS_OF, _INSTALL, also=("installs",), install_at=_INSTALL),
)


def change_orders_of(bodies: Sequence[Body]) -> dict[str, bytes]:
    """Return the change orders in payloads by id, in their newest state.

    Any value other than a list, or PHP's object of numbered rows, is ignored.
    """
    found: dict[str, bytes] = {}
    for body in bodies:
        listed = body.get("change_orders")
        if isinstance(listed, dict):
            listed = list(listed.values())
        for order in listed if isinstance(listed, list) else ():
            if isinstance(order, dict) and isinstance(order.get("id"), int | str):
                found[str(order["id"])] = msgspec.json.encode({"epc_install_id": body.get("id"), **order})
    return found


def _told(body: Body) -> Sequence[bytes]:
    return list(change_orders_of([body]).values())


def change_orders_resource(keys: ComponentKeys = ComponentKeys()) -> Resource:
    """Return the resource of change orders with the component keys of one configuration."""

    def read(record: Record) -> Sequence[Sequence[Row]]:
        order_id = identity(record, "id")
        values = nested(record, "change_values")
        adders = _adders(order_id, values)
        return [_own_row(order_id, record, values, keys, adders)], adders

    return Resource(
        name="change_orders",
        order=40,
        id_field="id",
        parts=PARTS,
        read=read,
        known_fields=FIELDS,
        unknown_within=lambda record: [
            f"change_values.{name}" for name in keys.unknown(nested(record, "change_values"))
        ],
        reader=keys.mark,
        listing=ORDER_LIST,
        reads=(DirectRead(ORDERS_OF, owner="installs"),),
        # The list may omit voided orders (REFERENCE §6.6).
        shrink_floor=SMALLEST_SHRINK,
        backfilled_by="install_id",
        events=EVENTS,
        payloads=Payloads(("signed_change_order",), _told, of_install=True),
        # A signed order that is edited later is not signed again.
        witnessed=Witnessed(
            None,
            "signed_change_order",
            ("signed_at", "signed_at"),
            told_once=True,
            told="(t.signed_at >= %(since)s or t.signed_at is null and lower(t.status) = 'signed')",
        ),
        with_keys=change_orders_resource,
    )


CHANGE_ORDERS = change_orders_resource()
