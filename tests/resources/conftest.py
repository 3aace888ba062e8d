"""The companies that the inbox and backfills are tested with."""

from __future__ import annotations

from tests.backfill.conftest import desk
from tests.inbox.conftest import again, inbox, kept_polled, new_inbox, polled
from tests.writes.conftest import polled_warehouse

__all__ = ["again", "desk", "inbox", "kept_polled", "new_inbox", "polled", "polled_warehouse"]
