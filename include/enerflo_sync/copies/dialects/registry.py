"""The databases that are known, by the name that their URL begins with."""

from __future__ import annotations

from enerflo_sync.copies.dialects.base import Dialect
from enerflo_sync.copies.dialects.bigquery import BigQuery
from enerflo_sync.copies.dialects.databricks import Databricks
from enerflo_sync.copies.dialects.duckdb import DuckDB
from enerflo_sync.copies.dialects.mysql import MySQL
from enerflo_sync.copies.dialects.oracle import Oracle
from enerflo_sync.copies.dialects.postgresql import PostgreSQL
from enerflo_sync.copies.dialects.redshift import Redshift
from enerflo_sync.copies.dialects.snowflake import Snowflake
from enerflo_sync.copies.dialects.sqlserver import SQLServer

_TRIED = (PostgreSQL(), MySQL(), DuckDB(), Snowflake())
_UNTRIED = (BigQuery(), Redshift(), SQLServer(), Databricks(), Oracle())

DIALECTS: dict[str, Dialect] = {name: dialect for dialect in (*_TRIED, *_UNTRIED) for name in dialect.names}
