"""Create a lead, or update the lead with the same external key (REFERENCE.md §6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.failures import VendorRefusedError
from enerflo_sync.errors import BadRecordError, ContractDriftError

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

_PATH = "/api/v1/partner/action/lead/add"
REQUIRED = ("first_name", "last_name", "address", "city", "state", "zip")


class _Inner(msgspec.Struct):
    id: int | None = None


class _Data(msgspec.Struct):
    lead: _Inner | None = None


class _Added(msgspec.Struct):
    status: str | int | bool | None = None
    customer_id: int | None = None
    data: _Data | list[object] | None = None


def add_lead(client: EnerfloClient, lead: Mapping[str, object]) -> int:
    """Create the lead, or update the lead with the same ``integration_record_id``; return its v1 customer id.

    Two known forms of the answer are read: ``{"customer_id": ...}`` and ``{"data": {"lead": {"id": ...}}}``.

    :param lead: the fields of one lead, unwrapped; :data:`REQUIRED` must be filled.
    :raises BadRecordError: a required field is missing or empty; nothing was sent.
    :raises OutcomeUnknownError: the lead may or may not exist. With an ``integration_record_id``, the
        vendor's upsert key, sending it again is safe.
    :raises ContractDriftError: Enerflo accepted the lead, but the answer contains no id.
    """
    missing = [name for name in REQUIRED if lead.get(name) in (None, "")]
    if missing:
        raise BadRecordError(
            f"the lead lacks {', '.join(missing)}, which Enerflo requires.",
            where=f"POST {_PATH}",
            next_step="Fill them in the CRM.",
            field=missing[0],
        )
    return _customer_id(client.send("POST", _PATH, {"lead": dict(lead)}))


def _customer_id(body: bytes) -> int:
    try:
        added = msgspec.json.decode(body, type=_Added, strict=False)
    except msgspec.DecodeError:
        added = _Added()
    if isinstance(added.status, str) and added.status.lower() in ("error", "fail", "failed", "failure"):
        raise VendorRefusedError(
            f"Enerflo answered 200 with status {added.status.lower()}.",
            where=f"POST {_PATH}",
            next_step="Check the lead's fields; the same lead will be refused again.",
        )
    inner = added.data.lead.id if isinstance(added.data, _Data) and added.data.lead is not None else None
    customer_id = added.customer_id if added.customer_id is not None else inner
    if customer_id is None:
        raise ContractDriftError(
            "Enerflo accepted the lead and answered without a customer id.",
            where=f"POST {_PATH}",
            next_step="Find the customer by its integration_record_id, and update the client.",
        )
    return customer_id
