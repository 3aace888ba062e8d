"""Installs: read one, find the install of a v2 deal, update one (REFERENCE.md §6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.failures import DeletedRecordError
from enerflo_sync.enerflo.ids import integer_id, uuid_id
from enerflo_sync.enerflo.objects import object_body
from enerflo_sync.enerflo.times import is_time

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient


def read_install(client: EnerfloClient, install_id: int | str) -> bytes:
    """Return one complete install as a JSON object.

    :raises NotFoundError: Enerflo has no such install, or (:class:`DeletedRecordError`) says that it was
        deleted; for a known install this is evidence of deletion.
    :raises BadRecordError: the id is invalid, or the answer is not an object, or another install.
    """
    number = integer_id(install_id, "install id")
    return _living(object_body(client, f"/api/v3/installs/{number}", "install", number))


def find_install(client: EnerfloClient, deal_id: str) -> bytes:
    """Return the complete install of a v2 deal as a JSON object.

    :param deal_id: the deal's uuid, as in ``deal.projectSubmitted``.
    :raises NotFoundError: no install belongs to that deal (yet), or it was deleted.
    :raises BadRecordError: the id is not a uuid, or the answer is not an object.
    """
    return _living(object_body(client, f"/api/v3/installs/find/{uuid_id(deal_id, 'deal id')}", "install"))


class _Deletion(msgspec.Struct):
    deleted_at: object = None


_deletion = msgspec.json.Decoder(_Deletion)


def _living(body: bytes) -> bytes:
    """Return the install.

    :raises DeletedRecordError: it says when it was deleted.
    """
    try:
        deleted_at = _deletion.decode(body).deleted_at
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The reader of the record gives the reason.
        return body
    if is_time(deleted_at):
        raise DeletedRecordError(
            "Enerflo says that the install was deleted.",
            next_step="An install that was known before counts as deleted.",
        )
    return body


def update_install(client: EnerfloClient, install_id: int | str, body: Mapping[str, object]) -> bytes:
    """Send ``body`` as the install's update and return the answer's body.

    The vendor does not document the field names; the configuration declares them.

    :raises OutcomeUnknownError: the update may or may not have been applied: read the install back.
    """
    return client.send("PUT", f"/api/v3/installs/{integer_id(install_id, 'install id')}", body)
