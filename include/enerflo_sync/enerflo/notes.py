"""Install notes: the incremental list, those of one install, and adding one (REFERENCE.md §6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.envelopes import Listing
from enerflo_sync.enerflo.ids import integer_id
from enerflo_sync.enerflo.objects import row_list
from enerflo_sync.enerflo.pages import Envelope, PageWalk

ENVELOPE = Envelope("notes", total_pages_key="totalPages", page_param="page", size_param="pageSize")


def walk_notes(
    client: EnerfloClient,
    created_after: datetime | None = None,
    *,
    per_page: int = 100,
    floor: int = 25,
    start: int = 0,
) -> PageWalk:
    """Return the walk over the notes of all installs, oldest first.

    The list is by creation only: an edit or a deletion of an older note is not seen.

    :param created_after: aware; None reads all. Sent with whole seconds, rounded down.
    :param per_page: 100 is what a production client uses; other endpoints ignore a larger ``pageSize``.
    :param start: notes to pass over.
    """
    params = _since(created_after)
    return PageWalk(
        client, "/api/v3/installs/notes", ENVELOPE, params=params, per_page=per_page, floor=floor, start=start
    )


def _since(created_after: datetime | None) -> dict[str, str | int]:
    params: dict[str, str | int] = {"orderDir": "asc"}
    if created_after is not None:
        if created_after.tzinfo is None:
            raise ValueError("created_after must be aware, got a naive time: its zone would be guessed.")
        params["created_after"] = created_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return params


def list_notes(client: EnerfloClient, created_after: datetime | None, number: int, size: int) -> Listing:
    """Return one page of the list of notes, oldest first; parameters as :func:`walk_notes` has them."""
    params = {**_since(created_after), **ENVELOPE.page_params(number, size)}
    return client.read("/api/v3/installs/notes", params, ENVELOPE.decode).value


def read_install_notes(client: EnerfloClient, install_id: int | str) -> list[msgspec.Raw]:
    """Return the notes of one install, undecoded: the only read that shows an edit or a deletion.

    The read beside the documented POST; whether Enerflo answers it is not known (REFERENCE.md §14).

    :raises NotFoundError: no such install, or the endpoint does not exist.
    """
    path = f"/api/v3/installs/{integer_id(install_id, 'install id')}/notes"
    return row_list(client, path, ("notes", "results", "data"))


def add_note(client: EnerfloClient, install_id: int | str, body: Mapping[str, object]) -> bytes:
    """Add a note to an install and return the answer's body.

    The vendor does not document the field names; they come from the configuration.

    :raises OutcomeUnknownError: it may or may not exist now: read the install's notes before adding it again.
    """
    return client.send("POST", f"/api/v3/installs/{integer_id(install_id, 'install id')}/notes", body)
