"""A driver whose errors contain no row: details stay in the server's own log.

PostgreSQL repeats values in an error's text, its DETAIL and its CONTEXT ("COPY staging, line 1, column
customer_name: …"), and a trigger may say anything. Printing such an error, or one raised while it was
handled, would print personal data. So the text is removed where the error is created. ``sqlstate`` and
``diag`` remain for code that decides by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from enerflo_sync.warehouse.refused import refuses_a_row


class QuietConnection(psycopg.Connection[Any]):
    """A connection whose errors have their SQLSTATE, and the server's message only if it contains no row.

    ``set_by_us`` names the settings that were meant as start-up options and had to be set after the start.
    """

    set_by_us: frozenset[str] = frozenset()

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait as psycopg does, and remove row values from an error."""
        try:
            return super().wait(*args, **kwargs)
        except psycopg.Error as error:
            error.args = (safe_words(error),)
            raise

    def add_notice_handler(self, callback: Callable[[Any], None]) -> None:
        """Add no handler: SQLAlchemy logs every notice, and a trigger's notice may name a customer."""


def safe_words(error: psycopg.Error) -> str:
    """Return an error's text without any value of a row."""
    if error.sqlstate is None:
        # The connection broke, so the text is the driver's own.
        return str(error)
    diag = error.diag
    parts = [f"SQLSTATE {error.sqlstate}"]
    if not refuses_a_row(error) and not diag.context and diag.message_primary:
        parts.insert(0, diag.message_primary)
    names = (diag.schema_name, diag.table_name, diag.column_name, diag.constraint_name)
    parts += [name for name in names if name]
    return ", ".join(parts)
