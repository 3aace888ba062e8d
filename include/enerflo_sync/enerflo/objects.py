"""Read answers that are one object, and short lists with varying envelopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.answers import without_controls
from enerflo_sync.enerflo.envelopes import Envelope, Listing, rows_apart
from enerflo_sync.enerflo.pages import ASKED_AGAIN
from enerflo_sync.errors import BadRecordError, ContractDriftError

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

_rows = msgspec.json.Decoder(list[msgspec.Raw])


class _Id(msgspec.Struct):
    id: object = None


_id = msgspec.json.Decoder(_Id)


def object_body(client: EnerfloClient, path: str, what: str, record_id: str | None = None) -> bytes:
    """Return the JSON object at ``path``.

    :param what: name of the object in the error: ``"install"``.
    :param record_id: the number that was requested. An answer without an id is returned all the same.
    :raises BadRecordError: the answer is a list, which is PHP's form of an empty object, or another record
        (``another_id``).
    """
    body = client.get(path)
    if body[:1] != b"{" or body.strip() == b"{}":
        raise BadRecordError(
            f"the answer is an empty object where one {what} is expected.",
            where=f"GET {path}",
            next_step="Look at the record in Enerflo; if it is there, replay this item.",
        )
    if record_id is not None and _is_another(body, record_id):
        raise BadRecordError(
            "another_id",
            where=f"GET {path}",
            next_step=f"Enerflo answered with another {what} than the requested one; nothing of it is used.",
            field="id",
        )
    return body


def _is_another(body: bytes, record_id: str) -> bool:
    try:
        found = _id.decode(body).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The reader of the record gives the reason.
        return False
    spelled = str(found).strip() if isinstance(found, int | str) and not isinstance(found, bool) else ""
    return spelled.isascii() and spelled.isdigit() and spelled.lstrip("0") != record_id


def row_list(
    client: EnerfloClient,
    path: str,
    keys: tuple[str, ...],
    params: dict[str, str | int] | None = None,
) -> list[msgspec.Raw]:
    """Return all rows at ``path`` from one answer, bare or under one of ``keys``.

    An answer with fewer rows than its total says, or with a next page, is requested again.

    :raises ContractDriftError: no key holds the rows, or there are more rows than the answer holds.
    """
    envelope = Envelope(keys, ("total", "dataCount"), "totalPages")

    def decode(body: bytes) -> Listing:
        return Listing(_bare_rows(body), None, None) if body[:1] == b"[" else envelope.decode(body)

    for _ in range(1 + ASKED_AGAIN):
        answer = client.read(path, params, decode).value
        rows = answer.records
        if len(rows) >= (answer.total or 0) and (answer.total_pages or 0) <= 1 and not answer.more:
            return rows
    raise ContractDriftError(
        f"the answer holds {len(rows)} rows and says that there are more.",
        where=f"GET {path}",
        next_step="Nothing is concluded from it. If it stays so, the client has to read this list by pages.",
    )


def _bare_rows(body: bytes) -> list[msgspec.Raw]:
    try:
        return _rows.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError):
            raise
        try:
            return rows_apart(without_controls(body), 0, len(body))
        except BadRecordError:
            raise error from None
