"""BigQuery, by sqlalchemy-bigquery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, RemoteColumn
from enerflo_sync.copies.dialects.untried import Lakehouse

_NESTED = ("array", "struct", "range")


class BigQuery(Lakehouse):
    """BigQuery: every statement is a transaction of its own, and is billed by the bytes of its columns.

    Facts: cloud.google.com/bigquery/docs/reference/standard-sql: hash_functions, string_functions,
    timestamp_functions (``string``), dml-syntax, query-syntax (a where needs a from).
    """

    names = ("bigquery",)
    title = "BigQuery"
    extra = "sqlalchemy-bigquery"
    # The kinds of the errors 400, 401 and 403 of Google's API.
    of_a_row = frozenset({"BadRequest"})
    logins = frozenset({"Unauthorized", "RefreshError"})
    rights = frozenset({"Forbidden"})
    types = {  # noqa: RUF012 - a constant
        "int64": "bigint",
        **dict.fromkeys(("numeric", "bignumeric"), "numeric"),
        "float64": "double precision",
        "string": "text",
        "bool": "boolean",
        "date": "date",
        "datetime": "timestamp",
        "timestamp": "timestamptz",
        **dict.fromkeys(("json", *_NESTED), JSON),
    }

    def column_rows(self, connection: sa.Connection, schema: str, table: str) -> list[dict[str, Any]]:
        """Return what the view of the table's own dataset says."""
        query = f"""
        select column_name as name, data_type as declared, cast(null as int64) as length,
          cast(null as int64) as digits, cast(null as int64) as places
        from {self.quoted(schema)}.INFORMATION_SCHEMA.COLUMNS where table_name = :of_table
        order by ordinal_position
        """  # noqa: S608 - a quoted name
        return self.catalog_rows(connection, query, {"of_table": table})

    def declared_of(self, row: Mapping[str, Any]) -> str:
        """Return the type without a length, which no cast needs."""
        return str(row["declared"]).partition("(")[0]

    def selected(self, column: RemoteColumn) -> str:
        """Return the value as text, without zero bytes."""
        text = self.as_text(column)
        return rf"replace({text}, '\x00', '')" if column.type in ("text", JSON) else text

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as BigQuery writes it, moments in UTC."""
        name, kind = self.quoted(column.own), column.declared.lower()
        if kind == "string":
            return name
        if kind == "timestamp":
            return f"string({name}, 'UTC')"
        if kind == "bytes":
            return f"to_hex({name})"
        if kind == "geography":
            return f"st_astext({name})"
        if column.type == JSON:
            return f"to_json_string({name})"
        return f"cast({name} as string)"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the fingerprint over the texts, each with its length in front."""
        return f"(farm_fingerprint({self.joined(texts)}) & 1152921504606846975)"

    def total(self, number: str) -> str:
        """Return the exact sum, which would not fit into 64 bits."""
        return f"cast(sum(cast({number} as numeric)) as string)"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        if column.declared.lower() == "json":
            return f"parse_json({parameter})"
        return super().typed(parameter, column)

    def codes(self, error: sa.exc.DBAPIError) -> set[str]:
        """Return the kinds of the driver's error and of the errors that it was made of."""
        found: set[str] = set()
        cause: BaseException | None = error.orig
        while cause is not None:
            found |= {type(cause).__name__, *(type(one).__name__ for one in cause.args)}
            cause = cause.__cause__
        return found
