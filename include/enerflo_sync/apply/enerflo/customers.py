"""Finds the customer at Enerflo that belongs to a lead, by the lead's key, and reads its present values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from enerflo_sync.agreed.written import of_key
from enerflo_sync.apply.enerflo.push_run import PushRun
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.names import quoted
from enerflo_sync.enerflo.customers import search_customers
from enerflo_sync.enerflo.failures import AuthenticationError, VendorRefusedError
from enerflo_sync.errors import BadRecordError, ContractDriftError, EnerfloSyncError, NotFoundError
from enerflo_sync.inbox.answers import Answer
from enerflo_sync.inbox.customer_read import read_customer_of
from enerflo_sync.outbox.changes import OutboxChange, key_text
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.fingerprint import decode, stable_bytes

Customer = Mapping[str, Any]


_SEVERAL = "several customers of Enerflo have its key: leave the key to one of them."
_SPELLED_OTHERWISE = (
    "a customer of Enerflo has its key in another spelling: put the customer's id into the CRM's row, or"
    " change one of the two keys."
)


class DoubtfulKeyError(Exception):
    """Nothing says which customer of Enerflo a lead is; the text is the question for a person."""


# Stands for null in a key; a quoted text never equals it, because PostgreSQL's texts have no NUL character.
_NO_VALUE = "%00"

_ROW = sa.text("""
/* enerflo-sync push: a customer as it is now */
select to_jsonb(c.*) from enerflo.customers c
where c.account = :account and c.customer_id = :customer and c.deleted_at is null
""")
_OF_KEY = sa.text("""
/* enerflo-sync push: the customers of a lead's key */
select c.customer_id from enerflo.customers c
where c.account = :account and c.integration_record_id = :key and c.deleted_at is null
limit 2
""")


def lead_key(mapping: TableMapping, change: OutboxChange) -> str:
    """Return a lead's ``integration_record_id``: the column that ``adopt`` names, or the CRM's whole key.

    Different keys of several columns give different ids, because a colon inside a part is quoted.
    """
    named = next(
        (c for c, mirror in mapping.adopt_columns.items() if mirror == "integration_record_id"), None
    )
    if named is not None and change.key.get(named) is not None:
        return str(change.key[named])
    parts = [change.key[name] for name in mapping.key_columns]
    if len(parts) == 1:
        return str(parts[0])
    return ":".join(_NO_VALUE if part is None else quote(str(part), safe=" ") for part in parts)


def earlier_key(mapping: TableMapping, change: OutboxChange) -> str | None:
    """Return the ``integration_record_id`` that an earlier version sent; None if it is the same."""
    key = "-".join(str(change.key[name]) for name in mapping.key_columns)
    return None if len(mapping.key_columns) == 1 or ":" not in lead_key(mapping, change) else key


def is_sole_owner(
    run: PushRun, comparison: Comparison, change: OutboxChange, key: str, customer_id: int
) -> bool:
    """Return whether no other CRM row can be the one that gave a customer its earlier key."""
    text = " || '-' || ".join(
        f"coalesce(t.{quoted(name)}::text, 'None')" for name in comparison.mapping.key_columns
    )
    link = next((join for join in comparison.joins if join.mirror_name == "customer_id"), None)
    linked = "false" if link is None else f"({link.crm})::text = %(customer)s"
    with run.connection.begin():
        found = run.connection.exec_driver_sql(
            "/* enerflo-sync push: rows that may have given an earlier key */"  # noqa: S608 - names
            f" select count(*) from {comparison.crm} t where ({text} = %(key)s or {linked})"
            f" and not ({of_key(comparison, '%(own)s::jsonb')})",
            {"key": key, "customer": str(customer_id), "own": key_text(change)},
        ).scalar_one()
    return int(found) == 0


def find_customer(
    run: PushRun, key: str, known: int | None, words: Mapping[str, object], *, sent: bool
) -> tuple[Customer | None, EnerfloSyncError | None]:
    """Read the customer that has a lead's key from Enerflo; None if there is none.

    The second value is the reason why the search by key does not show that there is none: Enerflo refused
    the search, or left rows out.

    :param known: the customer's id, if the response to the lead's request contained it.
    :param words: the lead's fields, by which the list of customers is searched if the key finds nothing.
    :param sent: whether a request for the lead may have arrived. Enerflo may have spelled its key otherwise.
    :raises DoubtfulKeyError: several customers have the key, or one has it in another spelling, and nothing
        says which is the lead's.
    """
    doubt: EnerfloSyncError | None = None
    found: dict[int, tuple[str, bytes]] = {}
    try:
        for raw in map(bytes, search_customers(run.client, key)):
            spelled = _key_of(raw)
            if spelled is not None and is_spelling(spelled, key):
                found[CUSTOMERS.record_id(raw)] = spelled, raw
    except AuthenticationError:
        raise
    except (NotFoundError, VendorRefusedError, ContractDriftError, BadRecordError) as error:
        found, doubt = {}, error
    if found:
        exact = [customer_id for customer_id, (spelled, _) in found.items() if spelled.strip() == key.strip()]
        if not exact and not sent:
            raise DoubtfulKeyError(_SPELLED_OTHERWISE)
        customer_id = _sole(exact or found, known)
        run.bring_in(partial(_as_answer, found[customer_id][1]), CUSTOMERS)
        return _present(run, customer_id), None
    is_told = known is not None
    if known is None and (mirrored := customers_of_key(run, key)):
        known = _sole(mirrored, None)
    if known is None:
        return None, doubt
    try:
        customer = read_customer_again(run, known, words)
    except NotFoundError:
        return None, doubt
    # The mirror's row may be older than the moment when the customer got the key.
    spelled = None if customer is None else customer["integration_record_id"]
    if customer is not None and (is_told if spelled is None else is_spelling(spelled, key)):
        return customer, None
    return None, doubt


def is_spelling(spelled: str, key: str) -> bool:
    """Return whether a key at Enerflo may be a lead's key, but for blanks, case and zeros in front."""
    return _bare(spelled) == _bare(key)


def _bare(key: str) -> str:
    bare = key.strip().casefold()
    return bare.lstrip("0") if bare.isdigit() else bare


def customers_of_key(run: PushRun, key: str) -> Sequence[int]:
    """Return the ids of the customers in the mirror that have a lead's key, two at most."""
    with run.connection.begin():
        return run.connection.scalars(_OF_KEY, {"account": run.account, "key": key}).all()


def _sole(ids: Collection[int], known: int | None) -> int:
    if known is not None and known in ids:
        return known
    if len(ids) > 1:
        raise DoubtfulKeyError(_SEVERAL)
    return next(iter(ids))


def _key_of(raw: bytes) -> str | None:
    row = _row_of(raw)
    return None if row is None or row["deleted_at"] is not None else row["integration_record_id"]


def read_customer_again(
    run: PushRun, customer_id: int, words: Mapping[str, object] | None = None
) -> Customer | None:
    """Return the present values of a customer at Enerflo; None if Enerflo shows no values.

    :raises NotFoundError: there is no such customer.
    """
    before = words or _present(run, customer_id) or {}
    name = f"{before.get('first_name') or ''} {before.get('last_name') or ''}".strip()
    told = {"email": before.get("email"), "mobile": before.get("mobile"), "full_name": name}
    # The lead's key finds the customer in one request, and does not change when other fields do.
    by_key = {"full_name": before.get("integration_record_id")}
    answer = run.bring_in(lambda _: read_customer_of(run.client, str(customer_id), [told, by_key]), CUSTOMERS)
    present = _present(run, customer_id)
    if answer.records:
        return present
    # The customer's own record has another form than a row of the list, and the mirror stores rows of the
    # list. So the values are taken from the response.
    said = [row for _, records in answer.said for raw in records if (row := _row_of(bytes(raw)))]
    if not said:
        return None
    linked = (present or {}).get("integration_record_id")
    return {**said[0], "integration_record_id": said[0]["integration_record_id"] or linked}


def _as_answer(raw: bytes, _reads: object) -> Answer:
    return Answer([(CUSTOMERS, [raw])])


def _row_of(raw: bytes) -> dict[str, Any] | None:
    try:
        record, _ = decode(stable_bytes(raw))
        return CUSTOMERS.rows_by_column(record)[0][0]
    except BadRecordError:
        return None


def _present(run: PushRun, customer_id: int) -> dict[str, Any] | None:
    with run.connection.begin():
        values = {"account": run.account, "customer": customer_id}
        found: dict[str, Any] | None = run.connection.scalar(_ROW, values)
        run.judges_by([found] if found is not None else [])
        return found
