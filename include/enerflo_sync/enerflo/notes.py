"""Notes of an install: read them, add one (REFERENCE.md §6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.ids import integer_id
from enerflo_sync.enerflo.objects import row_list

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient


def read_install_notes(client: EnerfloClient, install_id: int | str) -> list[msgspec.Raw]:
    """Return the notes of one install, undecoded. No other read shows edited or deleted notes.

    Only the POST to this path is documented; whether Enerflo answers the GET is unknown (REFERENCE.md §14).

    :raises NotFoundError: no such install, or the endpoint does not exist.
    """
    path = f"/api/v3/installs/{integer_id(install_id, 'install id')}/notes"
    return row_list(client, path, ("notes", "results", "data"))


def add_note(client: EnerfloClient, install_id: int | str, body: Mapping[str, object]) -> bytes:
    """Add a note to an install and return the answer's body.

    The vendor does not document the field names; the configuration declares them.

    :raises OutcomeUnknownError: the note may or may not exist: read the install's notes before adding it
        again.
    """
    return client.send("POST", f"/api/v3/installs/{integer_id(install_id, 'install id')}/notes", body)
