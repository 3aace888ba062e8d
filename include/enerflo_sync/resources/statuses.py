"""The company's own install statuses (REFERENCE §7): ids mean nothing outside one company."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.enerflo.statuses import read_status_rows
from enerflo_sync.enerflo.times import is_time
from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.fields import Record, identity, text
from enerflo_sync.resources.resource import SMALLEST_SHRINK, Part, Resource, Row
from enerflo_sync.warehouse.schema import install_statuses


def _read(record: Record) -> Sequence[Sequence[Row]]:
    name = text(record, "name") or text(record, "status")
    if name is None:
        raise BadRecordError("missing_name", field="name")
    return ([(identity(record, "id"), name)],)


STATUSES = Resource(
    name="statuses",
    order=20,
    id_field="id",
    parts=(Part(install_statuses, ("status_id", "name")),),
    read=_read,
    known_fields=frozenset(
        """id name status company_id epc_company_id color order sequence active is_default type
        created_at updated_at deleted_at""".split()
    ),
    says_deleted=lambda record: is_time(record.get("deleted_at")),
    read_all=read_status_rows,
    shrink_floor=SMALLEST_SHRINK,
)
