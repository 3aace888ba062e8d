"""What a poll can read. Apart from the poll, so that DAG files and the configuration import it cheaply."""

from __future__ import annotations

from enum import StrEnum


class PollResource(StrEnum):
    """One thing that a poll reads, in this order; milestones come in the rows of installs."""

    STATUSES = "statuses"
    INSTALLS = "installs"
    CUSTOMERS = "customers"
    CHANGE_ORDERS = "change_orders"
    NOTES = "notes"
