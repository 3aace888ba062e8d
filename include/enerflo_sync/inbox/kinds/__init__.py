"""All events that are known, one file each; what is not named here goes to quarantine as unknown."""

from __future__ import annotations

from enerflo_sync.inbox.event import EventKind
from enerflo_sync.inbox.kinds import (
    customer_created,
    customer_updated_v2,
    ignored,
    new_customer,
    new_install,
    new_install_note,
    project_milestone_updated,
    project_received,
    project_submitted,
    restore_install,
    signed_change_order,
    submit_install,
    update_customer,
    update_install,
)

USED: tuple[EventKind, ...] = (
    new_customer.KIND,
    update_customer.KIND,
    new_install.KIND,
    submit_install.KIND,
    update_install.KIND,
    restore_install.KIND,
    new_install_note.KIND,
    project_milestone_updated.KIND,
    signed_change_order.KIND,
    project_submitted.KIND,
    project_received.KIND,
    customer_created.KIND,
    customer_updated_v2.KIND,
)

KINDS: dict[str, EventKind] = {kind.name: kind for kind in (*USED, *ignored.KINDS)}
