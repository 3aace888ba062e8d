"""Installs: one install, the install of a v2 deal, and the update (REFERENCE.md §6.1)."""

from __future__ import annotations

from collections.abc import Mapping

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.ids import integer_id, uuid_id
from enerflo_sync.enerflo.objects import object_body


def read_install(client: EnerfloClient, install_id: int | str) -> bytes:
    """Return one whole install as a JSON object.

    :raises NotFoundError: Enerflo has no such install: evidence of its deletion if it was known.
    :raises BadRecordError: the id is none, or the answer is no object.
    """
    return object_body(client, f"/api/v3/installs/{integer_id(install_id, 'install id')}", "install")


def find_install(client: EnerfloClient, deal_id: str) -> bytes:
    """Return the whole install of a v2 deal as a JSON object.

    :param deal_id: the deal's uuid, as ``deal.projectSubmitted`` carries it.
    :raises NotFoundError: no install belongs to that deal (yet).
    :raises BadRecordError: the id is no uuid, or the answer is no object.
    """
    return object_body(client, f"/api/v3/installs/find/{uuid_id(deal_id, 'deal id')}", "install")


def update_install(client: EnerfloClient, install_id: int | str, body: Mapping[str, object]) -> bytes:
    """Send ``body`` as the install's update and return the answer's body.

    The vendor does not document the field names; they come from the configuration.

    :raises OutcomeUnknownError: it may or may not have been applied: read the install back.
    """
    return client.send("PUT", f"/api/v3/installs/{integer_id(install_id, 'install id')}", body)
