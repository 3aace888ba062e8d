"""Set the dates of an install's milestones (REFERENCE.md §6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from enerflo_sync.enerflo.ids import integer_id

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient


def update_milestone(
    client: EnerfloClient, install_id: int | str, milestone_id: int | str, body: Mapping[str, object]
) -> bytes:
    """Set a milestone's dates on one install and return the answer's body.

    :param milestone_id: the milestone definition's id.
    :param body: the vendor does not document the field names; the configuration declares them.
    :raises OutcomeUnknownError: the update may or may not have been applied: read the install back.
    """
    install = integer_id(install_id, "install id")
    milestone = integer_id(milestone_id, "milestone id")
    return client.send("PUT", f"/api/v3/installs/{install}/milestones/{milestone}", body)
