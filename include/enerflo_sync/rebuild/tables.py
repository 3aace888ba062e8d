"""Which tables a rebuild derives."""

from __future__ import annotations

from enum import StrEnum


class RebuildTable(StrEnum):
    """A mirror table that stored records can fill again; change orders come with their adders.

    Of notes and statuses nothing is kept but their rows.
    """

    INSTALLS = "installs"
    MILESTONES = "milestones"
    SUBMISSIONS = "submissions"
    CUSTOMERS = "customers"
    CHANGE_ORDERS = "change_orders"
