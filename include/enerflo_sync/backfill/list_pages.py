"""Pages of a list of child records, without those of installs that were not requested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from enerflo_sync.backfill.request import Kind
from enerflo_sync.backfill.store import Backfill
from enerflo_sync.enerflo.pages import Page
from enerflo_sync.resources.fingerprint import decode, stable_bytes
from enerflo_sync.resources.resource import Resource

_WANTED = """
/* enerflo-sync backfill: whose records are wanted */
select {column} from enerflo.installs
where account = :account and {column} is not null and case when :by_time
  then (cast(:from as timestamptz) is null or created_at >= :from)
    and (cast(:to as timestamptz) is null or created_at < :to)
  else install_id = any(:ids) or deal_id = any(:deals) end
"""


class ListPage(Page, frozen=True):
    """One page without the records of other installs.

    :param listed: rows of the original page.
    :param outside: rows that belong to other installs.
    """

    listed: int
    outside: int


def wanted_owners(connection: sa.Connection, backfill: Backfill, resource: Resource) -> set[int] | None:
    """Return the owners of the wanted records of a resource; None if all records are wanted.

    Owners are the backfill's installs, or the records that these installs name
    (:attr:`Resource.backfilled_by`), by the mirror's present state. In the caller's transaction.
    """
    request = backfill.request
    if request.kind is Kind.EVERYTHING:
        return None
    values = {
        "account": backfill.account,
        "by_time": request.kind is Kind.WINDOW,
        "from": request.window_from,
        "to": request.window_to,
        "ids": list(request.install_ids),
        "deals": list(request.deal_ids),
    }
    return set(connection.scalars(sa.text(_WANTED.format(column=resource.backfilled_by)), values))


def of_installs(pages: Iterable[Page], resource: Resource, wanted: set[int] | None) -> Iterator[ListPage]:
    """Yield pages with the records of ``wanted`` owners, and records without a readable owner."""
    for page in pages:
        records = [raw for raw in page.records if wanted is None or _is_of(resource, raw, wanted)]
        yield ListPage(
            page.number, page.per_page, page.total, records, page.requested_at,
            len(page.records), len(page.records) - len(records),
        )  # fmt: skip


def _is_of(resource: Resource, raw: bytes | memoryview, wanted: set[int]) -> bool:
    try:
        record = decode(stable_bytes(raw))[0]
        owner = resource.rows_by_column(record)[0][0][resource.backfilled_by or ""]
    except Exception:
        # Loading the record reports why it is unreadable.
        return True
    return owner is None or owner in wanted
