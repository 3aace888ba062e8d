"""Read one customer: the list's row if a search finds it, otherwise what other sources contain."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from enerflo_sync.enerflo.customers import read_customer, search_customers
from enerflo_sync.enerflo.failures import PermissionRefusedError
from enerflo_sync.errors import NotFoundError
from enerflo_sync.inbox.answers import Answer, given, record_id_of, same_record
from enerflo_sync.inbox.payloads import search_words, words_of
from enerflo_sync.resources.customers import CUSTOMERS, customer_of
from enerflo_sync.resources.event import Body

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)


def read_customer_of(client: EnerfloClient, key: str, bodies: Sequence[Body]) -> Answer:
    """Return Enerflo's present data of a customer.

    Only the list's rows have the mirror's form, and the list can only be searched by words. Words from a
    payload may be outdated. Enerflo's direct answer has current words, and is itself the fallback if the
    search finds nobody.

    :param key: the v1 number, or the v2 uuid.
    :param bodies: the events about the customer, oldest first.
    :raises NotFoundError: there is no such customer.
    :raises BadRecordError: the answer is another customer.
    """
    row = _listed(client, key, search_words(key, bodies))
    if row is not None:
        return Answer([(CUSTOMERS, [row])])
    itself = _itself(client, key)
    if itself is None:
        said = [record for body in bodies if (record := customer_of(body)) is not None]
        return Answer([], [(CUSTOMERS, said[-1:])])
    row = _listed(client, str(CUSTOMERS.record_id(itself)), words_of(itself))
    if row is not None:
        return Answer([(CUSTOMERS, [row])])
    return Answer([], [(CUSTOMERS, [itself])], said_by="the customer's own record")


def _listed(client: EnerfloClient, key: str, all_words: Iterable[str]) -> bytes | None:
    """Return the list's row of a customer; None if no word finds it."""
    for words in all_words:
        row = given(partial(_found, client, key, words))
        if row is not None:
            return row
    return None


def _found(client: EnerfloClient, key: str, words: str) -> bytes | None:
    rows = map(bytes, search_customers(client, words))
    return next((row for row in rows if _is_customer(row, key, words)), None)


def _is_customer(raw: bytes, key: str, words: str) -> bool:
    if key.isdigit():
        return record_id_of(CUSTOMERS, raw) == int(key)
    # A search by the uuid itself finds a row that contains the uuid among its integrations.
    return words == key and key.encode() in raw.lower()


def _itself(client: EnerfloClient, key: str) -> bytes | None:
    """Return Enerflo's direct answer about one customer; None if it has none for a v1 number.

    Some keys may read a customer by uuid, which at least yields the number (REFERENCE.md §13.7).
    """
    try:
        itself = read_customer(client, key)
    except PermissionRefusedError:
        if not key.isdigit():
            raise NotFoundError("no customer is found by this id.", where="GET /api/v1/customers") from None
        log.info("customer_not_readable id=%s", key)
        return None
    if key.isdigit() and record_id_of(CUSTOMERS, itself) is None:
        # The form of this answer is not documented (REFERENCE.md §14); without a number it is useless.
        log.info("customer_answer_without_id id=%s", key)
        return None
    return same_record(CUSTOMERS, itself, key if key.isdigit() else None)
