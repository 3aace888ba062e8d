"""What the databases have in common whose statements are tested only by their text.

Their drivers send nulls, moments and decimals differently. So each value is sent as text, and each statement
casts it to the type of its column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, Dialect, RemoteColumn


class UntriedDialect(Dialect):
    """A database on which our statements never ran: it is read, and written only if a person says so.

    :cvar words: what a boolean is sent as, false and true.
    """

    tried = False
    # Whether a driver counts the changed rows, and a server infers the types, nobody has seen.
    writes_at_once = False
    words: ClassVar[tuple[str, str]] = ("false", "true")

    def same_name(self, written: str, names: Iterable[str]) -> str | None:
        """Return the exact name, or else the only name that differs in upper and lower case alone."""
        known = list(names)
        if written in known:
            return written
        alike = [one for one in known if one.lower() == written.lower()]
        return alike[0] if len(alike) == 1 else None

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        return f"cast({parameter} as {column.declared})"

    def assigned(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        return self.typed(parameter, column)

    def compared(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        return self.typed(parameter, column)

    def statement(self, text: str, parameters: Mapping[str, Any]) -> sa.TextClause:
        """Return a statement whose parameters are texts, except digests: a null alone has no type."""
        return sa.text(text).bindparams(
            *(
                sa.bindparam(name, type_=sa.BigInteger() if name == "row_hash" else sa.String())
                for name in parameters
            )
        )

    def parameter(self, column: RemoteColumn, value: Any) -> Any:
        """Return a value as text that a cast to the column's type takes."""
        if value is None:
            return None
        if column.type == JSON:
            return json.dumps(value)
        if isinstance(value, bool):
            return self.words[value]
        if isinstance(value, Decimal):
            return f"{value:f}"
        if isinstance(value, datetime):
            return self.moment(value)
        return value.isoformat() if isinstance(value, date) else str(value)

    def moment(self, value: datetime) -> str:
        """Return a moment or a time without a zone as text."""
        return value.isoformat(" ")


class Lakehouse(UntriedDialect):
    """A database in which every statement is its own transaction, and types can be nested."""

    quote = "`"
    takes_back = False
    # A where needs a from.
    from_nothing = " from (select 1)"

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the type in our copy; of ``array<string>`` the word before the bracket tells."""
        return super().type_of({**row, "declared": str(row["declared"]).partition("<")[0]})

    def length(self, text: str) -> str:
        """Return the number of letters of a text, as text."""
        return f"cast(char_length({text}) as string)"


def sized(row: Mapping[str, Any], name: str) -> str:
    """Return a decimal type with its digits, without which a cast would round."""
    if row["digits"] is None:
        return name
    return f"{name}({int(row['digits'])},{int(row['places'] or 0)})"
