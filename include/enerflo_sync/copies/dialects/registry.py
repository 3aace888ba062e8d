"""The databases that are known, by the name that their URL begins with."""

from __future__ import annotations

from enerflo_sync.copies.dialects.base import Dialect
from enerflo_sync.copies.dialects.duckdb import DuckDB
from enerflo_sync.copies.dialects.mysql import MySQL
from enerflo_sync.copies.dialects.postgresql import PostgreSQL
from enerflo_sync.copies.dialects.snowflake import Snowflake

DIALECTS: dict[str, Dialect] = {
    name: dialect for dialect in (PostgreSQL(), MySQL(), DuckDB(), Snowflake()) for name in dialect.names
}
