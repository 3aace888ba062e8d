"""The catalogue of the fields that Enerflo sends."""

from __future__ import annotations

from enerflo_sync.catalogue.read_catalogue import read_catalogue
from enerflo_sync.catalogue.report import FieldCatalogue
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.mirror.poll import Progress
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_fields(
    context: AccountContext, table: str = INSTALLS.name, *, progress: Progress | None = None
) -> FieldCatalogue:
    """Return the catalogue of stored records, see :mod:`enerflo_sync.catalogue.read_catalogue`."""
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("fields"), context.engine.connect() as connection:
        return read_catalogue(
            connection, context.account, context.config, table, context.clock.now(), progress
        )
