"""What an administrator of Enerflo gave another name, while ``sync.yaml`` calls it as before."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.crm.live.gone_statuses import gone_labels
from enerflo_sync.crm.live.milestone_titles import title_notices
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.notice import Notice


def renamed_at_enerflo(
    connection: sa.Connection, name: str, mapping: TableMapping, account: str
) -> Iterator[Notice]:
    """Yield statuses in ``values`` and titles of milestones that have another name at Enerflo by now."""
    yield from gone_labels(connection, name, mapping, account)
    yield from title_notices(connection, mapping, account)
