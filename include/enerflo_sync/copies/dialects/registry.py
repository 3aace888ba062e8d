"""The databases that are known, by the name that their URL begins with."""

from __future__ import annotations

from enerflo_sync.copies.dialects.base import Dialect
from enerflo_sync.copies.dialects.duckdb import DuckDB
from enerflo_sync.copies.dialects.mysql import MySQL

DIALECTS: dict[str, Dialect] = {name: dialect for dialect in (MySQL(), DuckDB()) for name in dialect.names}
