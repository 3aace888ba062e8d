"""The install statuses of a company; each company has its own ids (REFERENCE.md §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.objects import row_list
from enerflo_sync.errors import BadRecordError

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

_PATH = "/api/v3/install-statuses"


class Status(msgspec.Struct, frozen=True):
    """One install status.

    :param id: the company's own number; in every account seen, 4 is On Hold.
    """

    id: int
    name: str


def read_status_rows(client: EnerfloClient, company_id: int | None = None) -> list[msgspec.Raw]:
    """Return the undecoded statuses, whether bare, under ``results`` or under ``data``.

    :param company_id: for a key that sees several companies.
    :raises ContractDriftError: the answer contains no list.
    """
    params: dict[str, str | int] = {} if company_id is None else {"company_id": company_id}
    return row_list(client, _PATH, ("results", "data", "statuses"), params)


def parse_status(row: msgspec.Raw) -> Status:
    """Return one status; a number sent as text is accepted.

    :raises BadRecordError: the status has no usable id or name.
    """
    try:
        return msgspec.json.decode(row, type=Status, strict=False)
    except msgspec.DecodeError as error:
        raise BadRecordError(f"an install status cannot be used: {error}.", where=f"GET {_PATH}") from None


def read_statuses(client: EnerfloClient, company_id: int | None = None) -> list[Status]:
    """Return all install statuses of the company.

    :raises BadRecordError: a status has no usable id or name; use :func:`read_status_rows` and
        :func:`parse_status` to keep the others.
    """
    return [parse_status(row) for row in read_status_rows(client, company_id)]
