"""The section ``accounts.*.crm`` of sync.yaml: a CRM whose tables are in another database."""

from __future__ import annotations

import hashlib
from typing import Final

from pydantic import Field

from enerflo_sync.crm.copies import COPIES_SCHEMA
from enerflo_sync.crm.options import Options

# The longest name that PostgreSQL does not truncate.
_LONGEST: Final = 63


class CrmDatabase(Options):
    """The database of the account's CRM tables, if it is not the warehouse."""

    url: str | None = Field(
        None,
        description="Its SQLAlchemy URL, as a variable: ${CRM_URL}; mysql://user:password@host/database,"
        " duckdb:///file, snowflake://… Inside Airflow its connection stands in.",
    )
    connection: str = Field("crm_default", description="Id of its Airflow connection.")
    trust_dialect: bool = Field(
        False,
        description="Write tables of a database that enerflo-sync was not tried against (BigQuery, Redshift,"
        " SQL Server, Databricks, Oracle).",
    )
    empty_is_null: bool = Field(
        False,
        description="Null equals the empty text in each text field, as null: empty_is_null of a field. Oracle"
        " needs it.",
    )


def copy_of(account: str, table: str) -> tuple[str, str]:
    """Return schema and name of our copy of a CRM table, by the table's name in ``sync.yaml``."""
    name = f"{account}.{table}"
    if len(name.encode()) > _LONGEST:
        name = f"{hashlib.sha256(name.encode()).hexdigest()[:20]}.{table}"
    return COPIES_SCHEMA, name
