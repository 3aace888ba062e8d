"""Reveal: a record's page with its personal data, and the note of who saw it."""

from __future__ import annotations

from enerflo_sync.addresses import Addresses
from enerflo_sync.explain.reveal import note_reveal
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.pages.record import RecordPage, read_record_page
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_reveal(context: AccountContext, table: str, key: str, to: Addresses, *, by: str) -> RecordPage:
    """Return what a record's page shows with personal data, and record in ``sync.reveals`` who asked.

    :param to: the addresses of the pages; :param by: the user's name.
    """
    require_migrated(context.engine)
    with warehouse_errors("explain"), context.engine.begin() as connection:
        page = read_record_page(connection, context.config, context.account, table, key, to, reveal=True)
        note_reveal(connection, context.account, f"{page.word}/{key.strip()}", by, context.clock.now())
        return page
