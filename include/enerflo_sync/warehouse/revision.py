"""The version of the warehouse's tables, found without loading the migrations."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.engine import read_only_error, warehouse_errors
from enerflo_sync.warehouse.schema import SYNC_SCHEMA, VERSION_TABLE

# The revision that this code expects. A constant, because every job compares it, and Alembic would load all
# migrations to look it up.
LATEST_REVISION = "0041"

_TABLE = f"{SYNC_SCHEMA}.{VERSION_TABLE}"
# A migration writes the oldest programs that may go on as the version table's comment: whoever reads the
# revision may read the comment too, and a backup has both.
_LOOK = sa.text(f"""
/* enerflo-sync: the schema's revision, and which programs may use it */
select version_num, obj_description(cast(:table as regclass), 'pg_class') as said,
  pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as reads_only
from {_TABLE}
""")  # noqa: S608 - a constant

log = logging.getLogger(__name__)
# What this process has told already: each job looks at the revision, some several times.
_told: set[str] = set()


@dataclass(frozen=True)
class SchemaVersion:
    """The revision of the warehouse's tables, and the oldest programs that may use the tables.

    :param revision: None if the warehouse was never migrated.
    :param read_from: programs whose own revision is this or later may read; None if nothing is said.
    :param write_from: programs whose own revision is this or later may read and write.
    :param standby: the server is a standby of another one, on which nothing can be written.
    :param reads_only: the connection may only read, on a standby or because its role or address says so.
    """

    revision: str | None
    read_from: str | None = None
    write_from: str | None = None
    standby: bool = False
    reads_only: bool = False

    @property
    def newer(self) -> bool:
        """Return whether a newer program made the tables. Revisions are numbers, counted up."""
        return self.revision is not None and _number(self.revision) > _number(LATEST_REVISION)

    @property
    def may_read(self) -> bool:
        """Return whether this program may read the tables."""
        return not self.newer or _reached(self.read_from)

    @property
    def may_write(self) -> bool:
        """Return whether this program may write the tables."""
        return not self.newer or (self.may_read and _reached(self.write_from))


def schema_version(connection: sa.Connection) -> SchemaVersion:
    """Return the revision of the warehouse's tables, and which programs may use them."""
    if connection.scalar(sa.text("select to_regclass(:table)"), {"table": _TABLE}) is None:
        return SchemaVersion(None)
    row = connection.execute(_LOOK, {"table": _TABLE}).first()
    if row is None:
        return SchemaVersion(None)
    said = _said(row.said)
    return SchemaVersion(
        row.version_num, said.get("read_from"), said.get("write_from"), row.standby, row.reads_only
    )


def current_revision(connection: sa.Connection) -> str | None:
    """Return the warehouse's revision; ``None`` if it was never migrated."""
    return schema_version(connection).revision


def require_migrated(engine: sa.Engine, *, reads_only: bool = False) -> None:
    """Return if this program may use the warehouse's tables.

    Tables that a newer program migrated may be used where the migrations permit it; a line in the log then
    says once that this program is the older one.

    :param reads_only: the caller writes nothing, which more migrations permit.
    :raises ConfigurationError: it may not; the text says which command to run, or which program to use; or
        the caller writes, and the connection may only read.
    :raises RetriableError: the caller writes, and the server is a standby.
    """
    with warehouse_errors("a look at the schema version"), engine.connect() as connection:
        version = schema_version(connection)
    if version.reads_only and not reads_only:
        raise read_only_error("warehouse", standby=version.standby)
    if version.revision == LATEST_REVISION:
        return
    if not version.newer:
        raise ConfigurationError(
            f"the warehouse is at schema revision {version.revision or 'none'},"
            f" and this version needs {LATEST_REVISION}.",
            where=_TABLE,
            next_step=f"Run enerflo-sync migrate. It goes from {version.revision or 'none'}"
            f" to {LATEST_REVISION}.",
        )
    if not (version.may_read if reads_only else version.may_write):
        raise ConfigurationError(
            older_program(version),
            where=_TABLE,
            next_step="Nothing was changed. Use the newer program here: docs/upgrading.md.",
        )
    told = f"{engine.url.render_as_string()} {version.revision}"
    if told not in _told:
        _told.add(told)
        log.warning("older_program %s", older_program(version))


def older_program(version: SchemaVersion) -> str:
    """Describe what this program may do with tables that a newer program migrated."""
    if version.may_write:
        may = "may still read and write its tables"
    elif version.may_read:
        may = "may only read its tables"
    else:
        may = "may not use its tables any more"
    return (
        f"the warehouse is at schema revision {version.revision}, made by a newer version of this program;"
        f" this version knows {LATEST_REVISION} and {may}."
    )


def may_use(read_from: str, write_from: str) -> str:
    """Return the comment that names the oldest programs that may read and write the tables."""
    return json.dumps({"read_from": read_from, "write_from": write_from})


def _said(comment: str | None) -> dict[str, str]:
    """Return what a comment says; nothing where somebody else wrote one."""
    try:
        said = json.loads(comment or "")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in said.items()} if isinstance(said, dict) else {}


def _reached(since: str | None) -> bool:
    return since is not None and _number(LATEST_REVISION) >= _number(since)


def _number(revision: str) -> float:
    """Return a revision's number; one that is no number is later than all that this program knows."""
    return int(revision) if revision.isdecimal() else float("inf")
