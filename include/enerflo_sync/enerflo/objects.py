"""Answers that are one object, and small lists that come in one of several wrappings."""

from __future__ import annotations

import msgspec

from enerflo_sync.enerflo.answers import without_controls
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.envelopes import Envelope, rows_apart
from enerflo_sync.errors import BadRecordError

_rows = msgspec.json.Decoder(list[msgspec.Raw])


def object_body(client: EnerfloClient, path: str, what: str) -> bytes:
    """Return the JSON object that ``path`` answers.

    :param what: what it is, for the error: ``"install"``.
    :raises BadRecordError: the answer is a list: PHP's form of an empty object.
    """
    body = client.get(path)
    if body[:1] != b"{" or body.strip() == b"{}":
        raise BadRecordError(
            f"the answer is an empty object where one {what} is expected.",
            where=f"GET {path}",
            next_step="Look at the record in Enerflo; if it is there, replay this item.",
        )
    return body


def row_list(
    client: EnerfloClient, path: str, keys: tuple[str, ...], params: dict[str, str | int] | None = None
) -> list[msgspec.Raw]:
    """Return the rows that ``path`` answers in one go, bare or wrapped under one of ``keys``.

    :raises ContractDriftError: they are under none of them.
    """
    envelope = Envelope(keys)

    def decode(body: bytes) -> list[msgspec.Raw]:
        return _bare_rows(body) if body[:1] == b"[" else envelope.decode(body).records

    return client.read(path, params, decode).value


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
